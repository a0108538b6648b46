//! Addresses for what does not listen yet, or never will: what the kernel hands out (`:0`) may be handed to another test
//! as soon as it is let go.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use socket2::{Domain, Socket, Type};

/// Below what Linux hands out by itself (`ip_local_port_range`, from 32768 on).
const FIRST: u16 = 10_240;
const COUNT: u16 = 20_480;

/// An address that nobody listens on, given once: to be listened on, by this process or another.
pub(crate) fn free() -> SocketAddr {
    // Test processes that run at the same time begin at different places.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new((std::process::id() % 64) as u16 * 320));
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Relaxed) % COUNT;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if is_free(address) {
            return address;
        }
    }
    panic!("no port is free");
}

/// Whether nobody listens there. To find out is in nobody's way: who shares addresses with others may take this one.
fn is_free(address: SocketAddr) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket.set_reuse_address(true).expect("an option");
    socket.bind(&address.into()).is_ok()
}

/// Waits until just so many sockets listen at this port. What was closed may listen on for a moment: a process that
/// another test starts has all our sockets until it runs its own program.
pub(crate) async fn listens(port: u16, sockets: usize) {
    const LISTENS: &str = "0A";
    let place = format!(":{port:04X}");
    super::eventually("so many sockets listen", async || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
        let listening = table.lines().filter(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&place)) && fields.nth(1) == Some(LISTENS)
        });
        listening.count() == sockets
    })
    .await;
}

/// An address that refuses connections for as long as this is held: it is taken, but nobody listens.
pub(crate) struct Closed {
    pub(crate) address: SocketAddr,
    _taken: Socket,
}

impl Closed {
    pub(crate) fn new() -> Self {
        let taken = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        taken.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
        let address = taken.local_addr().expect("address");
        Self {
            address: address.as_socket().expect("an address"),
            _taken: taken,
        }
    }
}
