//! The bounded queue between requests and the writer's thread.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

use super::sink::Sink;

/// The longest that a line waits for the writer.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);

/// The writer is woken early when this much waits in one shard, bytes.
pub(super) const WAKE: usize = 64 * 1024;

/// The most that waits in one shard, bytes.
pub(super) const LIMIT: usize = 1024 * 1024;

/// The longest that a flush waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Buffers; threads are spread over them, so that two hardly ever want the same one.
const SHARDS: usize = 16;

/// A queue and its writer.
#[derive(Debug)]
pub(super) struct Queue {
    shared: Arc<Shared>,
    writer: Thread,
    handle: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    shards: [Shard; SHARDS],
    /// The most that waits in one shard, bytes.
    limit: usize,
    dropped: IntCounter,
    /// The writer sleeps without a deadline: whoever queues a line wakes it.
    idle: AtomicBool,
    reopen: AtomicBool,
    stop: AtomicBool,
    flushes: Mutex<Flushes>,
    flushed: Condvar,
}

/// Aligned so that two shards do not share a cache line, nor the pair that is fetched together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Vec<u8>>);

/// Flushes are numbered; the writer says up to which number everything is written.
#[derive(Debug, Default)]
struct Flushes {
    requested: u64,
    done: u64,
}

impl Queue {
    pub(super) fn start(sink: Sink, limit: usize, dropped: IntCounter) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            shards: Default::default(),
            limit,
            dropped,
            idle: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            flushes: Mutex::default(),
            flushed: Condvar::new(),
        });
        let handle = thread::Builder::new().name("access-log".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.write_lines(sink)
        })?;
        Ok(Self {
            shared,
            writer: handle.thread().clone(),
            handle: Some(handle),
        })
    }

    /// Queues the line that `format` appends, or drops and counts it where there is no room.
    pub(super) fn push(&self, format: impl FnOnce(&mut Vec<u8>)) {
        let shared = &*self.shared;
        let mut waiting = shared.shards[shard_of_thread()].0.lock();
        let before = waiting.len();
        if before >= shared.limit {
            shared.dropped.inc();
            return;
        }
        format(&mut waiting);
        waiting.push(b'\n');
        let after = waiting.len();
        if after > shared.limit {
            waiting.truncate(before);
            shared.dropped.inc();
            return;
        }
        drop(waiting);
        // Reading first keeps the cache line shared while the writer is awake anyway. No wake-up is lost: the writer
        // looks into each shard, under its lock, after it has said that it is idle.
        let woken = shared.idle.load(Ordering::Acquire) && shared.idle.swap(false, Ordering::AcqRel);
        if woken || (before < WAKE && after >= WAKE) {
            self.writer.unpark();
        }
    }

    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.writer.unpark();
    }

    pub(super) fn flush(&self) -> bool {
        self.flush_within(PATIENCE)
    }

    fn flush_within(&self, patience: Duration) -> bool {
        let mut flushes = self.shared.flushes.lock();
        flushes.requested += 1;
        let number = flushes.requested;
        self.writer.unpark();
        let deadline = Instant::now() + patience;
        while flushes.done < number {
            if self.shared.flushed.wait_until(&mut flushes, deadline).timed_out() {
                return flushes.done >= number;
            }
        }
        true
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let written = self.flush();
        self.shared.stop.store(true, Ordering::Release);
        self.writer.unpark();
        // A writer that does not come back from its output is left behind rather than waited for.
        if let Some(handle) = self.handle.take().filter(|_| written)
            && handle.join().is_err()
        {
            tracing::error!("the access log's writer panicked");
        }
    }
}

impl Shared {
    /// The writer's thread.
    fn write_lines(&self, mut sink: Sink) {
        let mut batch = Vec::new();
        loop {
            // Both are read before the shards: what was queued before they were set is written in this round.
            let stop = self.stop.load(Ordering::Acquire);
            let flush = self.flushes.lock().requested;
            if self.reopen.swap(false, Ordering::AcqRel) {
                sink.reopen();
            }
            let mut wrote = false;
            for Shard(shard) in &self.shards {
                std::mem::swap(&mut *shard.lock(), &mut batch);
                if batch.is_empty() {
                    continue;
                }
                wrote = true;
                self.dropped.inc_by(sink.write(&batch));
                batch.clear();
                if batch.capacity() > 4 * WAKE {
                    // What a burst needed is given back.
                    batch = Vec::new();
                }
            }
            {
                let mut flushes = self.flushes.lock();
                flushes.done = flush;
                self.flushed.notify_all();
            }
            if stop {
                return;
            }
            if wrote {
                thread::park_timeout(INTERVAL);
            } else {
                self.idle.store(true, Ordering::Release);
                if self.shards.iter().all(|shard| shard.0.lock().is_empty()) {
                    thread::park();
                }
                self.idle.store(false, Ordering::Release);
            }
        }
    }
}

