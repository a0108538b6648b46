//! The thread that writes answers: beside the others first, then in their place. It does not wait until they are on the
//! disk: what a power failure leaves of them is found out by its checksums.

use std::fs;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Shared;
use super::format;
use super::name::Name;
use super::place::Place;
use crate::cache::store::Entry;
use crate::cache::tier::Offer;
use crate::cache::{Address, record};

/// How long nothing is written after the disk has failed.
const PAUSE: Duration = Duration::from_secs(5);

/// How many times its size leaves for an answer for which a disk was full that should have had room.
const SPARE: u64 = 4;

pub(super) fn run(shared: &Shared) {
    let mut not_before: Option<Instant> = None;
    while let Some(offer) = shared.writing.next() {
        if offer.is_purged() {
            continue;
        }
        if not_before.is_some_and(|then| Instant::now() < then) {
            shared.counts.skipped.fetch_add(1, Relaxed);
            continue;
        }
        not_before = None;
        let Offer {
            address,
            entry,
            generation,
            ..
        } = &offer;
        shared.make_room(entry.body.length().unwrap_or(0) + super::HEAD);
        let commit = || shared.commit.lock();
        match put(shared, entry, *address, generation.number, commit, || offer.is_purged()) {
            Ok(true) => drop(shared.counts.written.fetch_add(1, Relaxed)),
            Ok(false) => {}
            Err(error) => {
                shared.fail("cannot be written", &error);
                if error.kind() == io::ErrorKind::StorageFull {
                    // Others have taken what the file promises this cache: it makes do with less.
                    let length = offer.entry.body.length().unwrap_or(0);
                    shared.make_less(SPARE * (length + super::HEAD));
                }
                not_before = Some(Instant::now() + PAUSE);
            }
        }
    }
}

/// Writes an answer and puts it in its place, unless `gone` says that it was purged. `commit`: takes the lock for that, or
/// shows that it is held.
pub(super) fn put<L>(
    shared: &Shared,
    entry: &Entry,
    address: Address,
    generation: u64,
    commit: impl FnOnce() -> L,
    gone: impl FnOnce() -> bool,
) -> io::Result<bool> {
    let Some((record, length)) = record::write(entry, address, generation).zip(entry.body.length()) else {
        return Ok(false);
    };
    let name = Name {
        address,
        variant: record::variant(&entry.selector),
    };
    let size = format::file_length(record.len(), length);
    let path = shared.place.incoming();
    let written = (|| {
        shared.place.make_part(name.part())?;
        let file = Place::create(&path)?;
        format::write(&file, &record, &entry.body, length)
    })();
    let placed = match written {
        Ok(true) => {
            let held = commit();
            let placed = take_place(shared, &name, size, &path, gone);
            drop(held);
            placed
        }
        other => other,
    };
    if !matches!(placed, Ok(true)) {
        let _ = fs::remove_file(&path);
    }
    placed
}

fn take_place(
    shared: &Shared,
    name: &Name,
    size: u64,
    path: &std::path::Path,
    gone: impl FnOnce() -> bool,
) -> io::Result<bool> {
    let Some(leaving) = shared.index.announce(*name, size, gone) else {
        return Ok(false);
    };
    if let Err(error) = fs::rename(path, shared.place.entry(name)) {
        shared.index.remove(name);
        return Err(error);
    }
    shared.index.arrived(name);
    leaving.iter().for_each(|name| shared.discard_now(name));
    Ok(true)
}
