//! The questions to the disk. Everything here may block and runs on a thread for that.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::body::{CHUNK, read_at};
use super::media_type;
use super::target::Target;

/// Where to look, and what for.
pub(super) struct Lookup {
    pub(super) root: PathBuf,
    pub(super) index: Box<str>,
    /// Stands in for what does not exist.
    pub(super) fallback: Option<Box<str>>,
    /// Whether the beginning of the file is read at once.
    pub(super) read_ahead: bool,
}

pub(super) enum Found {
    File(OpenFile),
    /// A directory with an index, asked for without its slash.
    Directory,
    Nothing,
}

/// A regular file below the root, and what was true of it when it was opened.
pub(super) struct OpenFile {
    pub(super) file: Arc<File>,
    pub(super) size: u64,
    /// Since 1970.
    pub(super) modified_nanos: i128,
    /// Since 1970; contents, owner or links.
    pub(super) changed_nanos: i128,
    pub(super) media_type: HeaderValue,
    /// Has a name that stays while its contents change: to be revalidated before every use.
    pub(super) revalidate: bool,
    pub(super) beginning: Option<Bytes>,
}

impl Lookup {
    /// Looks the target up.
    ///
    /// # Errors
    /// A fault of the disk, of the process (descriptors) or of the root; not what a client can bring about by a name.
    pub(super) fn run(&self, target: &Target) -> io::Result<Found> {
        // Once for every request: deployments switch the root by a symbolic link.
        let root = fs::canonicalize(&self.root)?;
        let (place, name) = match locate(&root, &root.join(&target.relative))? {
            Some(Place::Directory(directory)) => match locate(&root, &directory.join(&*self.index))? {
                Some(Place::File(_)) if !target.directory => return Ok(Found::Directory),
                Some(Place::File(index)) => (Some(index), file_name(&self.index)),
                _ => (None, ""),
            },
            Some(Place::File(file)) if !target.directory => (Some(file), target.name()),
            _ => (None, ""),
        };
        if let Some(place) = place
            && let Some(file) = self.open(&place, name)?
        {
            return Ok(Found::File(file));
        }
        if let Some(fallback) = &self.fallback
            && let Some(Place::File(place)) = locate(&root, &root.join(&**fallback))?
            && let Some(mut file) = self.open(&place, file_name(fallback))?
        {
            file.revalidate = true;
            return Ok(Found::File(file));
        }
        Ok(Found::Nothing)
    }

    /// Opens a place. `name` is what the client asked for: links do not change a media type.
    fn open(&self, place: &Path, name: &str) -> io::Result<Option<OpenFile>> {
        // The place was canonical and a regular file a moment ago. Should it be neither now, opening it neither follows
        // a link nor waits for the other end of a pipe.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match present(rustix::fs::open(place, flags, Mode::empty()).map_err(Into::into))? {
            Some(descriptor) => File::from(descriptor),
            None => return Ok(None),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let size = metadata.len();
        let beginning = if self.read_ahead && size > 0 {
            Some(read_at(&file, 0, size.min(CHUNK))?)
        } else {
            None
        };
        Ok(Some(OpenFile {
            file: Arc::new(file),
            size,
            modified_nanos: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed_nanos: nanos(metadata.ctime(), metadata.ctime_nsec()),
            media_type: media_type::of(name),
            revalidate: name == &*self.index || ALWAYS_REVALIDATED.contains(&name),
            beginning,
        }))
    }
}

/// A page, its service worker and its manifest decide which release a browser sees.
const ALWAYS_REVALIDATED: [&str; 6] = [
    "index.html",
    "sw.js",
    "service-worker.js",
    "registerSW.js",
    "manifest.json",
    "manifest.webmanifest",
];

/// A canonical path below the root.
enum Place {
    File(PathBuf),
    Directory(PathBuf),
}

/// Follows all links. What ends outside of the root does not exist, and neither do devices, pipes and sockets. Names
/// behind a link may be hidden ones: whoever made the link wanted that (mounted ConfigMaps are made so).
fn locate(root: &Path, path: &Path) -> io::Result<Option<Place>> {
    let Some(place) = present(fs::canonicalize(path))? else {
        return Ok(None);
    };
    if !place.starts_with(root) {
        return Ok(None);
    }
    let Some(metadata) = present(fs::symlink_metadata(&place))? else {
        return Ok(None);
    };
    Ok(if metadata.is_dir() {
        Some(Place::Directory(place))
    } else if metadata.is_file() {
        Some(Place::File(place))
    } else {
        None
    })
}

/// Tells "there is no such file for you" from a fault.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::ISDIR
                | Errno::ACCESS
                | Errno::PERM
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::INVAL
                | Errno::ILSEQ
                | Errno::NXIO,
            ) => Ok(None),
            _ => Err(error),
        },
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn nanos(seconds: i64, nanos: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}
