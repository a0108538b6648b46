//! Bytes that pass from one socket to another inside the kernel (splice(2)): they are not copied into the process and out
//! again.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::BytesMut;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What the pipe holds, bytes. Where that is not allowed it holds the 64 KiB that every pipe does.
const SIZE: usize = 256 * 1024;
const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

thread_local! {
    /// Empty between two calls: whatever a sink does not take at once is read out of it.
    static PIPE: RefCell<Option<Pipe>> = const { RefCell::new(None) };
}

struct Pipe {
    from: OwnedFd,
    to: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (from, to) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let _ = fcntl_setpipe_size(&to, SIZE);
        Ok(Self { from, to })
    }
}

/// What was taken from a source.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// How much; 0: there will be no more.
    pub(crate) taken: usize,
    /// What of it the sink did not take: it is full, or gone, which whoever writes there is told.
    pub(crate) rest: BytesMut,
}

/// Moves what `source` has into `sink`, `most` bytes at most. Both do not block.
///
/// # Errors
/// Those of the source; [`io::ErrorKind::WouldBlock`]: it has nothing. Nothing was moved then.
pub(super) fn shift(source: BorrowedFd<'_>, sink: BorrowedFd<'_>, most: usize) -> io::Result<Moved> {
    PIPE.with_borrow_mut(|kept| {
        // Taken out: one that could not be emptied is not used again.
        let pipe = match kept.take() {
            Some(pipe) => pipe,
            None => Pipe::new()?,
        };
        let taken = match retry(|| splice(source, None, &pipe.to, None, most, FLAGS)) {
            Ok(taken) => taken,
            Err(error) => {
                *kept = Some(pipe);
                return Err(error.into());
            }
        };
        let mut left = taken;
        while left > 0
            && let Ok(sent @ 1..) = retry(|| splice(&pipe.from, None, sink, None, left, FLAGS))
        {
            left -= sent;
        }
        let Ok(rest) = read(pipe.from.as_fd(), left) else {
            return Ok(Moved::default()); // cannot be; what was taken is lost, and the answer with it
        };
        *kept = Some(pipe);
        Ok(Moved { taken, rest })
    })
}

fn retry(mut call: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Reads exactly so much out of a pipe that has it.
fn read(pipe: BorrowedFd<'_>, length: usize) -> io::Result<BytesMut> {
    let mut bytes = BytesMut::zeroed(length);
    let mut have = 0;
    while have < length {
        match retry(|| rustix::io::read(pipe, &mut bytes[have..]))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => have += read,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        fastrand::Rng::with_seed(length as u64).fill(&mut bytes);
        bytes
    }

    #[test]
    fn everything_arrives_in_order_through_a_sink_that_fills_up() {
        let ((mut server, source), (sink, mut client)) = (pair(), pair());
        source.set_nonblocking(true).unwrap();
        sink.set_nonblocking(true).unwrap();
        let sent = noise(12_000_000);
        let (sending, reading) = (sent.clone(), std::sync::mpsc::channel::<()>());
        let server = std::thread::spawn(move || server.write_all(&sending));
        let client = std::thread::spawn(move || {
            reading.1.recv().unwrap(); // nothing is read before the sink is full
            let mut got = Vec::new();
            client.read_to_end(&mut got).map(|_| got)
        });
        let (mut left, mut was_full) = (sent.len(), false);
        while left > 0 {
            match shift(source.as_fd(), sink.as_fd(), left) {
                Ok(moved) => {
                    assert!(moved.taken > 0);
                    left -= moved.taken;
                    if !moved.rest.is_empty() {
                        if !std::mem::replace(&mut was_full, true) {
                            reading.0.send(()).unwrap();
                        }
                        sink.set_nonblocking(false).unwrap();
                        (&sink).write_all(&moved.rest).unwrap();
                        sink.set_nonblocking(true).unwrap();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        assert!(was_full, "12 MB fit into the buffers of no socket here");
        drop(sink);
        assert!(client.join().unwrap().unwrap() == sent);
        server.join().unwrap().unwrap();
    }

    #[test]
    fn a_sink_that_is_gone_spoils_nothing_for_the_next() {
        let ((mut server, source), (sink, client)) = (pair(), pair());
        source.set_nonblocking(true).unwrap();
        sink.set_nonblocking(true).unwrap();
        drop(client);
        while !matches!((&sink).write(b"x"), Err(error) if error.kind() != io::ErrorKind::WouldBlock) {}
        server.write_all(b"lost").unwrap();
        let moved = loop {
            match shift(source.as_fd(), sink.as_fd(), 100) {
                Ok(moved) => break moved,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert_eq!((moved.taken, &moved.rest[..]), (4, &b"lost"[..]));

        let (sink, mut client) = pair();
        sink.set_nonblocking(true).unwrap();
        server.write_all(b"found, but not this").unwrap();
        let mut got = Vec::new();
        while got.len() < 5 {
            match shift(source.as_fd(), sink.as_fd(), 5 - got.len()) {
                Ok(moved) => {
                    let mut part = vec![0; moved.taken];
                    client.read_exact(&mut part).unwrap();
                    got.extend(part);
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(got, b"found");
    }

    #[test]
    fn the_end_of_the_source_is_told() {
        let ((server, source), (sink, _client)) = (pair(), pair());
        drop(server);
        assert_eq!(shift(source.as_fd(), sink.as_fd(), 100).unwrap().taken, 0);
    }
}
