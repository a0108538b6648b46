//! A log file that begins anew when it is large or old enough, and of whose earlier parts some are kept.
//!
//! `access.log` becomes `access.log.20261128T214500Z`, and with compression `….gz` a little later, beside the writing. What
//! a process that was killed leaves half compressed is compressed again at the next rotation.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

/// What of a half compressed file is called.
const HALF: &str = "gz.new";

/// When a file begins anew, and what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// As soon as it would become larger than this, bytes.
    pub size: Option<u64>,
    /// With each hour or day (UTC).
    pub every: Option<Period>,
    /// Earlier parts that are kept.
    pub keep: usize,
    /// Whether they are compressed.
    pub compress: bool,
}

/// A part of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Period {
    /// Its number at a moment.
    fn of(self, seconds: i64) -> i64 {
        seconds.div_euclid(match self {
            Self::Hour => 3600,
            Self::Day => 86_400,
        })
    }
}

/// The file.
#[derive(Debug)]
pub(in crate::observe) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    mode: u32,
    file: File,
    size: u64,
    /// When what is in it was begun.
    begun: i64,
    /// When it could not begin anew.
    failed: Option<i64>,
    complain: Complain,
}

/// Tells what did not work with a file.
pub(super) type Complain = fn(&Path, &str, &io::Error);

/// Seconds before what failed is tried, and told, again.
const RETRY_AFTER: u64 = 60;

impl RotatingFile {
    /// Opens it, and goes on with what is in it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path, mode: u32, rotation: Rotation, complain: Complain) -> io::Result<Self> {
        let file = append_to(path, mode)?;
        let about = file.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            rotation,
            mode,
            size: about.len(),
            // What was written into it last says to which hour or day it belongs.
            begun: if about.len() == 0 { now() } else { about.mtime() },
            failed: None,
            complain,
            file,
        })
    }

    fn is_due(&self, more: usize, now: i64) -> bool {
        let large = self
            .rotation
            .size
            .is_some_and(|most| self.size > 0 && self.size + more as u64 > most);
        let old = self
            .rotation
            .every
            .is_some_and(|every| every.of(now) != every.of(self.begun));
        self.size > 0 && (large || old)
    }

    /// Begins anew; where that fails it goes on as it is.
    fn rotate(&mut self, now: i64) -> io::Result<()> {
        let is_ours = fs::metadata(&self.path).is_ok_and(|there| {
            self.file
                .metadata()
                .is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        });
        // Else somebody has rotated it already: another process with the same file, or a tool.
        if is_ours {
            fs::rename(&self.path, earlier(&self.path, now)?)?;
        }
        let begun = Self::open(&self.path, self.mode, self.rotation.clone(), self.complain)?;
        *self = begun;
        let (path, rotation, complain) = (self.path.clone(), self.rotation.clone(), self.complain);
        // Beside the writing: lines do not wait for it. Without a thread it is made up for the next time.
        let _ = thread::Builder::new().name("log rotation".to_owned()).spawn(move || {
            if let Err(error) = tidy(&path, &rotation) {
                complain(&path, "earlier log files cannot be compressed or taken away", &error);
            }
        });
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = now();
        let waits = self.failed.is_some_and(|at| now.abs_diff(at) < RETRY_AFTER);
        if !waits
            && self.is_due(bytes.len(), now)
            && let Err(error) = self.rotate(now)
        {
            self.failed = Some(now);
            (self.complain)(&self.path, "a log file cannot be rotated", &error);
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

/// For owner and group: lines tell who was where.
pub(super) const SHARED: u32 = 0o640;
/// For the owner alone: lines tell what operators do.
pub(super) const OWNERS: u32 = 0o600;

/// Opens a file; one that is not there is made for those of this mode.
pub(super) fn append_to(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(mode)
        .open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// A name behind those of the same second, whichever of them are still there: the order of names is that of time.
fn earlier(path: &Path, now: i64) -> io::Result<PathBuf> {
    let moment = Timestamp::from_second(now).unwrap_or_default().to_zoned(TimeZone::UTC);
    let first = with(path, &moment.strftime("%Y%m%dT%H%M%SZ").to_string());
    let first_name = first.file_name().unwrap_or_default().to_string_lossy();
    let number = |part: &PathBuf| {
        let name = part.file_name()?.to_str()?;
        let rest = name.strip_prefix(&*first_name)?;
        let rest = rest.strip_suffix(".gz").unwrap_or(rest);
        match rest {
            "" => Some(0),
            _ => rest.strip_prefix('-')?.parse::<u32>().ok(),
        }
    };
    Ok(match parts(path)?.iter().filter_map(number).max() {
        None => first,
        Some(latest) => {
            let mut name = first.into_os_string();
            name.push(format!("-{:06}", latest.saturating_add(1)));
            name.into()
        }
    })
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    PathBuf::from(name)
}

/// Compresses what is to be compressed, and takes away what is not to be kept.
fn tidy(path: &Path, rotation: &Rotation) -> io::Result<()> {
    // One after the other: what another thread is compressing would be counted twice.
    static TIDYING: Mutex<()> = Mutex::new(());
    let _alone = TIDYING.lock();
    let mut parts = parts(path)?;
    let surplus = parts.len().saturating_sub(rotation.keep);
    for part in parts.drain(..surplus) {
        remove(&part)?;
    }
    // The latest one has its turn the next time: another process with the same file (during an upgrade) may still write to it.
    parts.pop();
    for part in parts
        .iter()
        .filter(|part| rotation.compress && part.extension().is_none_or(|ending| ending != "gz"))
    {
        compress(part)?;
    }
    Ok(())
}

/// Takes a file away; somebody else may have done so.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The earlier parts, the oldest first.
fn parts(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Ok(Vec::new());
    };
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let is_part = |entry: &str| {
        let rest = entry.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
        // The moment, as `earlier` writes it.
        rest.is_some_and(|rest| {
            let bytes = rest.as_bytes();
            bytes.len() >= 16 && bytes[..8].iter().all(u8::is_ascii_digit) && bytes[8] == b'T' && !rest.ends_with(HALF)
        })
    };
    let mut parts = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_part) {
            parts.push(entry.path());
        }
    }
    // Without its ending: `Z.gz` would stand behind `Z-000001`.
    parts.sort_by_cached_key(|part| part.to_string_lossy().trim_end_matches(".gz").to_owned());
    Ok(parts)
}

fn compress(part: &Path) -> io::Result<()> {
    let mut plain = match File::open(part) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    // Other threads, and other processes, tidy too: who holds the part writes its compressed form.
    match plain.try_lock() {
        Err(fs::TryLockError::WouldBlock) => return Ok(()),
        locked => locked.map_err(io::Error::from)?,
    }
    if !part.exists() {
        return Ok(());
    }
    let half = with(part, HALF);
    let whole = with(part, "gz");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(plain.metadata()?.mode() & 0o777)
        .open(&half)?;
    let mut encoder = GzEncoder::new(file, Compression::default());
    io::copy(&mut plain, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::rename(&half, &whole)?;
    remove(part)
}

#[cfg(test)]
mod tests;
