//! A POST is never sent twice, whatever the servers do: ten thousand faults of every kind, counted by the origin.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::client::Connection;
use crate::support::gateway;
use crate::support::port::Closed;

const REQUESTS: usize = 10_000;
const CLIENTS: usize = 50;

/// How often each request, by its number, has arrived at any server.
type Seen = Arc<Mutex<HashMap<usize, usize>>>;

/// What a server does to a request, by the request's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Reset or closed as soon as the head is there, the body unread.
    InHead(End),
    /// In the middle of the body.
    InBody(End),
    /// After the whole request.
    BeforeAnswer(End),
    /// After a part of the answer's head.
    InAnswerHead(End),
    /// After a part of the answer's body.
    InAnswerBody(End),
    /// After an interim answer.
    AfterInterim(End),
    /// The answer is whole, and the connection closed behind it although it promised to stay.
    AfterAnswer(End),
    /// An answer with this status.
    Status(u16),
    /// Something that is no answer.
    Garbage,
    /// No answer.
    Hang,
    /// None.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Reset,
    Close,
}

const FAULTS: [Fault; 23] = [
    Fault::InHead(End::Reset),
    Fault::InHead(End::Close),
    Fault::InBody(End::Reset),
    Fault::InBody(End::Close),
    Fault::BeforeAnswer(End::Reset),
    Fault::BeforeAnswer(End::Close),
    Fault::InAnswerHead(End::Reset),
    Fault::InAnswerHead(End::Close),
    Fault::InAnswerBody(End::Reset),
    Fault::InAnswerBody(End::Close),
    Fault::AfterInterim(End::Reset),
    Fault::AfterInterim(End::Close),
    Fault::AfterAnswer(End::Reset),
    Fault::AfterAnswer(End::Close),
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(502),
    Fault::Status(503),
    Fault::Status(504),
    Fault::Garbage,
    Fault::Hang,
    Fault::Nothing,
    Fault::Nothing,
];

/// A server that fails in every way; each eleventh connection already when it is made.
async fn faulty(seen: Seen) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        let mut count = 0;
        while let Ok((stream, _)) = listener.accept().await {
            count += 1;
            if count % 11 == 0 {
                end(stream, if count % 2 == 0 { End::Reset } else { End::Close });
                continue;
            }
            connections.spawn(serve(stream, Arc::clone(&seen)));
            while connections.try_join_next().is_some() {}
        }
    });
    (address, tasks)
}

