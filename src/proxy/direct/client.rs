//! The client's side of an exchange in the fast lane: its request's body, and the answer on its way out.

use std::future::poll_fn;
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, response};

use crate::answer::Reason;

/// Parts of a body up to this size are put together with what goes before and after them; larger ones are not copied.
pub(super) const SMALL: usize = 2 * 1024;
/// So much is put together before it is written.
pub(super) const ENOUGH: usize = 16 * 1024;

/// The client is not there any more, or takes nothing.
#[derive(Debug)]
pub(super) struct Gone;

/// The client of one exchange, whatever it speaks.
pub(super) trait Client: Send {
    /// The status of the final answer, once it has begun.
    fn status(&self) -> Option<StatusCode>;

    /// Passes an interim answer on, where that can be done.
    fn interim(&mut self, status: StatusCode, fields: &HeaderMap) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Begins the final answer; its fields are those that the client gets, but for the framing. Written with what follows.
    /// `goes_on`: as far as the exchange is concerned, the connection can serve another request afterwards.
    fn begin(&mut self, head: response::Parts, goes_on: bool);

    /// A part of the body. It goes out with what follows, or with [`Client::flush`].
    fn part(&mut self, part: Bytes) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Where a part of the body may be moved to inside the kernel: a plain connection, on which nothing waits, and a body that
    /// goes out as it is.
    fn outlet(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// So many bytes were.
    fn moved(&mut self, _bytes: usize) {}

    /// The body is complete.
    fn end(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;

    /// The body breaks off: the client gets what there is, and sees that it is not all.
    fn cut(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Whether something waits for what follows.
    fn has_unwritten(&self) -> bool;

    /// Sends what has been written so far.
    fn flush(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Whether the client has left; never where to look would be to read the request's body.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone>;

    /// Whether the request has been read to its end.
    fn is_read(&self) -> bool;

    /// Hands some of the content of the request's body to `content`.
    ///
    /// # Errors
    /// What the client is to be told; `None`: it has left.
    fn poll_body(&mut self, cx: &mut Context<'_>, content: impl FnMut(BytesMut)) -> Poll<Result<(), Option<Reason>>>;

    /// Whether the connection can go on although the rest of the body is not needed. `expects`: the client waits to be
    /// asked for it.
    fn can_skip_body(&self, expects: bool) -> bool;

    /// Waits for the turn of the request, or until its client leaves.
    fn pause(&mut self, wait: Duration) -> impl Future<Output = Result<(), Gone>> + Send {
        async move {
            if wait.is_zero() {
                return Ok(());
            }
            let mut turn = pin!(tokio::time::sleep(wait));
            poll_fn(|cx| match turn.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => self.poll_gone(cx).map(Err),
            })
            .await
        }
    }
}