/// The shard of this thread: handed out in turn.
fn shard_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
    }
    SHARD.get()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Write;
    use std::sync::mpsc;

    use super::*;

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "dropped").unwrap()
    }

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Memory {
        fn lines(&self) -> Vec<String> {
            let bytes = self.0.lock().clone();
            assert!(bytes.is_empty() || bytes.ends_with(b"\n"));
            String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
        }
    }

    /// Says that it was asked to write, then waits for leave before each write.
    struct Gated {
        asked: mpsc::Sender<()>,
        leave: mpsc::Receiver<()>,
        memory: Memory,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.asked.send(());
            // Without a sender the gate is open for good.
            let _ = self.leave.recv();
            self.memory.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated(limit: usize) -> (Queue, mpsc::Receiver<()>, mpsc::Sender<()>, Memory, IntCounter) {
        let (asked, was_asked) = mpsc::channel();
        let (open, leave) = mpsc::channel();
        let memory = Memory::default();
        let dropped = counter();
        let sink = Sink::to(Gated {
            asked,
            leave,
            memory: memory.clone(),
        });
        let queue = Queue::start(sink, limit, dropped.clone()).unwrap();
        (queue, was_asked, open, memory, dropped)
    }

    fn push_from_two_threads(queue: &Queue, lines_each: usize) {
        thread::scope(|scope| {
            for name in ["a", "b"] {
                scope.spawn(move || {
                    for number in 0..lines_each {
                        queue.push(|line| line.extend_from_slice(format!("{name} {number}").as_bytes()));
                    }
                });
            }
        });
    }

    #[test]
    fn with_room_enough_nothing_is_lost_and_each_thread_keeps_its_order() {
        let memory = Memory::default();
        let dropped = counter();
        let queue = Queue::start(Sink::to(memory.clone()), usize::MAX, dropped.clone()).unwrap();
        push_from_two_threads(&queue, 50_000);
        drop(queue);
        assert_eq!(dropped.get(), 0);
        let lines = memory.lines();
        assert_eq!(lines.len(), 100_000);
        for name in ["a ", "b "] {
            let numbers: Vec<usize> = lines
                .iter()
                .filter_map(|line| line.strip_prefix(name)?.parse().ok())
                .collect();
            assert!(numbers.into_iter().eq(0..50_000), "{name}");
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts_exactly() {
        let (queue, _asked, open, memory, dropped) = gated(10_000);
        push_from_two_threads(&queue, 50_000);
        assert!(dropped.get() > 0);
        drop(open);
        drop(queue);
        let lines = memory.lines();
        assert_eq!(lines.len() as u64 + dropped.get(), 100_000);
        assert_eq!(lines.iter().collect::<HashSet<_>>().len(), lines.len());
    }

    #[test]
    fn a_line_that_is_too_long_is_dropped_alone() {
        let memory = Memory::default();
        let dropped = counter();
        let queue = Queue::start(Sink::to(memory.clone()), 100, dropped.clone()).unwrap();
        queue.push(|line| line.extend_from_slice(b"before"));
        queue.push(|line| line.resize(line.len() + 100, b'x'));
        queue.push(|line| line.extend_from_slice(b"after"));
        drop(queue);
        assert_eq!(memory.lines(), ["before", "after"]);
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn a_request_does_not_wait_for_the_writer() {
        let (queue, asked, open, memory, _dropped) = gated(LIMIT);
        queue.push(|line| line.push(b'1'));
        // An idle writer is woken by a line, and is now in the middle of writing.
        asked.recv().unwrap();
        queue.push(|line| line.push(b'2'));
        assert!(!queue.flush_within(Duration::ZERO));
        open.send(()).unwrap();
        open.send(()).unwrap();
        assert!(queue.flush());
        assert_eq!(memory.lines(), ["1", "2"]);
        drop(open);
    }

    #[test]
    fn a_writer_is_woken_from_every_sleep() {
        let (queue, asked, open, memory, _dropped) = gated(LIMIT);
        for round in 0..1000 {
            queue.push(|line| line.extend_from_slice(round.to_string().as_bytes()));
            // The line itself must wake the writer, whether it has gone idle or is about to.
            asked.recv_timeout(PATIENCE).unwrap();
            open.send(()).unwrap();
            // After a round with nothing to write it goes idle.
            assert!(queue.flush() && queue.flush());
        }
        drop(open);
        drop(queue);
        assert_eq!(memory.lines().len(), 1000);
    }

    #[test]
    fn a_flush_of_nothing_returns() {
        let queue = Queue::start(Sink::to(Memory::default()), LIMIT, counter()).unwrap();
        assert!(queue.flush());
        assert!(queue.flush());
    }
}
