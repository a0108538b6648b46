//! What gateways tell one another about their caches: every purge, in one sequence that a Redis keeps.
//!
//! A purge takes effect here at once, and waits in a list until it is in the sequence. Those of others take effect when they
//! are read. Whoever was away reads what it has missed. Where nobody knows what that
//! was, because the sequence was lost or is too long, everything kept is asked about before it is used again.
//!
//! Caches that say so keep small answers there, too ([`answers`]). Nothing of those is deleted by a purge: each answer says
//! up to where purges were known when it was asked for, and whoever finds it knows what was purged since ([`known`]).

mod answers;
mod caches;
mod follow;
mod known;
mod tell;

pub(super) use answers::RedisTier;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use self::answers::Answers;
use super::limits::shared::failure::Failure;
use super::limits::shared::target::{self, Connection, Target as Server};
use super::tasks::Task;
use super::{ClientTls, Live};
use crate::cache::{Follower, Position, Purge, Rules};
use crate::config::model;

/// Purges that wait to be told, at most; beyond it everything is purged of the cache that has them.
const WAITING: usize = 4096;

/// Purges that the sequence holds, about: who has missed more does not know what.
const HELD: usize = 65_536;

/// How long a question about purges may take. No request waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Pauses between attempts to connect: anything up to the bound, which doubles.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

type Work = Box<dyn FnOnce(watch::Receiver<bool>) -> BoxFuture<'static, ()> + Send + Sync>;

/// What this gateway shares with others.
pub struct Sharing {
    /// What the file says.
    pub model: model::Redis,
    server: Option<Server>,
    /// What this gateway is called in the sequence.
    name: String,
    state: Mutex<State>,
    /// There is something to tell.
    waiting: Notify,
    /// A purge was told or heard.
    moved: Notify,
    /// Purges of this gateway that are told and have not taken effect here yet.
    purging: AtomicUsize,
    /// Answers that are kept there.
    answers: Answers,
}

/// How the sequence is followed, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// All purges are known, those of a moment ago excepted.
    pub up_to_date: bool,
    /// The number of the last one.
    pub generation: u64,
    /// Purges of this gateway that the others have not been told.
    pub untold: usize,
    /// Whether answers are shared at the moment; `None`: no cache says so.
    pub answers: Option<bool>,
}

#[derive(Default)]
struct State {
    follower: Follower,
    /// Everything that is in the sequence has been read, a moment ago at most.
    up_to_date: bool,
    /// What others have not been told yet, oldest first.
    untold: VecDeque<Purge>,
    /// How many of them are being told.
    telling: usize,
    /// Counts the sequences that were followed: numbers of one say nothing of another.
    series: u64,
    /// The purges of this one; `None`: nobody needs them, or they are not read yet.
    rules: Option<Rules>,
}

impl Sharing {
    /// `from`: up to where it was followed by whoever kept what there is to begin with.
    pub(super) fn new(model: model::Redis, tls: Option<&Arc<ClientTls>>, from: Option<Position>) -> Arc<Self> {
        Arc::new(Self {
            server: target::servers(&model, tls).into_iter().next(),
            name: format!("{:016x}", fastrand::u64(..)),
            state: Mutex::new(State {
                follower: Follower::from(from),
                ..State::default()
            }),
            waiting: Notify::new(),
            moved: Notify::new(),
            purging: AtomicUsize::new(0),
            answers: Answers::default(),
            model,
        })
    }

    /// Has the other gateways told of a purge. Costs nobody a wait.
    pub fn tell(&self, purge: Purge) {
        let mut state = self.state.lock();
        let State { untold, telling, .. } = &mut *state;
        let (begun, fresh) = (*telling, untold.len().saturating_sub(*telling));
        if untold.iter().skip(begun).any(|waiting| *waiting == purge) {
            return;
        }
        if fresh >= WAITING {
            let cache = purge.cache.clone();
            let mut place = 0;
            untold.retain(|waiting| {
                place += 1;
                place <= begun || waiting.cache != cache
            });
            untold.push_back(Purge {
                cache,
                target: crate::cache::store::Target::All,
                soft: false,
            });
        } else {
            untold.push_back(purge);
        }
        drop(state);
        self.waiting.notify_one();
    }

    /// How it is, for operators.
    #[must_use]
    pub fn view(&self) -> View {
        let state = self.state.lock();
        View {
            up_to_date: state.up_to_date,
            generation: state.follower.generation(),
            untold: state.untold.len(),
            answers: self
                .answers
                .are_wanted()
                .then(|| state.knows() && self.answers.link.is_up()),
        }
    }

    /// From now on answers are kept there.
    pub(super) fn want_answers(&self) {
        self.answers.want();
    }

    /// Returns when all purges of this gateway are told, so that nobody brings back what they mean; `false`: they are not
    /// within [`PATIENCE`].
    pub async fn all_told(&self) -> bool {
        let told = async {
            loop {
                let moved = self.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable();
                if self.state.lock().untold.is_empty() {
                    return;
                }
                moved.await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.is_ok()
    }

    async fn open(&self) -> Result<Connection, Failure> {
        match &self.server {
            Some(server) => server.open().await,
            None => Err(Failure::Unreachable("its URL cannot be read".to_owned())),
        }
    }

    /// The name of a sequence that is begun because there is none.
    fn new_epoch(&self) -> String {
        format!("{}{:016x}", self.name, fastrand::u64(..))
    }

    /// A script over the keys where gateways meet, with what it needs to find out whether the sequence was lost.
    fn script(&self, text: &str) -> redis::Cmd {
        let mut call = redis::cmd("EVAL");
        call.arg(text)
            .arg(2)
            .arg(self.key("purges:state"))
            .arg(self.key("purges"))
            .arg(self.new_epoch());
        let state = self.state.lock();
        let here = state.follower.position();
        call.arg(here.map_or("", |here| &*here.epoch))
            .arg(here.map_or(0, |here| here.generation));
        call
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.model.prefix)
    }
}

/// The work that sharing needs.
#[must_use]
pub fn tasks(sharing: &Arc<Sharing>, live: &Arc<Live>) -> Vec<Task> {
    let task = |kind, work| Task::new(kind, Arc::from("cache_redis"), vec![Arc::clone(sharing) as _], work);
    let (reading, telling, live) = (Arc::clone(sharing), Arc::clone(sharing), Arc::clone(live));
    let mut tasks = vec![
        task(
            "purges of others",
            Box::new(move |stop| follow::follow(reading, live, stop).boxed()) as Work,
        ),
        task(
            "purges of ours",
            Box::new(move |stop| tell::tell(telling, stop).boxed()),
        ),
    ];
    if sharing.answers.are_wanted() {
        let (reading, writing) = (Arc::clone(sharing), Arc::clone(sharing));
        tasks.push(task(
            "answers of others",
            Box::new(move |stop| answers::connect(reading, stop).boxed()),
        ));
        tasks.push(task(
            "answers of ours",
            Box::new(move |stop| answers::write(writing, stop).boxed()),
        ));
    }
    tasks
}

/// Pauses that become longer while nothing works.
struct Pauses(Duration);

impl Pauses {
    fn new() -> Self {
        Self(SHORTEST_PAUSE)
    }

    fn next(&mut self) -> Duration {
        let pause = self.0.mul_f32(fastrand::f32());
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// An answer of the Redis, within the time that it has.
async fn in_time<T>(work: impl Future<Output = redis::RedisResult<T>>, limit: Duration) -> Result<T, Failure> {
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => answer.map_err(|error| Failure::of(&error)),
        Err(_) => Err(Failure::Slow),
    }
}
