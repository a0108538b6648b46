//! Where account and certificate are kept: for the gateway's user only, and replaced in one step.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;

use crate::config::model;
use crate::tls::AuthorityAnswer;

/// The folder of one authority.
pub(super) struct Storage {
    folder: PathBuf,
    certificate: PathBuf,
}

impl Storage {
    pub(super) fn of(acme: &model::Acme) -> Self {
        Self {
            folder: acme.storage.clone(),
            certificate: acme.certificate(),
        }
    }

    /// The certificate that is kept; `None`: there is none that can be used.
    pub(super) fn certificate(&self) -> Option<AuthorityAnswer> {
        let pem = fs::read(&self.certificate).ok()?;
        match AuthorityAnswer::read(&pem) {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                let path = self.certificate.display();
                tracing::warn!(%path, %error, "the certificate that was obtained cannot be used any more");
                None
            }
        }
    }

    /// The file with key and certificate, as it is; `None`: there is none.
    pub(super) fn certificate_pem(&self) -> Option<Vec<u8>> {
        fs::read(&self.certificate).ok()
    }

    pub(super) fn keep_certificate(&self, pem: &[u8]) -> Result<(), String> {
        self.replace(&self.certificate, pem)
    }

    /// The account at the authority; `None`: there is none.
    pub(super) fn account(&self) -> Option<AccountCredentials> {
        serde_json::from_slice(&fs::read(self.account_file()).ok()?).ok()
    }

    pub(super) fn keep_account(&self, json: &[u8]) -> Result<(), String> {
        self.replace(&self.account_file(), json)
    }

    /// The authority does not know it any more.
    pub(super) fn forget_account(&self) {
        let _ = fs::remove_file(self.account_file());
    }

    fn account_file(&self) -> PathBuf {
        self.folder.join("account.json")
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        self.try_replace(path, bytes)
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }

    fn try_replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // It may have been there before, made by somebody with other habits.
        fs::set_permissions(&self.folder, Permissions::from_mode(0o700))?;
        let new = path.with_extension(format!("{}.new", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_reads_it_and_it_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("acme/ca");
        let storage = Storage {
            certificate: folder.join("certificate.pem"),
            folder: folder.clone(),
        };
        assert!(storage.certificate().is_none() && storage.account().is_none());
        storage.keep_certificate(b"first").unwrap();
        storage.keep_certificate(b"second").unwrap();
        storage.keep_account(b"{}").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&directory.path().join("acme"))), (0o700, 0o700));
        let names: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.iter().all(|name| mode(name) == 0o600));
        assert_eq!(storage.certificate_pem().as_deref(), Some(b"second".as_slice()));
        assert!(storage.certificate().is_none(), "it is no certificate");
        storage.forget_account();
        assert!(!storage.account_file().exists());
    }

    #[test]
    fn what_cannot_be_written_says_where() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let storage = Storage {
            certificate: file.join("certificate.pem"),
            folder: file.clone(),
        };
        assert!(storage.keep_certificate(b"x").unwrap_err().contains("certificate.pem"));
    }
}
