//! Looking up names, in the manner of the C library: `/etc/hosts` first, then the name servers in their order, the search
//! list as resolv.conf(5) says. Unlike there, an answer comes with the time for which it is good, and it is known whether
//! a name is not there or could not be asked for.

mod client;
mod reach;

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};

use self::client::{Client, Miss};
use super::answer::{Answer, Family, Found, Outcome};
use super::system::{Paths, ResolvConf, Stamps, System};
use crate::config::model::{Dns, Target};

/// Entries that are looked up at the same time, in the whole process.
const CONCURRENCY: usize = 32;
/// Targets of one SRV name; further ones are left out.
const TARGETS_MAX: usize = 64;
/// Targets of one SRV name that are looked up at the same time.
const TARGETS_AT_ONCE: usize = 8;
/// One look-up takes no longer, whatever the numbers of servers, attempts and search domains are.
const LIMIT: Duration = Duration::from_secs(30);
/// When one family of addresses is known, the other is waited for no longer than this. Some name servers never answer for
/// IPv6.
const GRACE: Duration = Duration::from_millis(500);
/// The system's files are looked at no more often than this.
const GLANCE: Duration = Duration::from_secs(1);

/// Looks up names. One for the process: it bounds how much is asked at a time.
pub struct Resolver {
    settings: Dns,
    paths: Paths,
    view: Mutex<Option<(Instant, Arc<View>)>>,
    permits: Semaphore,
}

/// Whom to ask and what is known without asking; immutable.
struct View {
    stamps: Stamps,
    system: System,
    clients: Vec<Client>,
}

impl Resolver {
    /// Nothing is read or asked before the first look-up.
    #[must_use]
    pub fn new(settings: Dns) -> Self {
        Self::with_paths(settings, Paths::default())
    }

    pub(super) fn with_paths(settings: Dns, paths: Paths) -> Self {
        Self {
            settings,
            paths,
            view: Mutex::new(None),
            permits: Semaphore::new(CONCURRENCY),
        }
    }

    /// Where a server is at the moment.
    pub(super) async fn look_up(&self, target: &Target) -> Outcome {
        let Ok(_permit) = self.permits.acquire().await else {
            return Outcome::Failed("nothing is looked up any more".to_owned()); // nobody closes the semaphore
        };
        let asked = async {
            let view = self.view().await;
            match target {
                Target::Host { host, port } => self.host(&view, host, *port).await,
                Target::Srv(name) => self.service(&view, name).await,
                Target::Unix(_) => Outcome::Failed("a socket in the file system has no addresses".to_owned()),
            }
        };
        let Ok(outcome) = timeout(LIMIT, asked).await else {
            return Outcome::Failed(format!("no answer within {LIMIT:?}"));
        };
        match outcome {
            Outcome::Found(mut answer) => {
                reach::prefer_reachable(&mut answer.servers);
                answer.ttl = answer.ttl.max(self.settings.min_ttl).min(self.settings.max_ttl);
                Outcome::Found(answer)
            }
            other => other,
        }
    }

    /// The state of the system's files. Containers write them late, and again when they join a network.
    async fn view(&self) -> Arc<View> {
        let mut known = self.view.lock().await;
        if let Some((looked, view)) = &*known
            && looked.elapsed() < GLANCE
        {
            return Arc::clone(view);
        }
        let (paths, before) = (
            self.paths.clone(),
            known.as_ref().map(|(_, view)| (view.stamps, Arc::clone(view))),
        );
        let settings = self.settings.clone();
        let work = tokio::task::spawn_blocking(move || {
            let stamps = paths.stamps();
            match before {
                Some((known, view)) if known == stamps => view,
                _ => Arc::new(View::new(stamps, paths.read(), &settings)),
            }
        });
        let view = match (work.await, &*known) {
            (Ok(view), _) => view,
            (Err(_), Some((_, view))) => Arc::clone(view),
            // The runtime ends: nothing will be asked.
            (Err(_), None) => Arc::new(View::new(Stamps::default(), System::default(), &self.settings)),
        };
        *known = Some((Instant::now(), Arc::clone(&view)));
        view
    }

