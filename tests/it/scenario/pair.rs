//! One good server and one that is faulty in each way there is: nobody notices where that can be had, and nothing is done
//! twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::client::{Connection, Response};
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, Step, reply};
use crate::support::port::Closed;

/// What the faulty server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Reset,
    Close,
    Hang,
    Status(u16),
    Garbage,
    /// Nobody listens.
    Refused,
    /// Connecting to it never ends.
    BlackHole,
}

const FAULTS: [Fault; 8] = [
    Fault::Reset,
    Fault::Close,
    Fault::Hang,
    Fault::Status(502),
    Fault::Status(503),
    Fault::Garbage,
    Fault::Refused,
    Fault::BlackHole,
];

/// A faulty server, and how many requests it has received.
struct Faulty {
    address: SocketAddr,
    received: Arc<AtomicUsize>,
    serving: Option<JoinHandle<()>>,
    /// What makes a black hole of a listener.
    _full: Vec<socket2::Socket>,
    /// What keeps its address closed.
    _closed: Option<Closed>,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

impl Faulty {
    /// `late`: the first request of each connection is served well, so that the fault meets a connection out of the pool.
    async fn start(fault: Fault, late: bool) -> Self {
        let received = Arc::new(AtomicUsize::new(0));
        if fault == Fault::BlackHole {
            let (address, full) = black_hole();
            return Self {
                address,
                received,
                serving: None,
                _full: full,
                _closed: None,
            };
        }
        if fault == Fault::Refused {
            let closed = Closed::new();
            return Self {
                address: closed.address,
                received,
                serving: None,
                _full: Vec::new(),
                _closed: Some(closed),
            };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let count = Arc::clone(&received);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, fault, late, Arc::clone(&count)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            received,
            serving: Some(serving),
            _full: Vec::new(),
            _closed: None,
        }
    }
}

/// A listener whose queue is full: the kernel drops what knocks.
fn black_hole() -> (SocketAddr, Vec<socket2::Socket>) {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    listener
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .expect("bind");
    listener.listen(0).expect("listen");
    let address = listener.local_addr().expect("address").as_socket().expect("an address");
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let knocks = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        knocks.set_nonblocking(true).expect("nonblocking");
        let _ = knocks.connect(&address.into());
        sockets.push(knocks);
    }
    (address, sockets)
}

