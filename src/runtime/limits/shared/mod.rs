//! The store that several gateways share: Redis, asked by one task a connection.
//!
//! [`Shared::check`] decides with what the [`Book`] has in hand, or asks; it never waits longer than the budget of
//! `[redis] timeout`, whatever the store does. `None` comes back when the store cannot be asked: then the limits decide by
//! their `on_store_error`.

mod attempt;
mod cluster;
pub(in crate::runtime) mod failure;
mod health;
mod inspect;
mod line;
mod link;
mod notices;
mod routes;
mod script;
pub(in crate::runtime) mod target;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use crate::config::model;
use crate::limit::book::settlement;
use crate::limit::{Ask, Bans, Book, Charge, Charges, Each, KeyHasher, Level, Local, Reply, Verdict};
use crate::observe::metrics::{DecisionSource, StoreMetrics};
use crate::runtime::ClientTls;
use attempt::{Attempt, Step, claimed};
use failure::Failure;
use health::Health;
pub use health::StoreView;
pub(super) use inspect::SharedKey;
pub(in crate::runtime) use link::{Link, StoreAddress};
use routes::Routes;
use script::Keys;

/// Keys that are kept in this process: what is leased, what was refused, what was last told.
const BOOK: usize = 65_536;

/// How often leases that ran out are looked for.
const SWEEP: Duration = Duration::from_millis(100);

/// In how many of those turns the table is measured once.
const MEASURED: u64 = 10;

/// Settlements of leases that ran out in one sweep at most.
const SWEPT: usize = 256;

/// The store, its connections, and what this gateway holds of it.
pub(in crate::runtime) struct Shared {
    core: Arc<Core>,
    tasks: Vec<AbortHandle>,
    /// The task that hears what the others say, while the store is in force.
    following: Mutex<Option<AbortHandle>>,
}

/// What requests and tasks share.
struct Core {
    book: Book<oneshot::Sender<()>>,
    routes: ArcSwap<Routes>,
    /// Something of a Cluster is no longer where it was.
    moved: Notify,
    health: Health,
    keys: Keys,
    /// The digest of the script of notices, as the server told it.
    notices: Mutex<Option<String>>,
    /// What this gateway is called among the others.
    name: String,
    budget: Duration,
    started: Instant,
}

impl Core {
    /// Nanoseconds since the start of the process: the clock of leases.
    fn now(&self) -> u64 {
        super::nanoseconds(self.started.elapsed())
    }
}

/// What came of a request.
pub(super) struct Settled {
    pub(super) verdict: Verdict,
    pub(super) outstanding: Option<Outstanding>,
    /// What decided about each charge.
    pub(super) sources: Each<DecisionSource>,
}

/// Units that are out until the outcome of a request is known. Dropped, the request counts as a failure.
pub(super) struct Outstanding {
    core: Arc<Core>,
    out: Vec<(Ask, Reply)>,
}

impl Outstanding {
    /// The request succeeded: what was reserved is given back.
    pub(super) fn give_back(mut self) {
        self.settle(true);
    }

    fn settle(&mut self, unspent: bool) {
        for (ask, reply) in self.out.drain(..) {
            self.core.settle(settlement(&ask, &reply, unspent));
        }
    }
}

impl Drop for Outstanding {
    /// Nobody said that it succeeded.
    fn drop(&mut self) {
        self.settle(false);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.unfollow();
        self.core.routes.store(Arc::default()); // the lines end with their routes
    }
}

