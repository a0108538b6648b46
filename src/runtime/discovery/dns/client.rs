//! One name server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// A name server that is asked over UDP, and over TCP where an answer does not fit.
pub(super) struct Client {
    server: SocketAddr,
    /// `None`: it cannot be asked at all.
    resolver: Option<TokioResolver>,
}

/// An answer with records of the kind that was asked for.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) answers: Vec<RData>,
    additionals: Vec<(Name, IpAddr)>,
    /// The shortest time for which a record of it is good.
    pub(super) ttl: Duration,
}

/// Why there are no records.
#[derive(Debug)]
pub(super) enum Miss {
    /// There are none: the name, or the kind at that name, does not exist.
    Absent,
    /// Nobody knows.
    Failed(String),
}

impl Client {
    pub(super) fn new(server: SocketAddr, timeout: Duration) -> Self {
        let at = |mut connection: ConnectionConfig| {
            connection.port = server.port();
            connection
        };
        let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
        let server_config = NameServerConfig::new(server.ip(), true, connections);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server_config]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = timeout;
        options.attempts = 0;
        options.num_concurrent_reqs = 1;
        // Whoever asks has its own idea of when to ask again.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        Self {
            server,
            resolver: builder.build().ok(),
        }
    }

    /// One attempt. `name` is a whole name.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Records, Miss> {
        let Some(resolver) = &self.resolver else {
            return Err(self.failed("cannot be asked"));
        };
        let lookup = resolver
            .lookup(name.clone(), kind)
            .await
            .map_err(|error| self.miss(&error))?;
        let answers = lookup.answers();
        let wanted = |record: &&Record| record.record_type() == kind;
        let ttl = answers.iter().map(|record| record.ttl).min().unwrap_or(0);
        let additional = |record: &Record| Some((record.name.clone(), record.data.ip_addr()?));
        let records = Records {
            answers: answers
                .iter()
                .filter(wanted)
                .map(|record| record.data.clone())
                .collect(),
            additionals: lookup.additionals().iter().filter_map(additional).collect(),
            ttl: Duration::from_secs(ttl.into()),
        };
        if records.answers.is_empty() {
            return Err(Miss::Absent);
        }
        Ok(records)
    }

    fn miss(&self, error: &NetError) -> Miss {
        match error {
            // A referral is no answer: the server does not do what it is asked to.
            NetError::Dns(DnsError::NoRecordsFound(none)) if none.ns.is_some() && none.soa.is_none() => {
                self.failed("refers to other name servers")
            }
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain | ResponseCode::NoError => Miss::Absent,
                code => self.failed(&code.to_string()),
            },
            NetError::Dns(DnsError::ResponseCode(code)) => self.failed(&code.to_string()),
            error => self.failed(&error.to_string()),
        }
    }

    fn failed(&self, why: &str) -> Miss {
        Miss::Failed(format!("name server {}: {why}", self.server))
    }
}

impl Records {
    /// The addresses among the answers.
    pub(super) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.answers.iter().filter_map(RData::ip_addr)
    }

    /// The addresses of another name that came with the answer.
    pub(super) fn additional(&self, name: &Name) -> impl Iterator<Item = IpAddr> {
        self.additionals
            .iter()
            .filter(move |(owner, _)| owner == name)
            .map(|(_, ip)| *ip)
    }
}