async fn serve(mut stream: TcpStream, fault: Fault, late: bool, received: Arc<AtomicUsize>) {
    let mut first = late;
    loop {
        let mut buffer = Vec::new();
        // Heads of this test are short, and bodies of one byte come with them.
        while !(buffer.windows(4).any(|window| window == b"\r\n\r\n") && is_whole(&buffer)) {
            match stream.read_buf(&mut buffer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
        received.fetch_add(1, SeqCst);
        let well = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";
        if std::mem::take(&mut first) {
            if stream.write_all(well).await.is_err() {
                return;
            }
            continue;
        }
        match fault {
            Fault::Reset => {
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                return;
            }
            Fault::Close | Fault::Refused | Fault::BlackHole => return,
            Fault::Hang => std::future::pending().await,
            Fault::Status(status) => {
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Fault::Garbage => {
                let _ = stream.write_all(b"220 mail.example ESMTP\r\n\r\n").await;
                return;
            }
        }
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    !text.contains("content-length: 1\r\n") || text.ends_with("\r\n\r\nx")
}

async fn before(fault: Fault, faulty: &Faulty, good: &Origin) -> Running {
    // Where it is not waited for, the good one may take long on a busy machine.
    let limit = match fault {
        Fault::Hang => "first_byte_timeout = \"1s\"",
        Fault::BlackHole => "connect_timeout = \"1s\"",
        _ => "",
    };
    gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\", \"{}\"]\nbalance = \"round-robin\"\noutlier = false\n{limit}\n\
         retry = {{ on = [\"connect\", \"reset\", \"timeout\", \"502\", \"503\", \"504\"] }}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        faulty.address, good.address
    ))
    .await
}

async fn ask(connection: &mut Connection, method: &str) -> Response {
    connection
        .send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"))
        .await;
    connection.response(false).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_repeated_always_succeeds() {
    let mut cases = JoinSet::new();
    for (fault, late) in FAULTS.iter().flat_map(|&fault| [(fault, false), (fault, true)]) {
        cases.spawn(async move {
            let faulty = Faulty::start(fault, late).await;
            let good = Origin::fixed("good").await;
            let gateway = before(fault, &faulty, &good).await;
            let mut connection = gateway.connect().await;
            for method in ["GET", "PUT", "DELETE", "GET", "GET", "PUT", "DELETE", "GET"] {
                let answer = ask(&mut connection, method).await;
                assert_eq!(answer.status, 200, "{method}, {fault:?}, late: {late}");
                assert!(["good", "late"].contains(&answer.text()), "{}", answer.text());
            }
            let met = faulty.received.load(SeqCst);
            let expected = !matches!(fault, Fault::Refused | Fault::BlackHole);
            assert_eq!(met > 0, expected, "{fault:?} was met: {met}");
        });
    }
    while let Some(case) = cases.join_next().await {
        case.expect("a case");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_repeated_reaches_one_server_once() {
    let mut cases = JoinSet::new();
    for (fault, late) in FAULTS.iter().flat_map(|&fault| [(fault, false), (fault, true)]) {
        cases.spawn(async move {
            let faulty = Faulty::start(fault, late).await;
            let good = Origin::fixed("good").await;
            let gateway = before(fault, &faulty, &good).await;
            let mut connection = gateway.connect().await;
            let mut failed = 0;
            for method in ["POST", "PATCH", "POST", "PATCH", "POST", "PATCH", "POST", "PATCH"] {
                let arrived = || faulty.received.load(SeqCst) + good.received().len();
                let earlier = arrived();
                let answer = ask(&mut connection, method).await;
                assert_eq!(
                    arrived(),
                    earlier + 1,
                    "{method}, {fault:?}, late: {late}: {}",
                    answer.status
                );
                let expected = match fault {
                    Fault::Reset | Fault::Close | Fault::Garbage => 502,
                    Fault::Hang => 504,
                    Fault::Status(status) => status,
                    Fault::Refused | Fault::BlackHole => 200,
                };
                failed += usize::from(answer.status != 200);
                assert!(
                    answer.status == expected || answer.status == 200,
                    "{method}, {fault:?}, late: {late}: {}",
                    answer.status
                );
            }
            let harmless = matches!(fault, Fault::Refused | Fault::BlackHole);
            assert_eq!(failed == 0, harmless, "{fault:?}, late: {late}: {failed} failed");
        });
    }
    while let Some(case) = cases.join_next().await {
        case.expect("a case");
    }
}

/// A server that takes the head of an upload and then nothing: the client is told, although it still sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_nobody_reads_ends_in_504() {
    // Either limit ends it.
    deaf("write_timeout = \"400ms\"").await;
    deaf("first_byte_timeout = \"400ms\"").await;
}

async fn deaf(limit: &str) {
    let deaf = Origin::hasty(|_| vec![Step::Hang]).await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n{limit}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        deaf.address
    ))
    .await;
    let stream = TcpStream::connect(gateway.address).await.expect("connect");
    let (mut read, mut write) = stream.into_split();
    let sending = tokio::spawn(async move {
        const LENGTH: usize = 16 << 20;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n");
        let _ = write.write_all(head.as_bytes()).await;
        let part = vec![b'x'; 64 << 10];
        for _ in 0..LENGTH / part.len() {
            if write.write_all(&part).await.is_err() {
                break;
            }
        }
        write
    });
    let mut answer = Vec::new();
    let reading = read.read_to_end(&mut answer);
    let _ = tokio::time::timeout(crate::support::PATIENCE, reading)
        .await
        .expect("an end");
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 504 "), "{text}");
    drop(sending.await);
    assert_eq!(deaf.received().len(), 1);
    assert_eq!(gateway.logged(1).await["status"], 504);
}

/// What is being answered already is no longer ended for what nobody reads: a second head would come in the midst of the
/// first answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_answered_while_nobody_reads_it_is_answered_whole() {
    let origin = Origin::hasty(|_| {
        vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".to_vec()),
            Step::Wait(Duration::from_millis(2500)),
            Step::Send(b"later".to_vec()),
            Step::Hang,
        ]
    })
    .await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\nwrite_timeout = \"1s\"\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await;
    let stream = TcpStream::connect(gateway.address).await.expect("connect");
    let (mut read, mut write) = stream.into_split();
    let sending = tokio::spawn(async move {
        let _ = write
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n")
            .await;
        let _ = write.write_all(&vec![b'x'; 16 << 20]).await;
    });
    let mut answer = Vec::new();
    // Whoever sends the rest may be cut off after the answer.
    let _ = tokio::time::timeout(crate::support::PATIENCE, read.read_to_end(&mut answer))
        .await
        .expect("an end");
    sending.abort();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(text.ends_with("\r\n\r\nfirstlater"), "{text}");
    assert_eq!(gateway.logged(1).await["status"], 200);
}

/// The wait for an answer begins when the request is sent, however long that takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_may_take_longer_than_the_answer() {
    slow_upload("1s").await;
    slow_upload("20s").await;
}

async fn slow_upload(read: &str) {
    let origin = Origin::start(|_| reply(200, "", "taken")).await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\nfirst_byte_timeout = \"1s\"\nread_timeout = \"{read}\"\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await;
    let mut connection = gateway.connect().await;
    connection
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        .await;
    for _ in 0..10 {
        connection.send(vec![b'x'; 20_000]).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let answer = connection.response(false).await.expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, "taken"));
    assert_eq!(origin.received()[0].body.len(), 200_000);
}
