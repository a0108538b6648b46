//! The thread that keeps order: it reads the directories after the start, writes purges down, and takes out what they mean.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::format::Opened;
use super::journal::{Journal, Purge};
use super::name::{Name, part};
use super::place::PARTS;
use super::readers::LoneBody;
use super::{Shared, lookup, writer};
use crate::cache::record::Record;
use crate::cache::store::{Body, Target};
use crate::cache::tier::Settling;
use crate::cache::{Position, Ruling, url_digest};

/// More purges that are not written down than this are one of everything.
const MOST: usize = 4096;

/// From one look at every file to the next, where purges mean files that nobody knows without looking.
const BETWEEN: Duration = Duration::from_secs(10);

/// From one directory to the next, while every file is looked at: others need the disk, too.
const BREATH: Duration = Duration::from_millis(2);

/// A journal longer than this, bytes, is written anew.
const LONG: u64 = 64 << 10;

/// What the keeper is asked for.
#[derive(Default)]
pub(super) struct Orders {
    asked: Mutex<Asked>,
    more: Condvar,
}

#[derive(Default)]
struct Asked {
    purges: Vec<Purge>,
    waiting: Vec<oneshot::Sender<bool>>,
    /// Up to where purges of other gateways are among these and those before.
    heard: Option<Position>,
    look: bool,
    closed: bool,
}

impl Orders {
    /// Has a purge written down; tells whether it was.
    pub(super) fn give(&self, purge: Purge) -> Settling {
        let (done, written) = oneshot::channel();
        let mut asked = self.asked.lock();
        if asked.purges.len() >= MOST {
            asked.purges.clear();
            asked.purges.push(Purge {
                target: Target::All,
                soft: None,
                ..purge
            });
        } else {
            asked.purges.push(purge);
        }
        asked.waiting.push(done);
        drop(asked);
        self.more.notify_one();
        written
    }

    /// Has it written down that all purges up to there were given.
    pub(super) fn heard(&self, position: &Position) {
        self.asked.lock().heard = Some(position.clone());
        self.more.notify_one();
    }

    /// Has it looked whether the files are too many.
    pub(super) fn look(&self) {
        self.asked.lock().look = true;
        self.more.notify_one();
    }

    pub(super) fn close(&self) {
        self.asked.lock().closed = true;
        self.more.notify_one();
    }

    /// What was asked for by then, as soon as there is something; `None`: nobody will ask any more.
    fn take(&self, patience: Option<Duration>) -> Option<Asked> {
        let mut asked = self.asked.lock();
        let empty = |asked: &Asked| asked.is_nothing() && !asked.look && !asked.closed;
        match patience {
            None => self.more.wait_while(&mut asked, |asked| empty(asked)),
            Some(patience) => drop(self.more.wait_while_for(&mut asked, |asked| empty(asked), patience)),
        }
        let taken = std::mem::take(&mut *asked);
        asked.closed = taken.closed;
        (!taken.closed).then_some(taken)
    }
}

impl Asked {
    /// Whether nothing is to be written down.
    fn is_nothing(&self) -> bool {
        self.purges.is_empty() && self.heard.is_none()
    }
}

/// A look at every file.
struct Sweep {
    next: usize,
    /// The purges up to this number are carried out with it.
    number: u64,
}

pub(super) fn run(shared: &Shared, mut journal: Journal) {
    let mut unread = 0;
    let mut sweep: Option<Sweep> = None;
    let mut swept: Option<Instant> = None;
    // What the last gateway did not get to.
    let mut due = !shared.purges.all().is_empty();
    loop {
        let patience = match (&sweep, swept) {
            _ if unread < PARTS => Some(Duration::ZERO),
            (Some(_), _) => Some(BREATH),
            (None, Some(swept)) if due => Some(BETWEEN.saturating_sub(swept.elapsed())),
            (None, None) if due => Some(Duration::ZERO),
            (None, _) => None,
        };
        let Some(asked) = shared.orders.take(patience) else {
            return;
        };
        if !asked.is_nothing() {
            due |= note(shared, &mut journal, asked);
        } else if unread < PARTS {
            shared.know(unread);
            unread += 1;
            if unread == PARTS {
                shared.writing.ready();
            }
        } else if let Some(Sweep { next, number }) = &mut sweep {
            shared.index.of_part(*next).iter().for_each(|name| revise(shared, name));
            *next += 1;
            if *next == PARTS {
                let number = *number;
                shared.purges.done(|purge| purge.number <= number);
                due = !shared.purges.all().is_empty();
                shorten(shared, &mut journal);
                (sweep, swept) = (None, Some(Instant::now()));
            }
        } else if due && swept.is_none_or(|swept| swept.elapsed() >= BETWEEN) {
            // What is written from now on was asked for later, or is looked at before it takes its place: held once, the
            // lock says that nobody is between the two.
            drop(shared.commit.lock());
            let number = shared.purges.number();
            sweep = Some(Sweep { next: 0, number });
        }
        if unread == PARTS {
            shared.make_room(0);
        }
    }
}

