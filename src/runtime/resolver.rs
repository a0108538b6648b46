//! The addresses of an upstream's servers: names are looked up before serving and again every `resolve_interval`, never
//! while a request waits. Each address of a name is a server of its own.
//!
//! A name that fails keeps the addresses it had. One that never resolved has none: its upstream has fewer servers, or
//! none, and the rest of the gateway works.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::unix;
use crate::balance::{Endpoint, Member, Pool};
use crate::config::model::{Address, Target, Upstream};

/// Most addresses of one name.
const ADDRESSES_MAX: usize = 64;
/// What the look-ups before serving may take, all together.
const START_LIMIT: Duration = Duration::from_secs(2);
/// A later look-up that takes longer is reported as failed; its answer is still taken when it comes.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// A name without addresses is looked up again after this time, then twice that, and so on up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Bounds of the interval, so that no number in the file makes the loop spin or overflow.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Resolves every server of the upstream and tells the pool. Takes two seconds at most; names that did not resolve until
/// then keep the addresses that the pool has for them (from before a reload), or have none.
pub async fn resolve_once(upstream: &Upstream, pool: &Pool) {
    resolve_once_by(upstream, pool, system).await;
}

/// Keeps the names of the upstream resolved until `shutdown` is true or its sender gone. To be started after
/// [`resolve_once`]: it begins with the addresses that the pool has. Returns at once where no server is a name.
pub async fn run(upstream: Upstream, pool: Arc<Pool>, shutdown: watch::Receiver<bool>) {
    run_by(upstream, pool, shutdown, system, LOOKUP_LIMIT).await;
}

type Answer = io::Result<Vec<SocketAddr>>;
/// A look-up: does nothing until it is polled.
type Lookup = Pin<Box<dyn Future<Output = Answer> + Send>>;

fn system(host: Box<str>, port: u16) -> Lookup {
    async move { Ok(tokio::net::lookup_host((&*host, port)).await?.collect()) }.boxed()
}

async fn resolve_once_by(upstream: &Upstream, pool: &Pool, lookup: impl Fn(Box<str>, u16) -> Lookup) {
    let mut servers = servers(upstream, pool);
    let answers = join_all(servers.iter().map(|server| async {
        if let Some(ip) = server.literal {
            return Ok(vec![SocketAddr::new(ip, server.port)]);
        }
        let answer = timeout(START_LIMIT, lookup(server.host.clone(), server.port)).await;
        answer.unwrap_or_else(|_| Err(late(START_LIMIT)))
    }))
    .await;
    for (server, answer) in servers.iter_mut().zip(answers) {
        server.learn(&upstream.name, answer);
    }
    pool.update(members(&servers));
}

async fn run_by(
    upstream: Upstream,
    pool: Arc<Pool>,
    mut shutdown: watch::Receiver<bool>,
    lookup: impl Fn(Box<str>, u16) -> Lookup,
    limit: Duration,
) {
    let mut servers = servers(&upstream, &pool);
    for server in servers.iter_mut().filter(|server| server.addresses.is_empty()) {
        server.failures = 1; // before serving, when the log was told
    }
    let mut rounds: FuturesUnordered<BoxFuture<'static, (usize, Event)>> = FuturesUnordered::new();
    let round = |index: usize, server: &Server| {
        let wait = jittered(server.wait(upstream.resolve_interval));
        let lookup = lookup(server.host.clone(), server.port);
        async move {
            sleep(wait).await;
            (index, in_time(lookup, limit).await)
        }
        .boxed()
    };
    for (index, server) in servers.iter().enumerate() {
        if server.literal.is_none() {
            rounds.push(round(index, server));
        }
    }
    loop {
        let (index, event) = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            next = rounds.next() => match next {
                Some(next) => next,
                None => return,
            },
        };
        let server = &mut servers[index];
        let changed = match event {
            Event::Answer(answer) => {
                let changed = server.learn(&upstream.name, answer);
                rounds.push(round(index, server));
                changed
            }
            // The thread that looks up cannot be stopped. Waiting for it, and not starting another, bounds them.
            Event::Late(lookup) => {
                rounds.push(async move { (index, Event::Answer(lookup.await)) }.boxed());
                server.learn(&upstream.name, Err(late(limit)))
            }
        };
        if changed {
            pool.update(members(&servers));
        }
    }
}

/// How a round ends.
enum Event {
    /// With an answer.
    Answer(Answer),
    /// Without one in time; the look-up goes on.
    Late(Lookup),
}

