//! The addresses of an upstream's servers: names are looked up before serving and again when their answers are no longer
//! good, never while a request waits. Each address of a name is a server of its own. A file of servers is read again when
//! it was written.
//!
//! What is known is kept when it cannot be confirmed: a name server that fails or is silent takes no server away. A name
//! of which it is said three times in a row that it does not exist has no servers any more. One that never resolved has
//! none either: its upstream has fewer servers, or none, and the rest of the gateway works. A servers file that is gone or
//! faulty changes nothing.
//!
//! Servers that leave get no new requests; those that they have are finished.

mod answer;
mod dns;
pub(super) mod files;
mod list;
mod server;
mod system;

pub use dns::Resolver;
pub(crate) use files::Stamp;

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use self::answer::Outcome;
use self::list::Reading;
use self::server::{FIRST_RETRY, Server, jittered};
use crate::balance::{Endpoint, Member, Pool, SEQUENCE_MAX};
use crate::config::model::{Address, Target, Upstream};

/// What the look-ups before serving may take, all together.
const START_LIMIT: Duration = Duration::from_secs(2);
/// Most addresses of one upstream: as many as there are turns in a pool.
const MEMBERS_MAX: usize = SEQUENCE_MAX;
/// While many names are being looked up the pool is told no more often than this.
const GATHER: Duration = Duration::from_millis(50);

/// Resolves every server of the upstream and tells the pool. Takes two seconds at most; names that did not resolve until
/// then keep the addresses that the pool has for them (from before a reload), or have none.
pub async fn resolve_once(upstream: &Upstream, pool: &Pool, resolver: &Arc<Resolver>) {
    resolve_once_by(upstream, pool, by(resolver)).await;
}

/// Keeps the servers of the upstream up to date until `shutdown` is true or its sender gone. To be started after
/// [`resolve_once`]: it begins with the addresses that the pool has. Returns at once where nothing can change.
pub async fn run(upstream: Upstream, pool: Arc<Pool>, resolver: Arc<Resolver>, shutdown: watch::Receiver<bool>) {
    run_by(upstream, pool, shutdown, by(&resolver)).await;
}

type Lookup = BoxFuture<'static, Outcome>;

fn by(resolver: &Arc<Resolver>) -> impl Fn(&Target) -> Lookup + Send + Sync + 'static {
    let resolver = Arc::clone(resolver);
    move |target| {
        let (resolver, target) = (Arc::clone(&resolver), target.clone());
        async move { resolver.look_up(&target).await }.boxed()
    }
}

async fn resolve_once_by(upstream: &Upstream, pool: &Pool, lookup: impl Fn(&Target) -> Lookup) {
    let mut discovery = Discovery::start(upstream, pool).await;
    if let Some(fault) = &discovery.told {
        discovery.warn(fault);
    }
    let names = discovery.servers().filter(|server| server.due().is_some());
    let late = |_| Outcome::Failed(format!("no answer within {START_LIMIT:?}"));
    join_all(names.map(|server| {
        let answer = timeout(START_LIMIT, lookup(&server.entry().target));
        async move {
            let outcome = answer.await.unwrap_or_else(late);
            server.learn(&upstream.name, outcome, upstream.resolve_interval);
        }
    }))
    .await;
    pool.update(discovery.members());
}

async fn run_by(
    upstream: Upstream,
    pool: Arc<Pool>,
    mut shutdown: watch::Receiver<bool>,
    lookup: impl Fn(&Target) -> Lookup,
) {
    let mut discovery = Discovery::start(&upstream, &pool).await;
    // The log was told before serving.
    discovery.servers().for_each(Server::resume);
    let mut lookups: FuturesUnordered<BoxFuture<'static, (u64, Outcome)>> = FuturesUnordered::new();
    let mut readings = pin!(match &upstream.servers_file {
        Some(path) => list::changes(path.clone()).left_stream(),
        None => stream::empty().right_stream(),
    });
    // Since when the pool has not been told of a change: the file may have been written since it was read before serving.
    let mut untold = upstream.servers_file.as_ref().map(|_| Instant::now());
    loop {
        for server in discovery.due(Instant::now()) {
            let (id, lookup) = (server.id, lookup(&server.entry().target));
            lookups.push(async move { (id, lookup.await) }.boxed());
        }
        let wake = [discovery.next_due(), untold.map(|since| since + GATHER)];
        let wake = wake.into_iter().flatten().min();
        if wake.is_none() && lookups.is_empty() && upstream.servers_file.is_none() {
            return;
        }
        let changed = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            Some((id, outcome)) = lookups.next() => discovery.learn(id, outcome),
            Some(reading) = readings.next() => discovery.take(reading),
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => false,
        };
        if changed {
            untold.get_or_insert_with(Instant::now);
        }
        if untold.is_some_and(|since| lookups.is_empty() || since.elapsed() >= GATHER) {
            pool.update(discovery.members());
            untold = None;
        }
    }
}

/// The servers of one upstream.
struct Discovery {
    upstream: Arc<str>,
    interval: Duration,
    file: Option<PathBuf>,
    /// Those of the configuration.
    configured: Vec<Server>,
    /// Those of the file.
    listed: Vec<Server>,
    next_id: u64,
    /// What is wrong with the file, as the log was told.
    told: Option<String>,
    /// Whether the log was told that there are too many addresses.
    too_many: bool,
}

