//! Files that others write while the gateway runs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells that a file was written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Also changes where the time of modification is set back, as copying tools do.
    changed: (i64, i64),
}

impl Stamp {
    /// Of several files, with their paths. Blocks.
    pub(crate) fn all(paths: Vec<PathBuf>) -> Vec<(PathBuf, Option<Self>)> {
        let stamp = |path: PathBuf| {
            let stamp = Self::of(&path);
            (path, stamp)
        };
        paths.into_iter().map(stamp).collect()
    }

    /// `None`: there is no such file. Links are followed. Blocks.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok()?;
        Some(Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }
}

/// The text of a file of at most `most` bytes. Blocks.
pub(in crate::runtime) fn text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(bytes(path, most)?).map_err(|_| io::Error::other("it is not text in UTF-8"))
}

/// The content of a file of at most `most` bytes. Blocks.
pub(in crate::runtime) fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for somebody who writes.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert_eq!(Stamp::of(&path), None);
        assert_eq!(text(&path, 4).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(
            text(directory.path(), 4)
                .unwrap_err()
                .to_string()
                .contains("not a file")
        );
        for (content, expected) in [
            (&b"abcd"[..], Ok("abcd")),
            (b"abcde", Err("larger")),
            (b"\xff", Err("UTF-8")),
        ] {
            fs::write(&path, content).unwrap();
            match (text(&path, 4), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{error}"),
                (found, expected) => panic!("{found:?}, {expected:?}"),
            }
        }
    }

    #[test]
    fn a_file_that_is_written_or_replaced_has_another_stamp() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("file"), directory.path().join("other"));
        fs::write(&path, "a").unwrap();
        let first = Stamp::of(&path);
        assert_eq!(first, Stamp::of(&path));
        fs::write(&path, "ab").unwrap();
        let written = Stamp::of(&path);
        assert_ne!(first, written);
        fs::write(&other, "cd").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(written, Stamp::of(&path));
    }
}
