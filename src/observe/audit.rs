//! The audit log: every change that somebody made or tried to make, one JSON object a line, in a file of its own that only
//! grows. Lines of two processes that follow each other do not mix: each is written at once, at the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;

/// Longest text of a line, characters: reasons may quote what others sent.
const LONGEST: usize = 4000;

/// Where the lines go; nowhere, where the file names no place.
#[derive(Debug, Default)]
pub struct Audit(Mutex<Option<(PathBuf, File)>>);

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
    pub fn write_to(&self, path: Option<&Path>) -> io::Result<()> {
        let mut file = self.0.lock();
        let same = file.as_ref().map(|(open, _)| open.as_path()) == path;
        if !same {
            *file = path
                .map(|path| open(path).map(|file| (path.to_owned(), file)))
                .transpose()?;
        }
        Ok(())
    }

    /// Opens the file anew, after it was rotated.
    pub fn reopen(&self) {
        let mut file = self.0.lock();
        let Some((path, open_file)) = file.as_mut() else { return };
        match open(path) {
            Ok(new) => *open_file = new,
            Err(error) => tracing::error!(path = %path.display(), %error, "the audit log cannot be opened anew"),
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
        let mut file = self.0.lock();
        let Some((path, file)) = file.as_mut() else { return };
        let at = Timestamp::try_from(SystemTime::now()).map_or_else(|_| String::new(), |at| format!("{at:.3}"));
        let line = json!({
            "at": at, "who": clip(who), "what": clip(what), "detail": clip(detail), "done": done, "result": clip(result),
            "pid": std::process::id(),
        });
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            tracing::error!(path = %path.display(), %error, "a change could not be written to the audit log");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn clip(text: &str) -> String {
    text.trim_end().chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

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
        audit.write_to(Some(&path)).unwrap();
        audit.note(&deed("one"));
        let next = Audit::default();
        next.write_to(Some(&path)).unwrap();
        next.note(&deed("two"));
        std::fs::rename(&path, &rotated).unwrap();
        audit.note(&deed("three"));
        audit.reopen();
        audit.note(&deed("four"));
        let what = |path: &Path| -> Vec<String> {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines()
                .map(|line| {
                    serde_json::from_str::<serde_json::Value>(line).unwrap()["what"]
                        .as_str()
                        .unwrap()
                        .to_owned()
                })
                .collect()
        };
        assert_eq!(what(&rotated), ["one", "two", "three"]);
        assert_eq!(what(&path), ["four"]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(audit.write_to(Some(Path::new("/nowhere/audit.log"))).is_err());
        audit.note(&deed("five"));
        assert_eq!(what(&path), ["four", "five"], "lines go where they went");
    }
}
