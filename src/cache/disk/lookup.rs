//! Reading an answer for a request.

use std::fs::File;
use std::io;
use std::sync::Arc;

use http::HeaderMap;

use super::Shared;
use super::format::{self, Opened, Unreadable};
use super::name::{Name, part};
use super::readers::{FileBody, Readers};
use crate::cache::record::{self, Record};
use crate::cache::store::{Body, Entry};
use crate::cache::tier::Lookup;
use crate::cache::{Address, Ruling, url_digest};

/// Bodies up to this size are read whole, bytes; larger ones while they are given.
const SMALL: u64 = 1 << 20;

/// What there is for a request.
pub(super) fn look(shared: &Arc<Shared>, readers: &Readers, address: Address, request: &HeaderMap) -> Lookup {
    shared.know(part(address.url));
    let mut others = false;
    let mut found: Vec<(Name, Entry, Opened)> = Vec::new();
    for name in shared.index.of_address(address) {
        let Some((Record { entry, generation, .. }, opened)) = open(shared, &name) else {
            continue;
        };
        let entry = match shared.purges.rule(generation, &entry) {
            Ruling::Stays => entry,
            Ruling::Stale(at) => entry.expired(at),
            // The keeper is on its way to it.
            Ruling::Gone => continue,
        };
        if entry.selector.selects(request) {
            found.push((name, entry, opened));
        } else {
            others = true;
        }
    }
    // As memory chooses.
    found.sort_by_key(|(_, entry, _)| (entry.selector.is_encoded(), entry.terms.date, entry.terms.since));
    while let Some((name, mut entry, opened)) = found.pop() {
        if let Some(body) = body(shared, readers, &name, opened) {
            entry.body = body;
            shared.index.used(address);
            return Lookup::Entry(Box::new(entry));
        }
    }
    if others { Lookup::Others } else { Lookup::Nothing }
}

/// Opens a file and reads all but its body; `None`: it is not there, or it was damaged and is gone.
pub(super) fn open(shared: &Shared, name: &Name) -> Option<(Record, Opened)> {
    match open_only(shared, name) {
        Err(Unreadable::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            shared.discard(name);
            None
        }
        opened => good(shared, name, opened),
    }
}

/// The same for who holds `commit`, and leaves what is damaged to the next one.
pub(super) fn open_only(shared: &Shared, name: &Name) -> Result<(Record, Opened), Unreadable> {
    let file = File::open(shared.place.entry(name)).map_err(Unreadable::Io)?;
    let opened = format::open(file)?;
    let record = record::read(&opened.record).filter(|record| {
        // The name is a hash of what is in it.
        record.address == name.address && url_digest(&record.entry.url) == name.address.url
    });
    Ok((record.ok_or(Unreadable::Damaged)?, opened))
}

/// The body, every byte of it checked.
fn body(shared: &Arc<Shared>, readers: &Readers, name: &Name, opened: Opened) -> Option<Arc<Body>> {
    if opened.layout.length() <= SMALL {
        return good(shared, name, opened.body()).map(Body::whole);
    }
    // Before the first byte is given: what breaks off is worse than what is fetched.
    good(shared, name, opened.check())?;
    let (shared, name) = (Arc::clone(shared), *name);
    Some(Body::elsewhere(Arc::new(FileBody {
        file: Arc::new(opened.file),
        layout: opened.layout,
        readers: readers.clone(),
        damaged: Arc::new(move || shared.damaged(&name)),
    })))
}

fn good<T>(shared: &Shared, name: &Name, read: Result<T, Unreadable>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(Unreadable::Damaged) => {
            shared.damaged(name);
            None
        }
        Err(Unreadable::Io(error)) => {
            shared.fail("cannot be read", &error);
            None
        }
    }
}