    async fn host(&self, view: &View, host: &str, port: u16) -> Outcome {
        let label: Arc<str> = host.into();
        let server = |ip| Found {
            address: SocketAddr::new(ip, port),
            weight: 1,
            name: Arc::clone(&label),
        };
        if let Some(ips) = view.system.host(host) {
            return Outcome::Found(Answer {
                servers: ips.iter().copied().map(server).collect(),
                unsure: Vec::new(),
                ttl: GLANCE, // the file is in memory, and looked at anyway
            });
        }
        for name in view.candidates(host, self.searches()) {
            match view.addresses(&name, self.settings.attempts).await {
                Addresses::Found { ips, unsure, ttl } => {
                    return Outcome::Found(Answer {
                        servers: ips.into_iter().map(server).collect(),
                        unsure: unsure.map(|family| (Arc::clone(&label), family)).into_iter().collect(),
                        ttl,
                    });
                }
                Addresses::Absent => {}
                // A name further down the list may be another host: requests must not go there because this one could
                // not be asked for.
                Addresses::Failed(why) => return Outcome::Failed(why),
            }
        }
        Outcome::Absent
    }

    async fn service(&self, view: &View, service: &str) -> Outcome {
        for name in view.candidates(service, self.searches()) {
            match view.ask(&name, RecordType::SRV, self.settings.attempts).await {
                Ok(records) => return self.targets(view, records).await,
                Err(Miss::Absent) => {}
                Err(Miss::Failed(why)) => return Outcome::Failed(why),
            }
        }
        Outcome::Absent
    }

    /// The servers that SRV records (RFC 2782) name: those of the lowest priority only.
    async fn targets(&self, view: &View, records: client::Records) -> Outcome {
        let mut services: Vec<_> = records
            .answers
            .iter()
            .filter_map(|data| match data {
                RData::SRV(srv) if !srv.target.is_root() && srv.port > 0 => Some(srv),
                _ => None,
            })
            .collect();
        let first = services.iter().map(|srv| srv.priority).min();
        services.retain(|srv| Some(srv.priority) == first);
        services.sort_by(|a, b| (&a.target, a.port).cmp(&(&b.target, b.port)));
        services.truncate(TARGETS_MAX);
        let mut names: Vec<Name> = services.iter().map(|srv| srv.target.clone()).collect();
        names.dedup();
        let records = &records;
        let asked = names.into_iter().map(|name| async move {
            let mut given: Vec<IpAddr> = records.additional(&name).collect();
            given.sort_unstable();
            given.dedup();
            let addresses = if given.is_empty() {
                view.addresses(&name, self.settings.attempts).await
            } else {
                Addresses::Found {
                    ips: given,
                    unsure: None,
                    ttl: records.ttl,
                }
            };
            (name, addresses)
        });
        let found: Vec<(Name, Addresses)> = stream::iter(asked).buffered(TARGETS_AT_ONCE).collect().await;

        let mut answer = Answer {
            servers: Vec::new(),
            unsure: Vec::new(),
            ttl: records.ttl,
        };
        let mut failure = None;
        for (target, addresses) in found {
            let name: Arc<str> = target.to_lowercase().to_ascii().into();
            match addresses {
                Addresses::Found { ips, unsure, ttl } => {
                    answer.ttl = answer.ttl.min(ttl);
                    answer.unsure.extend(unsure.map(|family| (Arc::clone(&name), family)));
                    for srv in services.iter().filter(|srv| srv.target == target) {
                        answer.servers.extend(ips.iter().map(|&ip| Found {
                            address: SocketAddr::new(ip, srv.port),
                            weight: u32::from(srv.weight).max(1),
                            name: Arc::clone(&name),
                        }));
                    }
                }
                Addresses::Absent => {}
                Addresses::Failed(why) => {
                    answer
                        .unsure
                        .extend(Family::BOTH.map(|family| (Arc::clone(&name), family)));
                    failure = Some(why);
                }
            }
        }
        match failure {
            Some(why) if answer.servers.is_empty() => Outcome::Failed(why),
            None if answer.servers.is_empty() => Outcome::Absent,
            _ => Outcome::Found(answer),
        }
    }

