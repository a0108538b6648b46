//! Messages with descriptors over a pair of sockets. Both sides may come from different versions of the program: what
//! comes in is bounded and checked.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Most descriptors of one message (the kernel takes 253).
const DESCRIPTORS: usize = 64;
/// Largest message, bytes: what fits into the buffer of a socket in every kernel.
const MESSAGE: usize = 64 << 10;
/// A part of a message: bytes and descriptors of it.
const LAST: u8 = 0;
const MORE: u8 = 1;

/// One end.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

/// What came in.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) text: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Channel {
    /// Two ends.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// An end that was handed to this process; `None`: it is none.
    pub(super) fn of(fd: OwnedFd) -> Option<Self> {
        let kind = rustix::net::sockopt::socket_type(&fd).ok()?;
        (kind == SocketType::SEQPACKET).then_some(Self(fd))
    }

    /// As the standard input of a process.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Sends a message: first its text, then its descriptors, some at a time.
    pub(super) fn send(&self, text: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if text.len() >= MESSAGE {
            return Err(io::Error::other("the message is too long"));
        }
        let mut batches = descriptors.chunks(DESCRIPTORS).peekable();
        let mut text = text;
        loop {
            let batch = batches.next().unwrap_or_default();
            let mark = if batches.peek().is_some() { MORE } else { LAST };
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !batch.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(batch));
            }
            let parts = [IoSlice::new(std::slice::from_ref(&mark)), IoSlice::new(text)];
            retry(|| sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL))?;
            if mark == LAST {
                return Ok(());
            }
            text = &[];
        }
    }

    /// Waits for a message; `None`: the other end is gone. `most`: descriptors, at the most.
    pub(super) fn receive(&self, until: Instant, most: usize) -> io::Result<Option<Message>> {
        let mut message = Message::default();
        let mut reset = false;
        loop {
            self.wait(until)?;
            let mut mark = [0];
            let mut text = vec![0; MESSAGE];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received = {
                let mut parts = [IoSliceMut::new(&mut mark), IoSliceMut::new(&mut text)];
                match recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                    // The other end was closed before it had read all that was sent. Told once; what it has said last
                    // can be read after it.
                    Err(Errno::CONNRESET) if !reset => {
                        reset = true;
                        continue;
                    }
                    Err(Errno::CONNRESET) => return Ok(None),
                    other => other?,
                }
            };
            for part in control.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = part {
                    message.descriptors.extend(fds);
                }
            }
            let Some(length) = received.bytes.checked_sub(1) else {
                return Ok(None);
            };
            if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) || message.descriptors.len() > most {
                return Err(io::Error::other("a message does not have the form that it should have"));
            }
            message.text.extend_from_slice(text.get(..length).unwrap_or_default());
            if mark == [LAST] {
                return Ok(Some(message));
            }
        }
    }

    fn wait(&self, until: Instant) -> io::Result<()> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut fds = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Ok(1..) => return Ok(()),
                Ok(0) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn descriptors_arrive_in_order_however_many() {
        for count in [0, 1, DESCRIPTORS, DESCRIPTORS + 1, 3 * DESCRIPTORS] {
            let sockets: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
            let (here, there) = Channel::pair().unwrap();
            let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
            here.send(b"{}", &fds).unwrap();
            let message = there.receive(soon(), count).unwrap().unwrap();
            assert_eq!(message.text, b"{}");
            let received: Vec<TcpListener> = message.descriptors.into_iter().map(TcpListener::from).collect();
            let at =
                |sockets: &[TcpListener]| -> Vec<_> { sockets.iter().map(|one| one.local_addr().unwrap()).collect() };
            assert_eq!(at(&received), at(&sockets));
        }
    }

    #[test]
    fn an_end_that_is_gone_is_noticed_and_silence_has_an_end() {
        let (here, there) = Channel::pair().unwrap();
        let error = there
            .receive(Instant::now() + Duration::from_millis(10), 0)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(here);
        assert!(there.receive(soon(), 0).unwrap().is_none());
        assert!(there.send(b"{}", &[]).is_err());
    }

    #[test]
    fn last_words_of_who_did_not_listen_are_heard() {
        let (here, there) = Channel::pair().unwrap();
        here.send(b"an offer", &[]).unwrap();
        there.send(b"no", &[]).unwrap();
        drop(there);
        assert_eq!(here.receive(soon(), 0).unwrap().unwrap().text, b"no");
        assert!(here.receive(soon(), 0).unwrap().is_none());
    }

    #[test]
    fn more_than_is_allowed_is_refused() {
        let (here, there) = Channel::pair().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        here.send(b"{}", &[socket.as_fd()]).unwrap();
        assert!(there.receive(soon(), 0).is_err());
        assert!(here.send(&vec![b' '; MESSAGE], &[]).is_err());
    }

    #[test]
    fn only_such_a_socket_is_a_channel() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(Channel::of(file.into()).is_none());
        assert!(Channel::of(TcpListener::bind("127.0.0.1:0").unwrap().into()).is_none());
        assert!(Channel::of(Channel::pair().unwrap().0.into_fd()).is_some());
    }
}
