//! The directory of a disk tier: nobody else's, and what lies where in it.
//!
//! ```text
//! lock           held by the gateway that uses it
//! purges         what was purged, before the files are gone
//! incoming/      files that are being written
//! abandoned/     answers that are not used any more, until they are deleted
//! entries/ab/    answers; the name of a file is a hash, and ab its beginning
//! ```

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::name::Name;

/// Directories of answers: one for each first byte of a name.
pub(super) const PARTS: usize = 256;

const LOCK: &str = "lock";
const PURGES: &str = "purges";
const INCOMING: &str = "incoming";
const ENTRIES: &str = "entries";
const ABANDONED: &str = "abandoned";

/// A directory that is ours alone.
pub(super) struct Place {
    root: PathBuf,
    /// Files that were begun.
    begun: AtomicU64,
    /// Held as long as we live.
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// Another gateway uses it; its process, where that is known.
    InUse(Option<String>),
    /// There is something in it that is none of a cache.
    NotOurs(PathBuf),
    /// It belongs to another user.
    Foreign,
    /// It cannot be made, read or written.
    Io(PathBuf, io::Error),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(Some(process)) => write!(
                f,
                "another gateway uses it (process {process})\nhelp: each gateway needs a directory of its own; what they \
                 are to share goes to Redis"
            ),
            Self::InUse(None) => write!(
                f,
                "another gateway uses it\nhelp: each gateway needs a directory of its own; what they are to share goes to \
                 Redis"
            ),
            Self::NotOurs(path) => write!(
                f,
                "there is something in it that is none of a cache: {}\nhelp: name a directory for this cache alone; one \
                 that does not exist is made",
                path.display()
            ),
            Self::Foreign => write!(
                f,
                "it belongs to another user, who could put answers into it\nhelp: `chown` it to the user of the gateway"
            ),
            Self::Io(path, error) => write!(
                f,
                "{}: {error}\nhelp: it must be a directory that the user of the gateway may write",
                path.display()
            ),
        }
    }
}

impl Place {
    /// Takes possession of a directory; makes it where there is none.
    pub(super) fn take(root: &Path) -> Result<Self, Unusable> {
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |error| Unusable::Io(path, error)
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(root).map_err(fault(root))?;
        let about = fs::metadata(root).map_err(fault(root))?;
        if about.uid() != rustix::process::geteuid().as_raw() {
            return Err(Unusable::Foreign);
        }
        if let Some(stranger) = stranger(root).map_err(fault(root))? {
            return Err(Unusable::NotOurs(stranger));
        }
        // Answers may be of interest to other users of the machine.
        if about.mode() & 0o077 != 0 {
            fs::set_permissions(root, Permissions::from_mode(0o700)).map_err(fault(root))?;
        }
        let path = root.join(LOCK);
        let mut lock = private().truncate(false).open(&path).map_err(fault(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Unusable::InUse(holder(&mut lock))),
            Err(fs::TryLockError::Error(error)) => return Err(Unusable::Io(path, error)),
        }
        lock.set_len(0).map_err(fault(&path))?;
        writeln!(lock, "{}", std::process::id()).map_err(fault(&path))?;
        let place = Self {
            root: root.to_owned(),
            begun: AtomicU64::new(0),
            _lock: lock,
        };
        builder.create(root.join(ENTRIES)).map_err(fault(root))?;
        builder.create(root.join(INCOMING)).map_err(fault(root))?;
        place.clear_incoming();
        Ok(place)
    }

    /// What was being written when the last gateway ended.
    fn clear_incoming(&self) {
        let left = fs::read_dir(self.root.join(INCOMING)).into_iter().flatten().flatten();
        for file in left {
            let _ = fs::remove_file(file.path());
        }
    }

    /// Whether there are answers.
    pub(super) fn has_entries(&self) -> io::Result<bool> {
        Ok(fs::read_dir(self.root.join(ENTRIES))?.next().is_some())
    }

    /// Puts all answers where nobody finds them.
    pub(super) fn abandon_entries(&self) -> io::Result<()> {
        let entries = self.root.join(ENTRIES);
        match fs::remove_dir_all(self.abandoned()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&entries, self.abandoned())?;
        DirBuilder::new().mode(0o700).create(entries)
    }

    /// Where answers are that nobody finds.
    pub(super) fn abandoned(&self) -> PathBuf {
        self.root.join(ABANDONED)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where purges are written down.
    pub(super) fn purges(&self) -> PathBuf {
        self.root.join(PURGES)
    }

    /// Where a file is while it is written.
    pub(super) fn incoming(&self) -> PathBuf {
        let number = self.begun.fetch_add(1, Relaxed);
        self.root.join(INCOMING).join(number.to_string())
    }

    /// Where an answer is.
    pub(super) fn entry(&self, name: &Name) -> PathBuf {
        self.part(name.part()).join(name.to_string())
    }

    /// The directory of the answers whose names begin so.
    pub(super) fn part(&self, part: usize) -> PathBuf {
        self.root.join(ENTRIES).join(format!("{part:02x}"))
    }

    /// Makes the directory of an answer.
    pub(super) fn make_part(&self, part: usize) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(self.part(part)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// The answers in one directory, each with its size.
    pub(super) fn list(&self, part: usize) -> io::Result<Vec<(Name, u64)>> {
        let files = match fs::read_dir(self.part(part)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files?,
        };
        let mut found = Vec::new();
        for file in files {
            let file = file?;
            let name = file.file_name().to_str().and_then(Name::parse);
            // What is none of ours is left alone.
            if let Some(name) = name.filter(|name| name.part() == part) {
                match file.metadata() {
                    Ok(about) if about.is_file() => found.push((name, about.len())),
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    /// Makes a new file that nobody else may read.
    pub(super) fn create(path: &Path) -> io::Result<File> {
        private().create_new(true).open(path)
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

/// Something in a directory that no disk tier puts there.
fn stranger(root: &Path) -> io::Result<Option<PathBuf>> {
    const OURS: [&str; 6] = [LOCK, PURGES, INCOMING, ENTRIES, ABANDONED, "lost+found"];
    for file in fs::read_dir(root)? {
        let file = file?;
        let name = file.file_name();
        if !OURS.iter().any(|ours| name == *ours) && name != *format!("{PURGES}.new") {
            return Ok(Some(file.path()));
        }
    }
    Ok(None)
}

fn holder(lock: &mut File) -> Option<String> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(20).read_to_string(&mut text).ok()?;
    let process = text.trim();
    (!process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit())).then(|| process.to_owned())
}