impl Shared {
    /// Starts the tasks of the connections, in the current runtime; without one (when a file is only compiled, not
    /// served) the store is never reached.
    pub(super) fn start(
        redis: &model::Redis,
        tls: Option<&Arc<ClientTls>>,
        metrics: StoreMetrics,
        started: Instant,
    ) -> Arc<Self> {
        let targets = target::servers(redis, tls);
        let is_cluster = matches!(redis.servers, model::RedisServers::Cluster(_));
        let connections = if is_cluster { 1 } else { redis.connections.max(1) };
        let core = Arc::new(Core {
            book: Book::new(BOOK),
            routes: ArcSwap::default(),
            moved: Notify::new(),
            health: Health::new(connections, metrics),
            keys: Keys::new(&redis.prefix),
            notices: Mutex::default(),
            name: format!("{:016x}", fastrand::u64(..)),
            budget: redis.timeout,
            started,
        });
        let mut tasks = Vec::new();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            if is_cluster {
                tasks.push(runtime.spawn(routes::follow(targets, Arc::clone(&core))).abort_handle());
            } else if let Some(target) = targets.first() {
                core.routes
                    .store(Arc::new(Routes::fixed(target, connections, &core, &runtime)));
            }
            tasks.push(runtime.spawn(sweep(Arc::clone(&core))).abort_handle());
        }
        Arc::new(Self {
            core,
            tasks,
            following: Mutex::default(),
        })
    }

    /// The store is in force: shares these bans from now on.
    pub(super) fn follow(&self, bans: &Arc<Bans>, local: &Arc<Local>) {
        self.core.health.put_in_force(true);
        let mut following = self.following.lock();
        if let (None, Ok(runtime)) = (&*following, tokio::runtime::Handle::try_current()) {
            let follow = notices::follow(Arc::clone(&self.core), Arc::clone(bans), Arc::clone(local));
            *following = Some(runtime.spawn(follow).abort_handle());
        }
    }

    /// The store is no longer in force.
    pub(super) fn unfollow(&self) {
        if let Some(task) = self.following.lock().take() {
            task.abort();
            self.core.health.put_in_force(false);
        }
    }

    /// The hasher whose keys every gateway makes alike.
    pub(super) fn hasher(&self) -> &KeyHasher {
        self.core.keys.hasher()
    }

    /// How many gateways there are, as it was last told.
    pub(super) fn gateways(&self) -> u32 {
        self.core.health.gateways()
    }

    /// How the store is.
    pub(in crate::runtime) fn view(&self) -> StoreView {
        self.core.health.view()
    }

    /// Returns when the store can be asked, or it is known that it cannot.
    pub(in crate::runtime) async fn ready(&self) {
        while !self.core.health.is_known() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The state of a bucket at the store as it was last told, by the clock of this process.
    pub(super) fn tat(&self, charge: &Charge<'_>) -> u64 {
        self.core.book.tat(charge.key.id)
    }

    /// Decides about a request; `None`: the store cannot be asked, or does not answer in time. `now`: nanoseconds since the
    /// start of the process.
    pub(super) async fn check(&self, charges: &Charges<'_>, now: u64) -> Option<Settled> {
        let routes = self.core.routes.load_full();
        let mut attempt = Attempt::new(self, &routes, charges)?;
        // Mostly there is nothing to wait for, and then no timer is made.
        match attempt.begin(now) {
            Step::Decided(settled) => Some(settled),
            Step::Failed => None,
            Step::Next(wait) => {
                let whole = tokio::time::timeout(self.core.budget, attempt.finish(wait)).await;
                let failure = match whole {
                    Ok(Ok(settled)) => return Some(settled),
                    Ok(Err(failure)) => failure,
                    Err(_) => {
                        self.core.health.metrics.failed(Failure::Slow.word());
                        Failure::Slow
                    }
                };
                attempt.failed(&failure);
                None
            }
        }
    }

    /// Charges what can no longer be refused, which nobody waits for; returns what is left as far as it is known here, or
    /// `None`: the store cannot be told.
    pub(super) fn surcharge(&self, charge: &Charge<'_>) -> Option<Level> {
        let claim = claimed(charge, self.gateways());
        let routes = self.core.routes.load();
        if !routes.line(&self.core, claim.id, claim.tag)?.is_up() {
            return None;
        }
        let (ask, level) = self.core.book.force(&claim, self.core.now());
        self.core.settle(ask);
        Some(level)
    }
}

/// Gives back what ran out unspent and is not asked for any more, and measures the table.
async fn sweep(core: Arc<Core>) {
    for turn in 0_u64.. {
        tokio::time::sleep(SWEEP).await;
        let now = core.now();
        for _ in 0..SWEPT {
            let Some(ask) = core.book.overdue(now) else { break };
            core.settle(ask);
        }
        if turn % MEASURED == 0 {
            let (keys, leases) = core.book.occupancy(now);
            core.health.metrics.held(keys, leases);
        }
    }
}