/// Writes purges down, tells who waits, and carries out what can be at once. Whether a look at every file is needed.
fn note(shared: &Shared, journal: &mut Journal, asked: Asked) -> bool {
    let Asked {
        purges, waiting, heard, ..
    } = asked;
    let heard = heard.filter(|_| shared.is_noted.load(Relaxed));
    let written = match journal.note(&purges, heard) {
        Ok(()) => true,
        Err(error) => {
            shared.fail("is purged, and that cannot be written down", &error);
            false
        }
    };
    if !written {
        // Then the files themselves must go before anybody is told so.
        let failures = shared.counts.failures.load(Relaxed);
        for part in 0..PARTS {
            shared.know(part);
            shared.index.of_part(part).iter().for_each(|name| revise(shared, name));
        }
        let gone = failures == shared.counts.failures.load(Relaxed);
        if !gone {
            // From now on nobody can say up to where purges were carried out.
            shared.is_noted.store(false, Relaxed);
        }
        tell(waiting, gone);
        return true;
    }
    tell(waiting, true);
    if purges.is_empty() {
        shorten(shared, journal);
        return false;
    }
    if let Err(error) = journal.sync() {
        shared.fail("is purged, and that may not survive a power failure", &error);
    }
    let mut due = false;
    for purge in purges {
        match &purge.target {
            Target::Url(url) if !url.starts_with('/') => {
                let url = url_digest(url);
                shared.know(part(url));
                shared.index.of_url(url).iter().for_each(|name| revise(shared, name));
                shared.purges.done(|other| *other == purge);
            }
            _ => due = true,
        }
    }
    shorten(shared, journal);
    due
}

fn tell(waiting: Vec<oneshot::Sender<bool>>, settled: bool) {
    for done in waiting {
        let _ = done.send(settled); // who asked may have left
    }
}

/// Writes the journal anew when most of it is done.
fn shorten(shared: &Shared, journal: &mut Journal) {
    let left = shared.purges.all();
    if journal.length() > LONG || (left.is_empty() && journal.length() > LONG / 16) {
        // Between the two some may come that are written twice: no harm.
        if let Err(error) = journal.rewrite(shared.purges.number(), &left) {
            shared.fail("was purged, and the list of purges cannot be written anew", &error);
        }
    }
}

/// Takes out an answer that was purged, or makes it stale.
fn revise(shared: &Shared, name: &Name) {
    let Some((Record { entry, generation, .. }, _)) = lookup::open(shared, name) else {
        return;
    };
    if shared.purges.rule(generation, &entry) == Ruling::Stays {
        return;
    }
    // Again, now that nobody can put another one in its place meanwhile.
    let _commit = shared.commit.lock();
    let number = shared.purges.number();
    let Ok((record, opened)) = lookup::open_only(shared, name) else {
        return;
    };
    let Record {
        mut entry,
        generation,
        address,
    } = record;
    match shared.purges.rule(generation, &entry) {
        Ruling::Stays => {}
        Ruling::Gone => shared.discard_now(name),
        Ruling::Stale(at) => {
            let Opened { file, layout, .. } = opened;
            entry.body = Body::elsewhere(Arc::new(LoneBody { file, layout }));
            match writer::put(shared, &entry.expired(at), address, number, || (), || false) {
                Ok(true) => {}
                // What cannot be made stale must not be fresh.
                Ok(false) => shared.discard_now(name),
                Err(error) => {
                    shared.fail("cannot be made stale and is deleted", &error);
                    shared.discard_now(name);
                }
            }
        }
    }
}