async fn in_time(mut lookup: Lookup, limit: Duration) -> Event {
    match timeout(limit, &mut lookup).await {
        Ok(answer) => Event::Answer(answer),
        Err(_) => Event::Late(lookup),
    }
}

/// One entry of `servers` and what it resolved to.
struct Server {
    text: Arc<str>,
    host: Box<str>,
    port: u16,
    weight: u32,
    /// The address where the host is one and not a name.
    literal: Option<IpAddr>,
    addresses: Vec<SocketAddr>,
    /// Look-ups that failed in a row.
    failures: u32,
}

fn servers(upstream: &Upstream, pool: &Pool) -> Vec<Server> {
    let known = pool.endpoints();
    upstream
        .servers
        .iter()
        .filter_map(|address| Server::new(address, &known))
        .collect()
}

fn members(servers: &[Server]) -> Vec<Member> {
    let of_server = |server: &Server| {
        let (text, weight) = (Arc::clone(&server.text), server.weight);
        let member = move |&address| Member::new(Arc::clone(&text), address, weight);
        server.addresses.iter().map(member).collect::<Vec<_>>()
    };
    servers.iter().flat_map(of_server).collect()
}

impl Server {
    fn new(address: &Address, known: &[Arc<Endpoint>]) -> Option<Self> {
        let (host, port) = match &address.target {
            Target::Host { host, port } => (host, port),
            Target::Unix(_) => return Some(Self::socket(address)),
            Target::Srv(_) => return None,
        };
        let literal: Option<IpAddr> = host.parse().ok();
        let text: Arc<str> = match literal {
            Some(ip) => SocketAddr::new(ip, *port).to_string().into(),
            None => format!("{host}:{port}").into(),
        };
        let addresses = match literal {
            Some(ip) => accepted(vec![SocketAddr::new(ip, *port)]),
            None => known
                .iter()
                .filter(|one| *one.server() == text)
                .map(|one| one.address())
                .collect(),
        };
        Some(Self {
            text,
            host: host.clone(),
            port: *port,
            weight: address.weight,
            literal,
            addresses,
            failures: 0,
        })
    }

    /// A socket in the file system: there is nothing to look up.
    fn socket(server: &Address) -> Self {
        let text: Arc<str> = server.to_string().into();
        let address = unix::address(&text);
        Self {
            host: text.as_ref().into(),
            text,
            port: address.port(),
            weight: server.weight,
            literal: Some(address.ip()),
            addresses: vec![address],
            failures: 0,
        }
    }

    /// Takes in what a look-up found; whether the addresses changed. Tells the log what changed, and that only: not that
    /// a name still fails.
    fn learn(&mut self, upstream: &str, answer: Answer) -> bool {
        let server = &*self.text;
        let error = match answer.map(accepted) {
            Ok(accepted) if !accepted.is_empty() => {
                if self.failures > 0 || accepted != self.addresses {
                    info!(%upstream, %server, addresses = ?accepted, "server resolved");
                }
                self.failures = 0;
                let changed = accepted != self.addresses;
                self.addresses = accepted;
                return changed;
            }
            Ok(_) => io::Error::other("no address that a server can have"),
            Err(error) => error,
        };
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            warn!(%upstream, %server, %error, kept = ?self.addresses, "server does not resolve");
        }
        false
    }

    /// The time until the next look-up.
    fn wait(&self, interval: Duration) -> Duration {
        let interval = interval.clamp(SHORTEST, LONGEST);
        if self.addresses.is_empty() {
            let doubled = self.failures.saturating_sub(1).min(16);
            FIRST_RETRY.saturating_mul(1 << doubled).min(interval)
        } else {
            interval
        }
    }
}

/// The addresses of an answer that a server can have, each once, in a fixed order, not more than [`ADDRESSES_MAX`].
/// Whoever answers for a name must not make the gateway connect to itself by `0.0.0.0` or speak to a group.
fn accepted(answer: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let canonical = |address: SocketAddr| match address.ip().to_canonical() {
        // Only a mapped address is rebuilt: scope ids of the others must stay.
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    };
    let unicast = |address: &SocketAddr| {
        let ip = address.ip();
        !ip.is_unspecified() && !ip.is_multicast() && ip != Ipv4Addr::BROADCAST
    };
    let mut addresses: Vec<SocketAddr> = answer.into_iter().map(canonical).filter(unicast).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

fn late(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))
}

fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests;
