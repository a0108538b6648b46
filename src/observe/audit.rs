//! The audit log: every change that somebody made or tried to make, one JSON object a line, in a file of its own that only
//! grows, and begins anew where it is told when. Lines of two processes that follow each other do not mix: each is written
//! at once, at the end.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;

use crate::config::model::LogFile;
use crate::observe::rotation::{OWNERS, RotatingFile, append_to};

/// Longest text of a line, characters: reasons may quote what others sent.
const LONGEST: usize = 4000;

/// Where the lines go; nowhere, where the file names no place.
#[derive(Default)]
pub struct Audit(Mutex<Option<(LogFile, Output)>>);

type Output = Box<dyn Write + Send>;

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.0.lock().as_ref().map(|(file, _)| file.clone());
        f.debug_tuple("Audit").field(&to).finish()
    }
}

/// What somebody did, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// Who: `SIGHUP`, `the token of [admin], from 192.0.2.1`.
    pub who: String,
    /// What: `reload`, `POST /api/v1/…`.
    pub what: String,
    /// What came with it, or what changed; secrets masked. May be empty.
    pub detail: String,
    /// Whether it was done.
    pub done: bool,
    /// How it went, or why it was not done.
    pub result: String,
}

impl Audit {
    /// From now on lines go there; `None`: nowhere. What goes there already stays open.
    ///
    /// # Errors
    /// The file cannot be opened; lines go where they went.
    pub fn write_to(&self, file: Option<&LogFile>) -> io::Result<()> {
        let mut target = self.0.lock();
        let same = target.as_ref().map(|(open, _)| open) == file;
        if !same {
            *target = file
                .map(|file| open(file).map(|output| (file.clone(), output)))
                .transpose()?;
        }
        Ok(())
    }

    /// Opens the file anew, after somebody else has moved it away.
    pub fn reopen(&self) {
        let mut target = self.0.lock();
        let Some((file, output)) = target.as_mut() else { return };
        match open(file) {
            Ok(new) => *output = new,
            Err(error) => complain(&file.path, "the audit log cannot be opened anew", &error),
        }
    }

    /// Writes a line. Blocks for as long as that takes; it is told in the gateway's own log, too.
    pub fn note(&self, deed: &Deed) {
        let Deed {
            who,
            what,
            detail,
            done,
            result,
        } = deed;
        tracing::info!(target: "deals247_gateway::audit", who, what, done, result = clip(result), "somebody changed something");
        let mut target = self.0.lock();
        let Some((file, output)) = target.as_mut() else { return };
        let at = Timestamp::try_from(SystemTime::now()).map_or_else(|_| String::new(), |at| format!("{at:.3}"));
        let line = json!({
            "at": at, "who": clip(who), "what": clip(what), "detail": clip(detail), "done": done, "result": clip(result),
            "pid": std::process::id(),
        });
        if let Err(error) = output.write_all(format!("{line}\n").as_bytes()) {
            complain(&file.path, "a change could not be written to the audit log", &error);
        }
    }
}

fn open(file: &LogFile) -> io::Result<Output> {
    Ok(match &file.rotation {
        None => Box::new(append_to(&file.path, OWNERS)?),
        Some(rotation) => Box::new(RotatingFile::open(&file.path, OWNERS, rotation.clone(), complain)?),
    })
}

fn complain(path: &Path, what: &str, error: &io::Error) {
    tracing::error!(path = %path.display(), %error, "{what}");
}

fn clip(text: &str) -> String {
    text.trim_end().chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;
    use crate::observe::rotation::Rotation;

    fn file(path: &Path, rotation: Option<Rotation>) -> LogFile {
        LogFile {
            path: path.to_owned(),
            rotation,
        }
    }

    /// What the lines of a file are about.
    fn what(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let what = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["what"].clone();
        text.lines()
            .map(|line| what(line).as_str().unwrap().to_owned())
            .collect()
    }

    fn deed(what: &str) -> Deed {
        Deed {
            who: "SIGHUP".to_owned(),
            what: what.to_owned(),
            detail: "~ [server]\n    \"quoted\"\n".to_owned(),
            done: true,
            result: "x".repeat(2 * LONGEST),
        }
    }

    #[test]
    fn lines_are_added_to_what_is_there_and_follow_the_name() {
        let directory = tempfile::tempdir().unwrap();
        let (path, rotated) = (directory.path().join("audit.log"), directory.path().join("audit.log.1"));
        let audit = Audit::default();
        audit.note(&deed("nowhere"));
        audit.write_to(Some(&file(&path, None))).unwrap();
        audit.note(&deed("one"));
        let next = Audit::default();
        next.write_to(Some(&file(&path, None))).unwrap();
        next.note(&deed("two"));
        std::fs::rename(&path, &rotated).unwrap();
        audit.note(&deed("three"));
        audit.reopen();
        audit.note(&deed("four"));
        assert_eq!(what(&rotated), ["one", "two", "three"]);
        assert_eq!(what(&path), ["four"]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let nowhere = file(Path::new("/nowhere/audit.log"), None);
        assert!(audit.write_to(Some(&nowhere)).is_err());
        audit.note(&deed("five"));
        assert_eq!(what(&path), ["four", "five"], "lines go where they went");
    }

    #[test]
    fn it_begins_anew_when_it_is_told_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let audit = Audit::default();
        audit.write_to(Some(&file(&path, None))).unwrap();
        audit.note(&deed("one"));
        audit.note(&deed("two"));
        let rotation = Rotation {
            size: Some(1),
            every: None,
            keep: 9,
            compress: false,
        };
        audit.write_to(Some(&file(&path, Some(rotation)))).unwrap();
        audit.note(&deed("three"));
        audit.note(&deed("four"));
        let mut parts: Vec<PathBuf> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        parts.sort();
        let parts: Vec<Vec<String>> = parts.iter().map(|part| what(part)).collect();
        assert_eq!(parts, [vec!["four"], vec!["one", "two"], vec!["three"]]);
    }
}
