//! One line a request, written by a thread of its own behind a bounded queue.
//!
//! A request formats its line straight into a buffer that its thread shares with few others, and goes on. The writer
//! swaps the buffers for empty ones every 100 ms, or as soon as 64 KiB wait in one; a buffer that holds 1 MiB is full.
//! Lines of one thread keep their order; those of several may be interleaved, and each says when it was.

mod entry;
mod escape;
mod field;
mod format;
mod json;
mod number;
mod queue;
mod redaction;
mod sink;
mod text;
mod time;

use std::io;
use std::sync::Arc;

use prometheus::IntCounter;

use crate::config::model::LogTarget;

pub use entry::Entry;
pub use format::{Format, Template};
pub use redaction::Redaction;

use queue::Queue;
use sink::Sink;

/// The access log. Clones share one queue and one writer; when the last is dropped, what is queued is written.
#[derive(Debug, Clone)]
pub struct AccessLog(Arc<Queue>);

impl AccessLog {
    /// Opens the target and starts the writer. Call it after the process has become a daemon: threads do not survive a
    /// fork. `dropped` counts the lines that are lost.
    ///
    /// # Errors
    /// The target cannot be opened, or no thread can be started.
    pub fn start(target: &LogTarget, dropped: IntCounter) -> io::Result<Self> {
        let sink = Sink::open(target)?;
        Ok(Self(Arc::new(Queue::start(sink, queue::LIMIT, dropped)?)))
    }

    /// Queues the line of a request. Never waits: where the queue is full, the line is dropped and counted.
    pub fn write(&self, format: &Format, redaction: &Redaction, entry: &Entry<'_>) {
        self.0.push(|line| format.write(line, redaction, entry));
    }

    /// Waits until what was queued before is written, but no longer than 5 s: a reader that has stopped
    /// reading our output must not keep the process from ending. Tells whether it was written. Blocks the thread.
    pub fn flush(&self) -> bool {
        self.0.flush()
    }

    /// Whether there are further clones.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Opens the file again under its name, as after a rotation; the old one is kept where that fails. Returns at once.
    pub fn reopen(&self) {
        self.0.reopen();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "dropped").unwrap()
    }

    #[test]
    fn lines_go_to_the_file_and_after_a_rotation_to_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let rotated = directory.path().join("access.log.1");
        fs::write(&path, "before\n").unwrap();
        let dropped = counter();
        let log = AccessLog::start(&LogTarget::File(path.clone()), dropped.clone()).unwrap();
        let format = Format::parse("${method} ${path}").unwrap();
        let redaction = Redaction::default();

        log.write(
            &format,
            &redaction,
            &Entry {
                path: b"/one",
                ..Entry::sample()
            },
        );
        assert!(log.flush());
        fs::rename(&path, &rotated).unwrap();
        log.reopen();
        log.write(
            &format,
            &redaction,
            &Entry {
                path: b"/two",
                ..Entry::sample()
            },
        );
        drop(log);

        assert_eq!(fs::read_to_string(&rotated).unwrap(), "before\nGET /one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "GET /two\n");
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn where_reopening_fails_the_old_file_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("logs");
        let moved = directory.path().join("moved");
        fs::create_dir(&inner).unwrap();
        let log = AccessLog::start(&LogTarget::File(inner.join("access.log")), counter()).unwrap();
        fs::rename(&inner, &moved).unwrap();
        log.reopen();
        log.write(
            &Format::parse("${status}").unwrap(),
            &Redaction::default(),
            &Entry::sample(),
        );
        assert!(log.flush());
        assert_eq!(fs::read_to_string(moved.join("access.log")).unwrap(), "200\n");
    }

    #[test]
    fn a_target_that_cannot_be_opened_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing").join("access.log");
        let error = AccessLog::start(&LogTarget::File(path.clone()), counter()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn clones_share_one_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let log = AccessLog::start(&LogTarget::File(path.clone()), counter()).unwrap();
        let clone = log.clone();
        drop(log);
        clone.write(&Format::Combined, &Redaction::default(), &Entry::sample());
        drop(clone);
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 1);
    }
}
