//! Files that are the owner's alone, and are whole whenever somebody reads them, however the process that writes them
//! ends.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes a directory that only its owner may enter, with those above it.
///
/// # Errors
/// It cannot be made.
pub(crate) fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file, readable by its owner only. `lasting`: it is to be there after the machine has lost its power, too.
///
/// # Errors
/// It cannot be written; what was there is still there.
pub(crate) fn replace(path: &Path, text: &[u8], lasting: bool) -> io::Result<()> {
    // One that was left half by a killed process of the same number is written over.
    let half = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&half)?;
    let written = file
        .write_all(text)
        .and_then(|()| if lasting { file.sync_all() } else { Ok(()) });
    written.and_then(|()| fs::rename(&half, path)).inspect_err(|_| {
        let _ = fs::remove_file(&half);
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners() {
        let above = tempfile::tempdir().unwrap();
        let place = above.path().join("a/b");
        directory(&place).unwrap();
        directory(&place).unwrap();
        let file = place.join("facts.json");
        for text in [b"one".as_slice(), b"two"] {
            replace(&file, text, true).unwrap();
            assert_eq!(fs::read(&file).unwrap(), text);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place), mode(&file)), (0o700, 0o600));
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1, "nothing is left over");
        assert!(replace(Path::new("/proc/nowhere/file"), b"", false).is_err());
    }
}
