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
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
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
