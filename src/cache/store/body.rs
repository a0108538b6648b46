//! The body of a stored answer: shared chunks that readers follow while they arrive. A reader copies nothing.

mod parts;
mod reader;

pub use parts::Parts;
pub use reader::Reader;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::forms::Forms;

/// The size of the chunks of a complete body, the last one excepted: written in one go, and not too hard to find room for.
const CHUNK: usize = 256 << 10;

/// What the writer may be ahead of the slowest reader, bytes, once a body is too large to be kept.
const WINDOW: u64 = 256 << 10;

/// The body ended before it was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// A body, complete or arriving.
pub struct Body {
    whole: OnceLock<Whole>,
    /// While it arrives.
    arriving: Mutex<Option<Arc<Arriving>>>,
    forms: Forms,
}

enum Whole {
    One(Bytes),
    Many { chunks: Box<[Bytes]>, ends: Box<[u64]> },
    Elsewhere(Arc<dyn Parts>),
}

/// A body that arrives.
struct Arriving {
    state: Mutex<State>,
    /// There is more to read, or it is over.
    more: Notify,
    /// Readers have made room.
    room: Notify,
}

#[derive(Default)]
struct State {
    /// The chunks, each with the offset behind its end.
    chunks: VecDeque<(u64, Bytes)>,
    /// The offset of the first byte that is still there.
    start: u64,
    length: u64,
    broken: bool,
    /// Only what readers still need is kept.
    windowed: bool,
    /// Where the readers are; the places of those that left are used again.
    readers: Vec<Option<u64>>,
}

impl Body {
    /// A body that is to arrive.
    #[must_use]
    pub fn arriving() -> Arc<Self> {
        Arc::new(Self {
            whole: OnceLock::new(),
            arriving: Mutex::new(Some(Arc::new(Arriving {
                state: Mutex::default(),
                more: Notify::new(),
                room: Notify::new(),
            }))),
            forms: Forms::default(),
        })
    }

    /// A body that is here.
    #[must_use]
    pub fn whole(chunks: Vec<Bytes>) -> Arc<Self> {
        Self::with(compact(chunks))
    }

    /// A body that is complete and stays where it is.
    #[must_use]
    pub fn elsewhere(parts: Arc<dyn Parts>) -> Arc<Self> {
        Self::with(Whole::Elsewhere(parts))
    }

    fn with(whole: Whole) -> Arc<Self> {
        Arc::new(Self {
            whole: OnceLock::from(whole),
            arriving: Mutex::new(None),
            forms: Forms::default(),
        })
    }

    /// Its length, once it is complete.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.whole.get().map(Whole::length)
    }

    /// Its form in a content coding, if it is kept.
    #[must_use]
    pub fn form(&self, coding: &str) -> Option<Arc<Self>> {
        self.forms.made(coding)
    }

    /// Whether it is up to the caller to make its form in a coding: one of all who ask is told so.
    #[must_use]
    pub fn claim_form(&self, coding: &'static str) -> bool {
        self.forms.claim(coding)
    }

    /// Keeps its form in a coding; [`Store::reweigh`](super::Store::reweigh) is to be told.
    pub fn put_form(&self, coding: &'static str, form: Arc<Self>) {
        self.forms.put(coding, form);
    }

    /// The bytes of it that are in memory, encoded forms included.
    #[must_use]
    pub fn in_memory(&self) -> u64 {
        match self.whole.get() {
            Some(Whole::Elsewhere(_)) => 0,
            Some(whole) => whole.length() + self.forms.in_memory(),
            None => self.current().map_or(0, |arriving| {
                let state = arriving.state.lock();
                state.length - state.start
            }),
        }
    }

    /// Its chunks, if it is complete and in memory.
    #[must_use]
    pub fn chunks(&self) -> Option<&[Bytes]> {
        match self.whole.get()? {
            Whole::One(chunk) => Some(std::slice::from_ref(chunk)),
            Whole::Many { chunks, .. } => Some(chunks),
            Whole::Elsewhere(_) => None,
        }
    }

    /// The bytes of a complete body at an offset, on a thread that may wait for a disk; none behind its end.
    ///
    /// # Errors
    /// [`Broken`]: it is not complete, or not there any more.
    pub fn read_blocking(&self, at: u64) -> Result<Bytes, Broken> {
        match self.whole.get().ok_or(Broken)? {
            Whole::Elsewhere(parts) if at < parts.length() => parts.read_blocking(at),
            whole => Ok(whole.at(at)),
        }
    }

    fn current(&self) -> Option<Arc<Arriving>> {
        self.arriving.lock().clone()
    }

    /// Appends what has arrived.
    pub fn push(&self, chunk: Bytes) {
        let Some(arriving) = self.current() else { return };
        if chunk.is_empty() {
            return;
        }
        {
            let mut state = arriving.state.lock();
            state.length += chunk.len() as u64;
            let end = state.length;
            state.chunks.push_back((end, chunk));
            state.forget();
        }
        arriving.more.notify_waiters();
    }

    /// Whether what has arrived so far has these bytes at this place: all of them, or those that are there.
    #[must_use]
    pub fn agrees(&self, mut at: u64, mut bytes: &[u8]) -> bool {
        let Some(arriving) = self.current() else { return false };
        let state = arriving.state.lock();
        if at < state.start {
            return false;
        }
        while let Some(chunk) = state.at(at) {
            let same = chunk.len().min(bytes.len());
            if chunk[..same] != bytes[..same] {
                return false;
            }
            at += same as u64;
            bytes = &bytes[same..];
            if bytes.is_empty() {
                return true;
            }
        }
        true
    }

    /// The body is larger than what is kept: from now on only what readers still need is held, and the writer waits
    /// for them in [`room`](Self::room).
    pub fn overflow(&self) {
        if let Some(arriving) = self.current() {
            let mut state = arriving.state.lock();
            state.windowed = true;
            state.forget();
        }
    }

    /// Waits until the slowest reader is near enough; at once for a body that is kept. `false`: nobody reads it any more.
    pub async fn room(&self) -> bool {
        let Some(arriving) = self.current() else { return false };
        loop {
            let freed = arriving.room.notified();
            {
                let state = arriving.state.lock();
                if !state.windowed {
                    return true;
                }
                match state.slowest() {
                    None => return false,
                    Some(at) if state.length - at < WINDOW => return true,
                    Some(_) => {}
                }
            }
            freed.await;
        }
    }

    /// The body is complete. `false`: it was too large to be kept.
    pub fn finish(&self) -> bool {
        let Some(arriving) = self.current() else { return false };
        let kept = {
            let state = arriving.state.lock();
            !state.windowed
        };
        if kept {
            let chunks = {
                let mut state = arriving.state.lock();
                std::mem::take(&mut state.chunks)
            };
            let whole = compact(chunks.into_iter().map(|(_, chunk)| chunk).collect());
            let _ = self.whole.set(whole);
            *self.arriving.lock() = None;
        } else {
            // Its readers find the end where the chunks end.
            let mut state = arriving.state.lock();
            let end = state.length;
            state.chunks.push_back((end, Bytes::new()));
        }
        arriving.more.notify_waiters();
        kept
    }

    /// The body will never be complete.
    pub fn fail(&self) {
        if let Some(arriving) = self.current() {
            arriving.state.lock().broken = true;
            arriving.more.notify_waiters();
        }
    }

    /// Reads it from an offset to another (exclusive), or to its end.
    #[must_use]
    pub fn reader(self: &Arc<Self>, from: u64, to: Option<u64>) -> Reader {
        let place = self.current().map(|arriving| {
            let place = arriving.state.lock().enter(from);
            (arriving, place)
        });
        Reader::new(Arc::clone(self), from, to, place)
    }
}

