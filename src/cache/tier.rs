//! A second tier: where answers are kept beside memory, longer or for more than one gateway. Memory is asked first; what a
//! tier has is taken into memory; what memory keeps is offered to each tier.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::HeaderMap;
use tokio::sync::oneshot;

use super::store::{Entry, Since, Target};
use super::{Address, Moment, Position, UrlKey};

/// A second tier. Nothing of it fails a request or makes one wait without bound: what goes wrong is nothing found, nothing
/// kept, a warning and a count.
pub trait Tier: Send + Sync {
    /// What it is called in `cache explain`: `disk`, `redis`.
    fn word(&self) -> &'static str;

    /// Whether other gateways write to it: then it may have a newer answer than memory.
    fn is_shared(&self) -> bool;

    /// Whether [`lookup`](Self::lookup) may find anything. At once, without waiting: it is asked for every miss.
    fn may_have(&self, address: &Address) -> bool;

    /// What there is for a request; of several answers the one with the latest `Date`.
    fn lookup(&self, address: Address, request: &HeaderMap) -> BoxFuture<'static, Lookup>;

    /// To be asked before an answer is asked for, and given back in [`Offer::generation`]: how many purges the tier knows
    /// of. A tier that other gateways purge too tells by it what was asked for before.
    fn generation(&self) -> Generation;

    /// Takes note of an answer that memory keeps, complete. Whether it is written, and when, is the tier's matter.
    fn offer(&self, offer: Offer);

    /// Purges what is meant: of the whole URL, or prefix, tag, all ([`Target::Key`] is memory's alone and means nothing
    /// here). From its return on nothing of it is given; what it returns tells whether a restart cannot bring it back.
    /// Soft (`Some(now)`): it is stale from now on. `None`: there is nothing to be waited for.
    fn purge(&self, target: &Target, soft: Option<Moment>) -> Option<Settling>;

    /// All purges up to there that gateways share were given to [`purge`](Self::purge): a restart need not doubt what is kept.
    fn heard(&self, position: &Position);

    /// An answer of this address was given from memory: told now and then, so that what is popular stays here, too.
    fn used(&self, address: &Address);

    /// What it holds and what it did, for metrics and the status API.
    fn report(&self) -> Report;
}

/// How many purges there have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generation {
    /// Of which sequence, as this process counts them: one that was lost is followed by another one.
    pub series: u64,
    /// The number of the last purge.
    pub number: u64,
}

/// Tells whether a restart cannot bring back what was purged.
pub type Settling = oneshot::Receiver<bool>;

/// What a tier has for a request.
pub enum Lookup {
    /// An answer. A small one comes with its body; a large one may come with a body that is read while it is given. Its
    /// `extra` is for the caller to fill in.
    Entry(Box<Entry>),
    /// Answers of the same address, for other requests.
    Others,
    /// Nothing for anybody.
    Nothing,
}

/// A complete answer that a tier may keep.
#[derive(Clone)]
pub struct Offer {
    /// Its address.
    pub address: Address,
    /// The answer; its body is complete.
    pub entry: Arc<Entry>,
    /// How often it was asked for, about.
    pub asked: u8,
    /// What the tier said to [`Tier::generation`] before the answer was asked for.
    pub generation: Generation,
    /// The URL, as purges of memory name it.
    pub key: UrlKey,
    /// When it was asked for, as memory counts purges.
    pub since: Since,
}

impl Offer {
    /// Whether it was purged since it was asked for: to be looked at again when it is about to be there.
    #[must_use]
    pub fn is_purged(&self) -> bool {
        self.since.changed(self.key, &self.entry.url, &self.entry.tags)
    }
}

/// What a tier holds, and what it did since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// What it holds; `None`: whoever keeps it knows.
    pub held: Option<Held>,
    /// Answers that it gave.
    pub hits: u64,
    /// Times that it was asked and had none.
    pub misses: u64,
    /// Answers that it wrote.
    pub written: u64,
    /// Answers that it did not write, because it was busy or they were not worth it.
    pub skipped: u64,
    /// Answers that were damaged, and are gone.
    pub damaged: u64,
    /// Failures of what it is kept in.
    pub failures: u64,
}

/// What a tier holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Answers.
    pub entries: u64,
    /// What they take, bytes.
    pub bytes: u64,
    /// The most that they may take, bytes.
    pub size: u64,
    /// Answers that left for others, since the start.
    pub evicted: u64,
}
