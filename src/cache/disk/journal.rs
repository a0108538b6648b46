//! What was purged, written down before who purges is told so: a file that is still there must not come back with a
//! restart. A file of records, each with a checksum; written anew when most of them are of no use any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::place::Place;
use crate::cache::store::Target;
use crate::cache::{Moment, Position};

/// The last byte is the version.
const MAGIC: [u8; 8] = *b"GWPURGE\x01";

/// What was counted and not written when the last gateway ended is less than this.
const LEAP: u64 = 1 << 20;

/// A purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Purge {
    /// Its number: what was asked for before it is meant.
    pub(super) number: u64,
    pub(super) target: Target,
    /// What is meant is stale since then; `None`: it is gone.
    pub(super) soft: Option<Moment>,
}

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    number: u64,
    soft: Option<u64>,
    #[serde(borrow)]
    target: Meant<'a>,
}

#[derive(Serialize, Deserialize)]
enum Meant<'a> {
    Url(&'a str),
    Prefix(&'a str),
    Tag(&'a str),
    All,
    /// No purge: those that gateways share have been carried out up to here.
    Heard {
        epoch: &'a str,
        generation: u64,
    },
}

/// The file.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    heard: Option<Position>,
}

/// What a journal says.
#[derive(Default)]
pub(super) struct Told {
    /// The last number.
    pub(super) number: u64,
    /// What is still to be done.
    pub(super) purges: Vec<Purge>,
    /// Up to where the purges that gateways share are among those that were written down.
    pub(super) heard: Option<Position>,
}

impl Journal {
    /// Opens it. `None` in place of what it says: it is not there, or damaged, and what was purged is not known.
    pub(super) fn open(place: &Place) -> io::Result<(Self, Option<Told>)> {
        let path = place.purges();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            bytes => bytes?,
        };
        let told = read(&bytes);
        let told = told.map(|told| Told {
            number: told.number.saturating_add(LEAP),
            ..told
        });
        let (number, purges, heard) = match &told {
            Some(told) => (told.number, told.purges.as_slice(), told.heard.clone()),
            None => (0, &[][..], None),
        };
        Ok((Self::anew(path, number, purges, heard)?, told))
    }

    /// Writes a new file with these in the place of the old one.
    pub(super) fn rewrite(&mut self, number: u64, purges: &[Purge]) -> io::Result<()> {
        *self = Self::anew(self.path.clone(), number, purges, self.heard.clone())?;
        Ok(())
    }

    fn anew(path: PathBuf, number: u64, purges: &[Purge], heard: Option<Position>) -> io::Result<Self> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        purges.iter().for_each(|purge| append(&mut bytes, purge));
        heard.iter().for_each(|heard| append_heard(&mut bytes, heard));
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut file = Place::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&new, &path)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok(Self {
            path,
            file,
            length: bytes.len() as u64,
            heard,
        })
    }

    /// Writes these down, and that those of all gateways are carried out up to there. They survive the end of the process from then on, and of the machine from [`sync`](Self::sync).
    pub(super) fn note(&mut self, purges: &[Purge], heard: Option<Position>) -> io::Result<()> {
        let mut bytes = Vec::new();
        purges.iter().for_each(|purge| append(&mut bytes, purge));
        heard.iter().for_each(|heard| append_heard(&mut bytes, heard));
        self.file.write_all(&bytes).inspect_err(|_| {
            // Half a record would make the whole unreadable.
            let _ = self.file.set_len(self.length);
        })?;
        self.length += bytes.len() as u64;
        self.heard = heard.or(self.heard.take());
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// How long it is, bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

fn append(bytes: &mut Vec<u8>, purge: &Purge) {
    let target = match &purge.target {
        Target::Url(url) => Meant::Url(url),
        Target::Prefix(prefix) => Meant::Prefix(prefix),
        Target::Tag(tag) => Meant::Tag(tag),
        // A hash of memory's means nothing after a restart: rather too much.
        Target::All | Target::Key(_) => Meant::All,
    };
    let record = Record {
        number: purge.number,
        soft: purge.soft.map(|moment| moment.0),
        target,
    };
    append_record(bytes, &record);
}

fn append_heard(bytes: &mut Vec<u8>, heard: &Position) {
    let target = Meant::Heard {
        epoch: &heard.epoch,
        generation: heard.generation,
    };
    append_record(
        bytes,
        &Record {
            number: 0,
            soft: None,
            target,
        },
    );
}

fn append_record(bytes: &mut Vec<u8>, record: &Record<'_>) {
    let record = postcard::to_allocvec(record).unwrap_or_default();
    let length = u32::try_from(record.len()).unwrap_or_default();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&record);
    bytes.extend_from_slice(&xxh3_64(&record).to_le_bytes());
}