impl State {
    /// The bytes at an offset, to the end of their chunk; `None`: not there (yet).
    fn at(&self, at: u64) -> Option<Bytes> {
        if at < self.start {
            return None;
        }
        let place = self.chunks.partition_point(|(end, _)| *end <= at);
        let (end, chunk) = self.chunks.get(place)?;
        let skip = chunk.len() - usize::try_from(end - at).ok()?;
        Some(chunk.slice(skip..))
    }

    /// Whether the writer has said that this is the end.
    fn is_over(&self) -> bool {
        self.chunks.back().is_some_and(|(_, chunk)| chunk.is_empty())
    }

    fn slowest(&self) -> Option<u64> {
        self.readers.iter().flatten().min().copied()
    }

    fn enter(&mut self, at: u64) -> usize {
        match self.readers.iter().position(Option::is_none) {
            Some(free) => {
                self.readers[free] = Some(at);
                free
            }
            None => {
                self.readers.push(Some(at));
                self.readers.len() - 1
            }
        }
    }

    fn forget(&mut self) {
        if !self.windowed {
            return;
        }
        let needed = self.slowest().unwrap_or(self.length);
        while self
            .chunks
            .front()
            .is_some_and(|(end, chunk)| *end <= needed && !chunk.is_empty())
        {
            if let Some((end, _)) = self.chunks.pop_front() {
                self.start = end;
            }
        }
    }
}

impl Whole {
    fn length(&self) -> u64 {
        match self {
            Self::One(chunk) => chunk.len() as u64,
            Self::Many { ends, .. } => ends.last().copied().unwrap_or(0),
            Self::Elsewhere(parts) => parts.length(),
        }
    }

    /// The bytes at an offset, to the end of their chunk; empty behind the end, and of what is elsewhere.
    fn at(&self, at: u64) -> Bytes {
        match self {
            Self::One(chunk) => usize::try_from(at)
                .ok()
                .filter(|at| *at < chunk.len())
                .map_or_else(Bytes::new, |at| chunk.slice(at..)),
            Self::Many { chunks, ends } => {
                let place = ends.partition_point(|end| *end <= at);
                match (chunks.get(place), ends.get(place)) {
                    (Some(chunk), Some(end)) => {
                        let skip = chunk.len() as u64 - (end - at);
                        chunk.slice(usize::try_from(skip).unwrap_or(chunk.len())..)
                    }
                    _ => Bytes::new(),
                }
            }
            Self::Elsewhere(_) => Bytes::new(),
        }
    }
}

/// Moves what arrived into memory of its own: the pieces are parts of larger buffers, which would stay as long as they.
fn compact(pieces: Vec<Bytes>) -> Whole {
    let mut left: usize = pieces.iter().map(Bytes::len).sum();
    let mut chunks = Vec::with_capacity(left.div_ceil(CHUNK));
    let mut chunk = BytesMut::with_capacity(left.min(CHUNK));
    for mut piece in pieces {
        while !piece.is_empty() {
            if chunk.len() == CHUNK {
                left -= CHUNK;
                let next = BytesMut::with_capacity(left.min(CHUNK));
                chunks.push(std::mem::replace(&mut chunk, next).freeze());
            }
            let room = CHUNK - chunk.len();
            chunk.extend_from_slice(&piece.split_to(piece.len().min(room)));
        }
    }
    if chunks.is_empty() {
        return Whole::One(chunk.freeze());
    }
    chunks.push(chunk.freeze());
    let mut end = 0;
    let ends = chunks.iter().map(|chunk| {
        end += chunk.len() as u64;
        end
    });
    Whole::Many {
        ends: ends.collect(),
        chunks: chunks.into(),
    }
}

#[cfg(test)]
mod tests;