fn end(stream: TcpStream, how: End) {
    if how == End::Reset {
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

async fn serve(mut stream: TcpStream, seen: Seen) {
    while let Some(how) = one(&mut stream, &seen).await {
        if let Some(how) = how {
            return end(stream, how);
        }
    }
}

/// Serves one request; `None`: there is no further one. The end that the fault wants for the connection.
async fn one(stream: &mut TcpStream, seen: &Seen) -> Option<Option<End>> {
    let mut buffer = Vec::new();
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let number: usize = field("x-number").expect("a number").parse().expect("a number");
    *seen.lock().expect("log").entry(number).or_default() += 1;
    let fault = FAULTS[number % FAULTS.len()];
    if let Fault::InHead(how) = fault {
        return Some(Some(how));
    }
    let mut body = buffer.split_off(head);
    let length: usize = field("content-length").map_or(0, |length| length.parse().expect("a length"));
    while body.len() < length {
        if let Fault::InBody(how) = fault
            && body.len() >= length / 2
        {
            return Some(Some(how));
        }
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
    let (answer, end) = match fault {
        Fault::InHead(how) | Fault::InBody(how) | Fault::BeforeAnswer(how) => (String::new(), Some(how)),
        Fault::InAnswerHead(how) => ("HTTP/1.1 200 OK\r\nContent-Le".to_owned(), Some(how)),
        Fault::InAnswerBody(how) => (whole[..whole.len() - 2].to_owned(), Some(how)),
        Fault::AfterInterim(how) => ("HTTP/1.1 100 Continue\r\n\r\n".to_owned(), Some(how)),
        Fault::AfterAnswer(how) => (whole.to_owned(), Some(how)),
        Fault::Status(status) => (format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"), None),
        Fault::Garbage => ("no answer\r\n\r\n".to_owned(), Some(End::Close)),
        Fault::Hang => std::future::pending().await,
        Fault::Nothing => (whole.to_owned(), None),
    };
    stream.write_all(answer.as_bytes()).await.ok()?;
    Some(end)
}

/// Sends so many numbers once each, with this method; how many got a whole answer, by status.
async fn send(gateway: SocketAddr, method: &'static str, requests: usize) -> HashMap<u16, usize> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let next = Arc::clone(&next);
        clients.spawn(async move {
            let mut statuses: HashMap<u16, usize> = HashMap::new();
            let mut connection = Connection::open(gateway).await;
            loop {
                let number = next.fetch_add(1, SeqCst);
                if number >= requests {
                    return statuses;
                }
                // Most bodies are small, some do not fit into one read, some into no buffer that is kept for a retry.
                let length = match number % 32 {
                    0 => 5_000,
                    16 => 100_000,
                    odd => 3 + odd % 2 * 40,
                };
                let body = "x".repeat(length);
                let request = format!(
                    "{method} / HTTP/1.1\r\nHost: a\r\nX-Number: {number}\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                connection.send(&request).await;
                let mut answer = connection.response(false).await;
                while answer.as_ref().is_some_and(|answer| answer.status < 200) {
                    answer = connection.response(false).await; // that was an interim one
                }
                let close = answer.as_ref().is_none_or(|answer| {
                    answer.truncated || answer.header("connection").is_some_and(|value| value == "close")
                });
                *statuses.entry(answer.map_or(0, |answer| answer.status)).or_default() += 1;
                if close {
                    connection = Connection::open(gateway).await;
                }
            }
        });
    }
    let mut all: HashMap<u16, usize> = HashMap::new();
    while let Some(statuses) = clients.join_next().await {
        for (status, count) in statuses.expect("a client") {
            *all.entry(status).or_default() += count;
        }
    }
    all
}

/// Sends all numbers to a gateway before three such servers, and one where nobody listens. It may try again whatever can
/// be tried again, as often as can be said.
async fn storm(method: &'static str, requests: usize) -> (HashMap<usize, usize>, HashMap<u16, usize>) {
    let seen = Seen::default();
    let mut servers = Vec::new();
    let mut running = Vec::new();
    for _ in 0..3 {
        let (address, tasks) = faulty(Arc::clone(&seen)).await;
        servers.push(format!("\"{address}\""));
        running.push(tasks);
    }
    let nobody = Closed::new();
    servers.push(format!("\"{}\"", nobody.address));
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [{}]\nbalance = \"round-robin\"\noutlier = false\n\
         retry = {{ attempts = 4, on = [\"connect\", \"reset\", \"timeout\", \"429\", \"500\", \"502\", \"503\", \"504\"], \
         per_try_timeout = \"200ms\", budget = \"100%\", min_per_second = 100000 }}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        servers.join(", ")
    ))
    .await;
    let statuses = send(gateway.address, method, requests).await;
    drop(running);
    let seen = seen.lock().expect("log").clone();
    (seen, statuses)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_is_never_sent_twice() {
    let (seen, statuses) = storm("POST", REQUESTS).await;
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    let faults: Vec<Fault> = twice.iter().map(|(number, _)| FAULTS[*number % FAULTS.len()]).collect();
    assert!(twice.is_empty(), "{twice:?} {faults:?}");
    assert!(seen.len() > REQUESTS * 8 / 10, "most were sent: {}", seen.len());
    assert_eq!(statuses.values().sum::<usize>(), REQUESTS);
    assert_eq!(statuses.get(&0), None, "everybody is answered: {statuses:?}");
    for status in [200, 429, 500, 502, 503, 504] {
        assert!(statuses.contains_key(&status), "{status} in {statuses:?}");
    }
}

/// That the same storm would be noticed: what may be sent again is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_is_sent_again() {
    let (seen, statuses) = storm("PUT", REQUESTS / 10).await;
    let twice = seen.values().filter(|times| **times > 1).count();
    assert!(twice > REQUESTS / 20, "{twice}");
    assert_eq!(statuses.get(&0), None, "everybody is answered: {statuses:?}");
}