fn read(bytes: &[u8]) -> Option<Told> {
    let (head, mut rest) = bytes.split_at_checked(24)?;
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
    if head[..8] != MAGIC || number(&head[16..])? != xxh3_64(&head[..16]) {
        return None;
    }
    let mut told = Told {
        number: number(&head[8..16])?,
        purges: Vec::new(),
        heard: None,
    };
    while let Some((length, after)) = rest.split_at_checked(4) {
        let length = u32::from_le_bytes(length.try_into().ok()?);
        let (record, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        let (sum, after) = after.split_at_checked(8)?;
        if number(sum)? != xxh3_64(record) {
            return None;
        }
        let record: Record<'_> = postcard::from_bytes(record).ok()?;
        rest = after;
        let target = match record.target {
            Meant::Url(url) => Target::Url(url.to_owned()),
            Meant::Prefix(prefix) => Target::Prefix(prefix.to_owned()),
            Meant::Tag(tag) => Target::Tag(tag.to_owned()),
            Meant::All => Target::All,
            Meant::Heard { epoch, generation } => {
                told.heard = Some(Position {
                    epoch: epoch.into(),
                    generation,
                });
                continue;
            }
        };
        told.number = told.number.max(record.number);
        told.purges.push(Purge {
            number: record.number,
            soft: record.soft.map(Moment),
            target,
        });
    }
    rest.is_empty().then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purges() -> Vec<Purge> {
        let purge = |number, target, soft| Purge { number, target, soft };
        vec![
            purge(5, Target::Url("http://site.test/a".into()), None),
            purge(6, Target::Prefix("/api/".into()), Some(Moment(9))),
            purge(7, Target::Tag("deals".into()), Some(Moment(10))),
            purge(8, Target::All, None),
        ]
    }

    #[test]
    fn what_is_noted_is_told_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::take(folder.path()).expect("ours");
        let (mut journal, told) = Journal::open(&place).expect("opens");
        assert!(told.is_none(), "nothing is known at first");
        let at = |generation| {
            Some(Position {
                epoch: "e".into(),
                generation,
            })
        };
        journal.note(&purges()[..1], at(7)).expect("is written");
        journal.note(&[], at(8)).expect("is written");
        journal.note(&purges()[1..], None).expect("is written");
        journal.sync().expect("is written");
        assert_eq!(journal.length(), fs::metadata(place.purges()).expect("is there").len());
        let (mut journal, told) = Journal::open(&place).expect("opens");
        let told = told.expect("is good");
        assert_eq!((&told.purges, &told.heard), (&purges(), &at(8)));
        assert!(told.number >= 8 + LEAP);
        journal.rewrite(told.number, &purges()[3..]).expect("is written");
        let (_, again) = Journal::open(&place).expect("opens");
        let again = again.expect("is good");
        assert_eq!(
            (again.purges.as_slice(), again.number),
            (&purges()[3..], told.number + LEAP)
        );
        assert_eq!(again.heard, at(8));
    }

    #[test]
    fn damage_is_seen() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&3u64.to_le_bytes());
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        let borders: Vec<usize> = purges()
            .iter()
            .map(|purge| {
                let border = bytes.len();
                append(&mut bytes, purge);
                border
            })
            .collect();
        assert_eq!(read(&bytes).expect("is good").purges, purges());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert!(read(&changed).is_none(), "{at}");
            // A piece that ends where a record does says what it says.
            assert_eq!(read(&bytes[..at]).is_some(), borders.contains(&at), "{at}");
        }
    }
}
