//! A body that stays where it is, and is read part by part.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::Broken;

/// The parts of a body that is kept elsewhere.
pub trait Parts: Send + Sync {
    /// How long the body is.
    fn length(&self) -> u64;

    /// The bytes at an offset before its end, to the end of some part: never none.
    fn read(&self, at: u64) -> BoxFuture<'static, Result<Bytes, Broken>>;

    /// The same at once, on a thread that may wait for a disk.
    ///
    /// # Errors
    /// [`Broken`]: it is not there any more.
    fn read_blocking(&self, at: u64) -> Result<Bytes, Broken>;
}
