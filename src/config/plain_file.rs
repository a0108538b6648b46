//! Small files beside the configuration: regular ones only, since a pipe or a device could keep the start waiting.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Reads a file of at most `limit` bytes; or why not.
pub(super) fn read(path: &Path, limit: u64) -> Result<String, String> {
    let text = String::from_utf8(bytes(path, limit)?);
    text.map_err(|_| "it is not text in UTF-8".to_owned())
}

/// The same of a file that is no text.
pub(super) fn bytes(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    open(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > limit {
        return Err(format!("it is larger than {} KB", limit >> 10));
    }
    Ok(bytes)
}

/// Whether a file could be read; or why not.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let mut first = [0; 1];
    match open(path)?.read(&mut first) {
        Ok(0) => Err("it is empty".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn open(path: &Path) -> Result<File, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    File::open(path).map_err(|error| error.to_string())
}
