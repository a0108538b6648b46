//! Who reads a body, from one place to another, as it arrives.

use std::sync::Arc;

use bytes::Bytes;

use super::{Arriving, Body, Broken, Whole};

/// Reads a body; while it does, what it has not read yet is kept.
pub struct Reader {
    body: Arc<Body>,
    at: u64,
    to: Option<u64>,
    place: Option<(Arc<Arriving>, usize)>,
}

impl Reader {
    /// `place`: where it is counted while the body arrives.
    pub(super) fn new(body: Arc<Body>, at: u64, to: Option<u64>, place: Option<(Arc<Arriving>, usize)>) -> Self {
        Self { body, at, to, place }
    }

    /// Whether the beginning is gone already: the body is too large to be kept, and others are ahead.
    #[must_use]
    pub fn is_late(&self) -> bool {
        match &self.place {
            Some((arriving, _)) => self.at < arriving.state.lock().start,
            None => false,
        }
    }

    /// The next part, as soon as it is there; `None`: that was all.
    ///
    /// # Errors
    /// [`Broken`]: there will be no more, and there should be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        if self.to.is_some_and(|to| self.at >= to) {
            return Ok(None);
        }
        let body = Arc::clone(&self.body);
        loop {
            if let Some(whole) = body.whole.get() {
                self.leave();
                let piece = match whole {
                    Whole::Elsewhere(parts) if self.at < parts.length() => parts.read(self.at).await?,
                    whole => whole.at(self.at),
                };
                return match (piece.is_empty(), self.to) {
                    (true, Some(_)) => Err(Broken),
                    (true, None) => Ok(None),
                    (false, _) => Ok(Some(self.take(piece))),
                };
            }
            let Some((arriving, place)) = &self.place else {
                // It was completed between the two looks, or it never was one that arrives.
                if self.body.whole.get().is_some() {
                    continue;
                }
                return Err(Broken);
            };
            let arriving = Arc::clone(arriving);
            let place = *place;
            let more = arriving.more.notified();
            tokio::pin!(more);
            // Registered before the look: what arrives after it wakes us.
            more.as_mut().enable();
            {
                let mut state = arriving.state.lock();
                if let Some(piece) = state.at(self.at).filter(|piece| !piece.is_empty()) {
                    let piece = self.take(piece);
                    if let Some(reader) = state.readers.get_mut(place) {
                        *reader = Some(self.at);
                    }
                    state.forget();
                    let windowed = state.windowed;
                    drop(state);
                    if windowed {
                        arriving.room.notify_waiters();
                    }
                    return Ok(Some(piece));
                }
                if self.body.whole.get().is_some() {
                    continue;
                }
                if state.broken || self.at < state.start {
                    return Err(Broken);
                }
                if state.is_over() {
                    return if self.to.is_some() { Err(Broken) } else { Ok(None) };
                }
            }
            more.await;
        }
    }

    /// A part of what is there, no larger than wanted.
    fn take(&mut self, mut piece: Bytes) -> Bytes {
        if let Some(to) = self.to {
            piece.truncate(usize::try_from(to - self.at).unwrap_or(usize::MAX));
        }
        self.at += piece.len() as u64;
        piece
    }

    fn leave(&mut self) {
        if let Some((arriving, place)) = self.place.take() {
            {
                let mut state = arriving.state.lock();
                if let Some(reader) = state.readers.get_mut(place) {
                    *reader = None;
                }
                state.forget();
            }
            arriving.room.notify_waiters();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.leave();
    }
}
