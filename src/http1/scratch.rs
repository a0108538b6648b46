//! Reading without holding a buffer: bytes land in one buffer per thread and are copied out only when there are any. A
//! connection that waits thus costs no memory beyond its own state.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Most bytes taken in one read: a large head, or a good part of a TLS record.
const SIZE: usize = 16 * 1024;
/// From here on the buffer is handed out as it is: to copy costs more than another one, and little of it is empty.
const LARGE: usize = SIZE / 4;

thread_local! {
    static SCRATCH: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(SIZE));
}

/// Appends what `io` has to `into`; 0: the other side has ended its stream.
pub(crate) fn poll_read<T: AsyncRead + Unpin + ?Sized>(
    io: &mut T,
    cx: &mut Context<'_>,
    into: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        scratch.reserve(SIZE);
        let read = ready!(pin!(io.read_buf(scratch)).poll(cx))?;
        if read >= LARGE && into.is_empty() {
            std::mem::swap(into, scratch);
        } else {
            into.extend_from_slice(scratch);
        }
        Poll::Ready(Ok(read))
    })
}
