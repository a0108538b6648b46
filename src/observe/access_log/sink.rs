//! Where lines go, and what happens when they cannot go there.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::model::LogTarget;
use crate::observe::rotation::{RotatingFile, SHARED, append_to};

/// How often a fault that lasts is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// How long a write may be retried on an output that is not ready (a terminal or a pipe that does not block).
const READY_RETRIES: u32 = 100;
const READY_PAUSE: Duration = Duration::from_millis(10);

/// Where lines go.
pub(super) struct Sink {
    output: Box<dyn Write + Send>,
    /// What is opened again after somebody else has moved it away.
    target: LogTarget,
    /// A line was written in part: it must be ended before the next.
    torn: bool,
    reported: Option<Instant>,
    unreported: u64,
}

impl Sink {
    pub(super) fn open(target: &LogTarget) -> io::Result<Self> {
        Ok(Self {
            target: target.clone(),
            output: output(target)?,
            ..Self::to(io::sink())
        })
    }

    pub(super) fn to(output: impl Write + Send + 'static) -> Self {
        Self {
            output: Box::new(output),
            target: LogTarget::Stdout,
            torn: false,
            reported: None,
            unreported: 0,
        }
    }

    /// Opens the file again under its name.
    pub(super) fn reopen(&mut self) {
        if self.target == LogTarget::Stdout {
            return;
        }
        match output(&self.target) {
            Ok(file) => {
                self.output = file;
                self.torn = false;
            }
            Err(error) => tracing::error!(%error, "the access log stays with the file that is open"),
        }
    }

    /// Writes lines, of which each ends in a line feed. Tells how many were lost.
    pub(super) fn write(&mut self, lines: &[u8]) -> u64 {
        let mut written = 0;
        let result = self.write_from(lines, &mut written);
        let Err(error) = result else {
            return 0;
        };
        if written > 0 {
            self.torn = lines[written - 1] != b'\n';
        }
        let lost = lines[written..].iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.report(&error, lost);
        lost
    }

    fn write_from(&mut self, lines: &[u8], written: &mut usize) -> io::Result<()> {
        let mut retries = 0;
        while *written < lines.len() {
            let result = if self.torn {
                self.output.write(b"\n").map(|count| self.torn = count == 0)
            } else {
                self.output.write(&lines[*written..]).and_then(|count| {
                    *written += count;
                    if count == 0 {
                        Err(ErrorKind::WriteZero.into())
                    } else {
                        Ok(())
                    }
                })
            };
            match result {
                Ok(()) => retries = 0,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && retries < READY_RETRIES => {
                    retries += 1;
                    thread::sleep(READY_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        self.output.flush()
    }

    fn report(&mut self, error: &io::Error, lost: u64) {
        self.unreported = self.unreported.saturating_add(lost);
        if self.reported.is_some_and(|at| at.elapsed() < REPORT_INTERVAL) {
            return;
        }
        self.reported = Some(Instant::now());
        let lines = std::mem::take(&mut self.unreported);
        tracing::error!(%error, lines, "access-log lines are lost: they cannot be written");
    }
}

fn output(target: &LogTarget) -> io::Result<Box<dyn Write + Send>> {
    Ok(match target {
        // A copy of the descriptor: the standard library's own handle has a lock, and a buffer that flushes at each line.
        LogTarget::Stdout => Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        LogTarget::File(path) => Box::new(append_to(path, SHARED)?),
        LogTarget::Rotated(path, rotation) => Box::new(RotatingFile::open(path, SHARED, rotation.clone(), complain)?),
    })
}

fn complain(path: &Path, what: &str, error: &io::Error) {
    tracing::error!(path = %path.display(), %error, "{what}");
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// Answers writes as told: so many bytes, or an error; then everything.
    struct Scripted {
        script: VecDeque<Result<usize, ErrorKind>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.script.pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            self.written.lock().extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes each batch; returns what arrived and what was lost of each.
    fn run(script: impl IntoIterator<Item = Result<usize, ErrorKind>>, batches: &[&str]) -> (String, Vec<u64>) {
        let written = Arc::default();
        let mut sink = Sink::to(Scripted {
            script: script.into_iter().collect(),
            written: Arc::clone(&written),
        });
        let lost = batches.iter().map(|batch| sink.write(batch.as_bytes())).collect();
        let text = String::from_utf8(written.lock().clone()).unwrap();
        (text, lost)
    }

    #[test]
    fn what_is_written_and_what_is_lost() {
        use ErrorKind::{BrokenPipe, Interrupted, StorageFull, WouldBlock};
        for (script, batches, text, lost) in [
            (vec![], vec!["a\nb\n", "c\n"], "a\nb\nc\n", vec![0, 0]),
            (vec![Ok(1), Ok(2)], vec!["a\nb\n"], "a\nb\n", vec![0]),
            (vec![Err(Interrupted), Err(WouldBlock)], vec!["a\n"], "a\n", vec![0]),
            (vec![Err(BrokenPipe)], vec!["a\nb\n", "c\n"], "c\n", vec![2, 0]),
            (vec![Ok(0)], vec!["a\n", "b\n"], "b\n", vec![1, 0]),
            // Between two lines: nothing is torn.
            (
                vec![Ok(2), Err(StorageFull)],
                vec!["a\nb\n", "c\n"],
                "a\nc\n",
                vec![1, 0],
            ),
            // Within a line: it is ended before the next one, at whichever write that succeeds.
            (
                vec![Ok(3), Err(StorageFull)],
                vec!["a\nbb\n", "c\n"],
                "a\nb\nc\n",
                vec![1, 0],
            ),
            (
                vec![Ok(1), Err(StorageFull), Err(StorageFull), Ok(0)],
                vec!["aa\n", "bb\n", "cc\n"],
                "a\ncc\n",
                vec![1, 1, 0],
            ),
        ] {
            assert_eq!(run(script.clone(), &batches), (text.to_owned(), lost), "{script:?}");
        }
    }

    #[test]
    fn an_output_that_never_gets_ready_is_given_up() {
        let script = vec![Err(ErrorKind::WouldBlock); READY_RETRIES as usize + 1];
        assert_eq!(run(script, &["a\n", "b\n"]), ("b\n".to_owned(), vec![1, 0]));
    }

    #[test]
    fn a_closed_pipe_is_an_error_like_any_other() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut sink = Sink::to(writer);
        assert_eq!(sink.write(b"a\nb\n"), 2);
        assert_eq!(sink.write(b"c\n"), 1);
    }

    #[test]
    fn a_fault_that_lasts_is_reported_once_in_a_while() {
        let mut sink = Sink::to(Scripted {
            script: vec![Err(ErrorKind::StorageFull); 3].into(),
            written: Arc::default(),
        });
        sink.write(b"a\n");
        let reported = sink.reported;
        assert!(reported.is_some());
        assert_eq!(sink.unreported, 0);
        sink.write(b"a\nb\n");
        sink.write(b"c\n");
        assert_eq!((sink.reported, sink.unreported), (reported, 3));
    }

    #[test]
    fn a_new_file_is_not_for_everyone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        drop(Sink::open(&LogTarget::File(path.clone())).unwrap());
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }
}
