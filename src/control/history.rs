//! The configurations that were in force: in memory, and where the file names a directory, there.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::owned_file;

/// Configurations that are remembered.
pub(super) const KEPT: usize = 50;
/// Largest entry that is read back, bytes: a file with its facts.
const ENTRY_MAX: u64 = 16 << 20;

/// A configuration that was put into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Counts up, over restarts where there is a directory.
    pub(super) number: u64,
    /// When, RFC 3339.
    pub(super) at: String,
    /// By whom, or by what.
    pub(super) by: String,
    /// What it changed, for people; secrets masked.
    pub(super) diff: String,
    /// The file. It may hold secrets.
    pub(super) text: Arc<str>,
}

/// The newest last.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
}

impl History {
    /// What the directory has; what cannot be read is left out.
    pub(super) fn read(directory: Option<&Path>) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        for path in directory.into_iter().flat_map(files) {
            let text = fs::metadata(&path)
                .ok()
                .filter(|about| about.is_file() && about.len() <= ENTRY_MAX)
                .and_then(|_| fs::read_to_string(&path).ok());
            match text.and_then(|text| serde_json::from_str(&text).ok()) {
                Some(entry) => entries.push(entry),
                // A process that was killed while it wrote leaves half an entry: it says nothing and harms nobody.
                None => tracing::warn!(path = %path.display(), "an entry of the history cannot be read"),
            }
        }
        entries.sort_by_key(|entry| entry.number);
        let surplus = entries.len().saturating_sub(KEPT);
        Self {
            entries: entries.into_iter().skip(surplus).collect(),
        }
    }

    /// Adds what is in force now. Returns its number. A directory that cannot be written costs the entry's copy there.
    pub(super) fn add(&mut self, by: &str, diff: String, text: Arc<str>, directory: Option<&Path>) -> u64 {
        let number = self.entries.back().map_or(0, |entry| entry.number) + 1;
        let at = Timestamp::try_from(SystemTime::now()).map_or_else(|_| String::new(), |at| format!("{at:.0}"));
        let entry = Entry {
            number,
            at,
            by: by.to_owned(),
            diff,
            text,
        };
        if let Some(directory) = directory
            && let Err(error) = store(&entry, directory)
        {
            tracing::error!(path = %directory.display(), %error, "the history cannot be written");
        }
        self.entries.push_back(entry);
        while self.entries.len() > KEPT {
            self.entries.pop_front();
        }
        number
    }

    /// The one in force, and those before it; the newest last.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The entry of this number; `None`: the last one whose text is not that of the one in force.
    pub(super) fn target(&self, number: Option<u64>) -> Option<&Entry> {
        match number {
            Some(number) => self.entries.iter().find(|entry| entry.number == number),
            None => {
                let current = self.entries.back()?;
                self.entries.iter().rev().find(|entry| entry.text != current.text)
            }
        }
    }
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect()
}

/// Writes an entry, readable by its owner only, and takes the oldest ones away.
fn store(entry: &Entry, directory: &Path) -> io::Result<()> {
    owned_file::directory(directory)?;
    let path = directory.join(format!("{:08}.json", entry.number));
    owned_file::replace(&path, &serde_json::to_vec(entry)?, true)?;
    let mut all = files(directory);
    all.sort();
    for old in all.iter().rev().skip(KEPT) {
        fs::remove_file(old)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_bounded_and_outlives_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("state/history");
        let mut history = History::read(Some(&directory));
        for round in 0..KEPT + 10 {
            let text = format!("round {round}").into();
            history.add("SIGHUP", "~ [server]\n".to_owned(), text, Some(&directory));
        }
        fs::write(directory.join("00000099.json"), "{\"number\":").unwrap();
        let read = History::read(Some(&directory));
        assert!(read.entries().eq(history.entries()));
        assert_eq!(read.entries().count(), KEPT);
        assert_eq!(read.target(None).map(|entry| &*entry.text), Some("round 58"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("00000060.json")), 0o600);
    }

    #[test]
    fn the_one_before_is_another_one() {
        let mut history = History::default();
        for text in ["a", "b", "b"] {
            history.add("SIGHUP", String::new(), text.into(), None);
        }
        assert_eq!(history.target(None).map(|entry| &*entry.text), Some("a"));
        assert_eq!(history.target(Some(2)).map(|entry| &*entry.text), Some("b"));
        assert_eq!(history.target(Some(9)), None);
        assert_eq!(History::default().target(None), None);
    }

    #[test]
    fn a_directory_that_cannot_be_written_does_not_stop_a_reload() {
        let mut history = History::default();
        let number = history.add("SIGHUP", String::new(), "a".into(), Some(Path::new("/proc/nowhere")));
        assert_eq!(number, 1);
    }
}
