//! Where a gateway that runs can be found: a small file of facts for each configuration file, in a directory of the
//! user's own. It is replaced whole, never half; one that a killed process left behind is known by its process being
//! gone, and stands in nobody's way.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ring::digest;
use serde::{Deserialize, Serialize};

use crate::config::model::AdminListen;
use crate::owned_file;

/// Names the directory; else systemd's `RUNTIME_DIRECTORY`, `XDG_RUNTIME_DIR`, or one in the directory for temporary
/// files.
const VARIABLE: &str = "GATEWAY_RUN_DIR";

/// A gateway that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// When the process was started, in the kernel's ticks: process numbers come again.
    started: u64,
    /// Its version.
    pub version: String,
    /// The configuration file.
    pub config: PathBuf,
    /// Its admin listener.
    pub admin: Option<AdminListen>,
    /// The file with the certificate that it shows; `None`: it speaks clear text.
    #[serde(default)]
    pub admin_certificate: Option<PathBuf>,
}

impl Running {
    /// This process, which serves this file.
    #[must_use]
    pub fn this(config: &Path, admin: Option<AdminListen>, admin_certificate: Option<PathBuf>) -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: started(pid).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: canonical(config),
            admin,
            admin_certificate,
        }
    }

    /// The gateway that serves this file, if one does.
    #[must_use]
    pub fn find(config: &Path) -> Option<Self> {
        let text = fs::read(file(config).ok()?).ok()?;
        let found: Self = serde_json::from_slice(&text).ok()?;
        (started(found.pid) == Some(found.started)).then_some(found)
    }

    /// Lets others find this gateway.
    ///
    /// # Errors
    /// The directory cannot be used: it cannot be written, or is not this user's alone.
    pub fn publish(&self) -> io::Result<()> {
        // It tells of a process that is there: nobody needs it after the machine was off.
        owned_file::replace(&file(&self.config)?, &serde_json::to_vec(self)?, false)
    }

    /// It runs no more; what another process has written since stays.
    pub fn withdraw(&self) {
        let Ok(path) = file(&self.config) else { return };
        let text = fs::read(&path).unwrap_or_default();
        if serde_json::from_slice::<Self>(&text).is_ok_and(|found| found.pid == self.pid) {
            let _ = fs::remove_file(path);
        }
    }
}

fn file(config: &Path) -> io::Result<PathBuf> {
    let name = digest::digest(&digest::SHA256, canonical(config).as_os_str().as_encoded_bytes());
    let name: String = name.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(directory()?.join(format!("{name}.json")))
}

fn canonical(path: &Path) -> PathBuf {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    fs::canonicalize(path).unwrap_or_else(|_| absolute())
}

/// The directory, made where it is not there.
fn directory() -> io::Result<PathBuf> {
    let variable = |name| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        // systemd may name several, separated by colons.
        let first = value.as_encoded_bytes().split(|byte| *byte == b':').next()?;
        Some(PathBuf::from(std::str::from_utf8(first).ok()?))
    };
    let user = rustix::process::geteuid().as_raw();
    let path = variable(VARIABLE)
        .or_else(|| variable("RUNTIME_DIRECTORY"))
        .or_else(|| variable("XDG_RUNTIME_DIR").map(|dir| dir.join("gateway")))
        .unwrap_or_else(|| std::env::temp_dir().join(format!("gateway-{user}")));
    owned_file::directory(&path)?;
    // Somebody else may have made it before, in a directory that everybody may write to.
    let about = fs::symlink_metadata(&path)?;
    if !about.is_dir() || about.uid() != user || about.mode() & 0o022 != 0 {
        let why = format!("{} is not a directory of this user's alone", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(path)
}

/// When a process was started; `None`: there is none.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; what follows is fields 3 and on (proc(5)).
    let fields = &stat[stat.rfind(')')? + 1..];
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    // A zombie serves nobody.
    if state == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_start_and_no_other_has_its() {
        let own = started(std::process::id()).expect("this process");
        assert!(own > 0);
        assert_eq!(started(0), None);
        assert_ne!(started(1), Some(own));
    }
}