impl Discovery {
    /// Reads the servers file, if there is one. Servers that the pool knows begin with what it knows of them.
    async fn start(upstream: &Upstream, pool: &Pool) -> Self {
        let mut discovery = Self {
            upstream: Arc::clone(&upstream.name),
            interval: upstream.resolve_interval,
            file: upstream.servers_file.clone(),
            configured: Vec::new(),
            listed: Vec::new(),
            next_id: 0,
            told: None,
            too_many: false,
        };
        let known = pool.endpoints();
        let due = Instant::now() + jittered(FIRST_RETRY.min(discovery.interval));
        let configured = upstream.servers.iter();
        discovery.configured = configured
            .map(|entry| discovery.server(entry.clone(), &known, due))
            .collect();
        if let Some(path) = &upstream.servers_file {
            let listed = match list::read(path).await {
                Ok(entries) => entries,
                Err(fault) => {
                    discovery.told = Some(fault);
                    carried(&known, &upstream.servers)
                }
            };
            discovery.listed = listed
                .into_iter()
                .map(|entry| discovery.server(entry, &known, due))
                .collect();
        }
        discovery
    }

    fn server(&mut self, entry: Address, known: &[Arc<Endpoint>], due: Instant) -> Server {
        self.next_id += 1;
        Server::new(self.next_id, entry, known, due)
    }

    fn servers(&mut self) -> impl Iterator<Item = &mut Server> {
        self.configured.iter_mut().chain(&mut self.listed)
    }

    /// When the next look-up is due.
    fn next_due(&mut self) -> Option<Instant> {
        self.servers().filter_map(|server| server.due()).min()
    }

    /// Those that are to be looked up now; they count as asked.
    fn due(&mut self, now: Instant) -> impl Iterator<Item = &Server> {
        let due = self
            .servers()
            .filter(move |server| server.due().is_some_and(|due| due <= now));
        due.map(|server| {
            server.asked();
            &*server
        })
    }

    /// Takes in an answer; whether addresses changed.
    fn learn(&mut self, id: u64, outcome: Outcome) -> bool {
        let (upstream, interval) = (Arc::clone(&self.upstream), self.interval);
        let server = self.servers().find(|server| server.id == id);
        server.is_some_and(|server| server.learn(&upstream, outcome, interval))
    }

    /// Takes in the servers file; whether servers changed.
    fn take(&mut self, reading: Reading) -> bool {
        let entries = match reading {
            Ok(entries) => entries,
            Err(fault) => {
                if self.told.as_ref() != Some(&fault) {
                    self.warn(&fault);
                }
                self.told = Some(fault);
                return false;
            }
        };
        let same = self.listed.iter().map(Server::entry).eq(&entries);
        if self.told.take().is_none() && same {
            return false;
        }
        info!(upstream = %self.upstream, file = ?self.file, servers = entries.len(), "servers file read");
        let mut before: HashMap<Target, Server> = std::mem::take(&mut self.listed)
            .into_iter()
            .map(|server| (server.entry().target.clone(), server))
            .collect();
        let now = Instant::now();
        self.listed = entries
            .into_iter()
            .map(|entry| match before.remove(&entry.target) {
                Some(mut server) => {
                    server.revise(entry);
                    server
                }
                None => self.server(entry, &[], now),
            })
            .collect();
        !same
    }

    fn warn(&self, fault: &str) {
        warn!(upstream = %self.upstream, file = ?self.file, %fault, "servers file not taken; the servers stay as they are");
    }

    /// What the pool is told.
    fn members(&mut self) -> Vec<Member> {
        let mut members: Vec<Member> = self.servers().flat_map(|server| server.members()).collect();
        let too_many = members.len() > MEMBERS_MAX;
        if too_many && !self.too_many {
            warn!(upstream = %self.upstream, addresses = members.len(), used = MEMBERS_MAX, "too many addresses");
        }
        self.too_many = too_many;
        members.truncate(MEMBERS_MAX);
        members
    }
}

/// What the servers file last said, as far as the pool still knows: for a reload that finds it gone or faulty.
fn carried(known: &[Arc<Endpoint>], configured: &[Address]) -> Vec<Address> {
    let mut carried: Vec<Address> = Vec::new();
    for endpoint in known {
        let Some(target) = target(endpoint.server()) else {
            continue;
        };
        if configured.iter().chain(&carried).all(|entry| entry.target != target) {
            let weight = match target {
                Target::Srv(_) => 1,
                Target::Host { .. } | Target::Unix(_) => endpoint.weight(),
            };
            carried.push(Address {
                target,
                weight,
                backup: false,
                max_requests: None,
            });
        }
    }
    carried
}

/// Reads back what [`Target`] shows.
fn target(shown: &str) -> Option<Target> {
    if let Some(path) = shown.strip_prefix("unix:") {
        return Some(Target::Unix(path.into()));
    }
    if let Some(name) = shown.strip_prefix("srv:") {
        return Some(Target::Srv(name.into()));
    }
    let (host, port) = shown.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Some(Target::Host {
        host: bare.unwrap_or(host).into(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests;
