//! Files of the gateway's own log.

use std::fmt::{self, Debug, Formatter};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::config::model::LogFile;
use crate::observe::rotation::{RotatingFile, SHARED, append_to};

/// Where lines go: everything to one place, errors to another one as well.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// `None`: standard error.
    all: Option<Arc<Open>>,
    errors: Option<Arc<Open>>,
}

impl Files {
    /// Opens them.
    ///
    /// # Errors
    /// One cannot be opened; the message names it.
    pub(super) fn open(all: Option<&LogFile>, errors: Option<&LogFile>) -> io::Result<Self> {
        Ok(Self {
            all: all.map(Open::new).transpose()?.map(Arc::new),
            errors: errors.map(Open::new).transpose()?.map(Arc::new),
        })
    }

    /// Whether there are any.
    pub(super) fn are_there(&self) -> bool {
        self.all.is_some() || self.errors.is_some()
    }

    /// Opens them again under their names, after somebody has moved them away.
    pub(super) fn reopen(&self) {
        for file in [&self.all, &self.errors].into_iter().flatten() {
            // Told when nothing is locked any more: the line goes through here.
            if let Err(error) = file.reopen() {
                tracing::error!(%error, "the log stays with the file that is open");
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Files {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            files: self,
            is_error: false,
        }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        Line {
            files: self,
            is_error: *about.level() == Level::ERROR,
        }
    }
}

/// Takes one line.
pub(super) struct Line<'a> {
    files: &'a Files,
    is_error: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Files { all, errors } = self.files;
        let written = all.as_ref().is_some_and(|file| file.append(line));
        if let Some(errors) = errors.as_ref().filter(|_| self.is_error) {
            errors.append(line);
        }
        if !written {
            // A full disk must not take the news of itself along.
            io::stderr().write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is open.
struct Open {
    file: LogFile,
    output: Mutex<Box<dyn Write + Send>>,
}

impl Open {
    fn new(file: &LogFile) -> io::Result<Self> {
        Ok(Self {
            output: Mutex::new(output(file)?),
            file: file.clone(),
        })
    }

    fn append(&self, line: &[u8]) -> bool {
        self.output.lock().write_all(line).is_ok()
    }

    fn reopen(&self) -> io::Result<()> {
        let opened = output(&self.file)?;
        *self.output.lock() = opened;
        Ok(())
    }
}

impl Debug for Open {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

fn output(file: &LogFile) -> io::Result<Box<dyn Write + Send>> {
    Ok(match &file.rotation {
        None => Box::new(append_to(&file.path, SHARED)?),
        Some(rotation) => Box::new(RotatingFile::open(&file.path, SHARED, rotation.clone(), complain)?),
    })
}

/// Not through the log: who writes holds the file, and would wait for itself.
fn complain(path: &Path, what: &str, error: &io::Error) {
    let _ = writeln!(io::stderr(), "error: {}: {what}: {error}", path.display());
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tracing_subscriber::EnvFilter;

    use super::*;
    use crate::observe::rotation::Rotation;

    fn file(path: PathBuf, rotation: Option<Rotation>) -> LogFile {
        LogFile { path, rotation }
    }

    fn write(files: Files, events: impl FnOnce()) {
        let subscriber = super::super::subscriber(EnvFilter::new("info"), false, false, files).0;
        tracing::subscriber::with_default(subscriber, events);
    }

    #[test]
    fn errors_stand_in_both_files_and_the_rest_in_one() {
        let directory = tempfile::tempdir().unwrap();
        let (all, errors) = (directory.path().join("all.log"), directory.path().join("error.log"));
        let files = Files::open(Some(&file(all.clone(), None)), Some(&file(errors.clone(), None)));
        write(files.unwrap(), || {
            tracing::debug!("a detail");
            tracing::info!("news");
            tracing::error!("a fault");
        });
        let all = fs::read_to_string(all).unwrap();
        assert!(
            all.contains("news") && all.contains("a fault") && !all.contains("a detail"),
            "{all}"
        );
        let errors = fs::read_to_string(errors).unwrap();
        assert!(errors.contains("a fault") && !errors.contains("news"), "{errors}");
    }

    #[test]
    fn a_rotation_that_fails_does_not_wait_for_itself() {
        let directory = tempfile::tempdir().unwrap();
        // Where the earlier part would go is a name that is too long.
        let all = directory.path().join("a".repeat(250));
        let rotation = Rotation {
            size: Some(1),
            every: None,
            keep: 1,
            compress: false,
        };
        let files = Files::open(Some(&file(all.clone(), Some(rotation))), None);
        write(files.unwrap(), || {
            tracing::info!("first");
            tracing::info!("second");
        });
        let all = fs::read_to_string(all).unwrap();
        assert!(all.contains("first") && all.contains("second"), "{all}");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = Files::open(Some(&file(directory.path().to_owned(), None)), None).unwrap_err();
        assert!(
            error.to_string().starts_with(&directory.path().display().to_string()),
            "{error}"
        );
    }
}