    /// The search list belongs to the system's name servers. Whoever names others writes whole names.
    fn searches(&self) -> bool {
        self.settings.servers.is_empty()
    }
}

/// The addresses of one name.
enum Addresses {
    Found {
        ips: Vec<IpAddr>,
        /// The family that could not be asked for.
        unsure: Option<Family>,
        ttl: Duration,
    },
    /// The name has no addresses: those who must know said so.
    Absent,
    Failed(String),
}

impl View {
    fn new(stamps: Stamps, system: System, settings: &Dns) -> Self {
        const PORT: u16 = 53;
        let of_system = |ip: &IpAddr| SocketAddr::new(*ip, PORT);
        let servers = if settings.servers.is_empty() {
            system.conf.servers.iter().map(of_system).collect()
        } else {
            settings.servers.clone()
        };
        let clients = servers.into_iter().map(|server| Client::new(server, settings.timeout));
        Self {
            stamps,
            clients: clients.collect(),
            system,
        }
    }

    /// The whole names that a name may stand for, in the order in which they are tried.
    fn candidates(&self, host: &str, search: bool) -> Vec<Name> {
        candidates(host, search.then_some(&self.system.conf))
    }

    async fn addresses(&self, name: &Name, attempts: u32) -> Addresses {
        let v4 = pin!(self.ask(name, RecordType::A, attempts));
        let v6 = pin!(self.ask(name, RecordType::AAAA, attempts));
        let late = || {
            Err(Miss::Failed(format!(
                "no answer within {GRACE:?} after the other family's"
            )))
        };
        let (v4, v6) = match select(v4, v6).await {
            Either::Left((v4, rest)) if v4.is_ok() => (v4, timeout(GRACE, rest).await.unwrap_or_else(|_| late())),
            Either::Left((v4, rest)) => (v4, rest.await),
            Either::Right((v6, rest)) if v6.is_ok() => (timeout(GRACE, rest).await.unwrap_or_else(|_| late()), v6),
            Either::Right((v6, rest)) => (rest.await, v6),
        };
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => Addresses::Found {
                ttl: v4.ttl.min(v6.ttl),
                ips: v4.ips().chain(v6.ips()).collect(),
                unsure: None,
            },
            (Ok(found), Err(miss)) => Addresses::of(&found, &miss, Family::V6),
            (Err(miss), Ok(found)) => Addresses::of(&found, &miss, Family::V4),
            (Err(Miss::Absent), Err(Miss::Absent)) => Addresses::Absent,
            (Err(Miss::Failed(why)), Err(_)) | (Err(_), Err(Miss::Failed(why))) => Addresses::Failed(why),
        }
    }

    /// Asks the name servers in their order, `attempts` times, until one knows.
    async fn ask(&self, name: &Name, kind: RecordType, attempts: u32) -> Result<client::Records, Miss> {
        let mut last = Miss::Failed("there is no name server".to_owned());
        for _ in 0..attempts.max(1) {
            for client in &self.clients {
                match client.ask(name, kind).await {
                    Err(miss @ Miss::Failed(_)) => last = miss,
                    known => return known,
                }
            }
        }
        Err(last)
    }
}

impl Addresses {
    fn of(found: &client::Records, other: &Miss, family: Family) -> Self {
        Self::Found {
            ips: found.ips().collect(),
            unsure: matches!(other, Miss::Failed(_)).then_some(family),
            ttl: found.ttl,
        }
    }
}

fn candidates(host: &str, conf: Option<&ResolvConf>) -> Vec<Name> {
    let Ok(name) = Name::from_ascii(host) else {
        return Vec::new();
    };
    let mut whole = name.clone();
    whole.set_fqdn(true);
    let mut names: Vec<Name> = Vec::new();
    if let Some(conf) = conf.filter(|_| !host.ends_with('.')) {
        let behind = |domain| name.clone().append_domain(domain).ok();
        names.extend(conf.search.iter().filter_map(behind));
        if host.matches('.').count() >= conf.ndots {
            names.insert(0, whole);
            return names;
        }
    }
    names.push(whole);
    names
}

#[cfg(test)]
mod tests;
