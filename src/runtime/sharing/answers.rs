//! Small answers that gateways share, in the Redis that they share for their purges.
//!
//! ```text
//! a miss in memory → link (is it there, and quick?) → one question: the answer, and where the sequence of purges is
//!                  → is it what it says, and what was purged since it was asked for? → give
//! what memory keeps → line (bounded) → write, on a connection of its own
//! ```
//!
//! A lookup has a budget. Who uses it up, or loses the connection, takes it down for everybody: until it is there again and
//! quick, there is nothing to be asked, and a miss costs nothing.

mod line;
mod link;
mod tier;
mod write;

pub(super) use link::connect;
pub(in crate::runtime) use tier::RedisTier;
pub(super) use write::write;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::Semaphore;

use self::line::Line;
use self::link::Link;
use super::{Sharing, in_time};
use crate::cache::{Address, Position};
use crate::observe::Throttle;
use crate::runtime::limits::shared::failure::Failure;

/// Lookups under way; who comes then has a miss.
const LOOKUPS: usize = 128;

/// Of the failures the log tells one in this time.
const COMPLAINT: Duration = Duration::from_secs(10);

/// What all caches that keep answers in the Redis have in common.
pub(super) struct Answers {
    wanted: AtomicBool,
    pub(super) link: Link,
    room: Semaphore,
    line: Line,
    complaints: Throttle,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            wanted: AtomicBool::new(false),
            link: Link::default(),
            room: Semaphore::new(LOOKUPS),
            line: Line::default(),
            complaints: Throttle::new(COMPLAINT),
        }
    }
}

impl Answers {
    pub(super) fn want(&self) {
        self.wanted.store(true, Relaxed);
    }

    pub(super) fn are_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    fn complain(&self, tell: impl FnOnce()) {
        if self.complaints.admit(Instant::now()).is_some() {
            tell();
        }
    }
}

/// What there was at a key, and where the sequence of purges was after that.
struct Seen {
    /// Empty: nothing.
    value: Vec<u8>,
    /// `None`: there is no sequence.
    there: Option<Position>,
}

/// What each of two questions was answered: the value; the name and the number of the sequence.
type Told = (RedisResult<Vec<u8>>, RedisResult<(Option<Vec<u8>>, Option<Vec<u8>>)>);

impl Sharing {
    /// The key of the answers of a cache to requests of an address, or of those of one place beside it.
    fn answer_key(&self, cache: &str, address: Address, place: Option<u128>) -> String {
        let Address { url, extra } = address;
        let key = self.key(&format!("answer:{cache}:{url:032x}{extra:032x}"));
        match place {
            Some(place) => format!("{key}:{place:032x}"),
            None => key,
        }
    }

    /// Reads a key: no more of it than one byte beyond `most`, whatever it holds.
    async fn see(
        &self,
        handle: &mut MultiplexedConnection,
        key: &str,
        most: usize,
        limit: Duration,
    ) -> Result<Seen, Failure> {
        let mut question = redis::pipe();
        question.ignore_errors().cmd("GETRANGE").arg(key).arg(0).arg(most);
        // Afterwards: what was purged before the answer was read is in it.
        question
            .cmd("HMGET")
            .arg(self.key("purges:state"))
            .arg("epoch")
            .arg("generation");
        let (value, sequence): Told = in_time(question.query_async(handle), limit).await?;
        let failure = |error| Failure::of(&error);
        let (value, (epoch, generation)) = (value.map_err(failure)?, sequence.map_err(failure)?);
        let text = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let there = text(epoch).zip(text(generation).and_then(|number| number.parse().ok()));
        Ok(Seen {
            value,
            there: there.map(|(epoch, generation)| Position {
                epoch: epoch.into(),
                generation,
            }),
        })
    }
}
