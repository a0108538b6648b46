//! The threads that read for requests: a bounded line before them, so that a slow disk costs misses and not memory.

use std::sync::{Arc, mpsc};
use std::thread;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::format::{BLOCK, Layout};
use crate::cache::store::{Broken, Parts};

/// Threads that read.
const THREADS: usize = 2;

/// Requests that wait for them; who comes then has a miss.
const LINE: usize = 512;

type Work = Box<dyn FnOnce() + Send>;

/// The threads, as long as somebody has this.
#[derive(Clone)]
pub(super) struct Readers {
    line: mpsc::Sender<Work>,
    room: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn start() -> std::io::Result<Self> {
        let (line, work) = mpsc::channel::<Work>();
        let work = Arc::new(Mutex::new(work));
        for _ in 0..THREADS {
            let work = Arc::clone(&work);
            thread::Builder::new().name("cache-read".to_owned()).spawn(move || {
                loop {
                    // One waits with the lock, the others for the lock.
                    let next = work.lock().recv();
                    let Ok(next) = next else { return };
                    next();
                }
            })?;
        }
        Ok(Self {
            line,
            room: Arc::new(Semaphore::new(LINE)),
        })
    }

    /// Has something read; `None`: too many others wait.
    pub(super) async fn try_read<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        self.read_with(place, work).await
    }

    /// Has something read, whoever waits: for an answer that has begun.
    async fn read<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let place = Arc::clone(&self.room).acquire_owned().await.ok()?;
        self.read_with(place, work).await
    }

    async fn read_with<T: Send + 'static>(
        &self,
        place: OwnedSemaphorePermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, read) = oneshot::channel();
        let work = Box::new(move || {
            let _place = place;
            // Who asked may have left.
            if !done.is_closed() {
                let _ = done.send(work());
            }
        });
        self.line.send(work).ok()?;
        read.await.ok()
    }
}

/// A body on disk: one open file as long as somebody reads it.
pub(super) struct FileBody {
    pub(super) file: Arc<std::fs::File>,
    pub(super) layout: Layout,
    pub(super) readers: Readers,
    /// Called when the file turns out to be damaged.
    pub(super) damaged: Arc<dyn Fn() + Send + Sync>,
}

impl Parts for FileBody {
    fn length(&self) -> u64 {
        self.layout.length()
    }

    fn read(&self, at: u64) -> BoxFuture<'static, Result<Bytes, Broken>> {
        let (file, layout, damaged) = (Arc::clone(&self.file), self.layout, Arc::clone(&self.damaged));
        let readers = self.readers.clone();
        Box::pin(async move {
            let read = readers.read(move || read(&file, layout, at, &*damaged)).await;
            read.unwrap_or(Err(Broken))
        })
    }

    fn read_blocking(&self, at: u64) -> Result<Bytes, Broken> {
        read(&self.file, self.layout, at, &*self.damaged)
    }
}

/// A body on disk, read by a thread that may wait and by nobody else.
pub(super) struct LoneBody {
    pub(super) file: std::fs::File,
    pub(super) layout: Layout,
}

impl Parts for LoneBody {
    fn length(&self) -> u64 {
        self.layout.length()
    }

    fn read(&self, at: u64) -> BoxFuture<'static, Result<Bytes, Broken>> {
        Box::pin(std::future::ready(self.read_blocking(at)))
    }

    fn read_blocking(&self, at: u64) -> Result<Bytes, Broken> {
        read(&self.file, self.layout, at, &|| ())
    }
}

fn read(file: &std::fs::File, layout: Layout, at: u64, damaged: &dyn Fn()) -> Result<Bytes, Broken> {
    let block = layout.read(file, at / BLOCK).map_err(|_| {
        damaged();
        Broken
    })?;
    let skip = usize::try_from(at % BLOCK).unwrap_or(0);
    if skip >= block.len() {
        return Err(Broken);
    }
    Ok(block.slice(skip..))
}
