//! An origin that does as it is told, and remembers byte by byte what it was sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PATIENCE;

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Every field line of that name.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The only field line of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers(name);
        assert!(values.len() < 2, "{name} more than once: {}", self.head);
        values.first().copied()
    }
}

/// What an origin does after it has read a request.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Waits until the flag is raised.
    Await(Flag),
    Raise(Flag),
    /// Never does anything again; the connection stays open.
    Hang,
    Close,
    Reset,
    /// Sends back what arrives.
    Echo,
}

/// What a test and a script tell each other, once and for all: who waits for it goes on when it is raised.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flag(watch::Sender<bool>);

impl Flag {
    pub(crate) fn raise(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn raised(&self) {
        let mut watched = self.0.subscribe();
        let raised = timeout(PATIENCE, watched.wait_for(|raised| *raised)).await;
        raised.expect("the flag in time").expect("whoever raises it");
    }
}

/// Sends `status` with a body and goes on to the next request.
pub(crate) fn reply(status: u16, fields: &str, body: &str) -> Vec<Step> {
    vec![Step::Send(
        format!(
            "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n{fields}\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )]
}

/// Sends these bytes.
pub(crate) fn raw(bytes: &str) -> Vec<Step> {
    vec![Step::Send(bytes.as_bytes().to_vec())]
}

/// When a script begins: after the whole request, or after its head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    Everything,
    HeadOnly,
}

type Script = Arc<dyn Fn(&Received) -> Vec<Step> + Send + Sync>;

/// A running origin.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Origin {
    pub(crate) async fn start(script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_at(
            "127.0.0.1:0".parse().expect("address"),
            Reads::Everything,
            Arc::new(script),
        )
        .await
    }

    /// Acts as soon as it has read a head, whatever follows.
    pub(crate) async fn hasty(script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_at(
            "127.0.0.1:0".parse().expect("address"),
            Reads::HeadOnly,
            Arc::new(script),
        )
        .await
    }

    /// Starts where another one was, as soon as its socket is closed.
    pub(crate) async fn start_again(
        address: SocketAddr,
        script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let closed = async {
            while TcpListener::bind(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, closed).await.expect("the address is free again");
        Self::start_at(address, Reads::Everything, Arc::new(script)).await
    }

    /// Answers everything with 200 and this body.
    pub(crate) async fn fixed(body: &'static str) -> Self {
        Self::start(move |_| reply(200, "", body)).await
    }

    async fn start_at(address: SocketAddr, reads: Reads, script: Script) -> Self {
        let listener = TcpListener::bind(address).await.expect("bind");
        let address = listener.local_addr().expect("address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (log, count) = (Arc::clone(&received), Arc::clone(&connections));
        let accepting = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new(); // dropped with the origin: its connections die with it
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tasks.spawn(serve(stream, reads, Arc::clone(&script), Arc::clone(&log)));
                while tasks.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            received,
            connections,
            accepting,
        }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("log").clone()
    }

    pub(crate) fn last(&self) -> Received {
        self.received().last().cloned().expect("a request")
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, reads: Reads, script: Script, log: Arc<Mutex<Vec<Received>>>) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer, reads).await {
        log.lock().expect("log").push(request.clone());
        for step in script(&request) {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Await(flag) => flag.raised().await,
                Step::Raise(flag) => flag.raise(),
                Step::Hang => std::future::pending().await,
                Step::Close => return,
                Step::Reset => {
                    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                    return;
                }
                Step::Echo => {
                    let _ = stream.write_all(&std::mem::take(&mut buffer)).await;
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    return;
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>, reads: Reads) -> Option<Received> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let mut request = Received { head, body: Vec::new() };
    if reads == Reads::HeadOnly {
        return Some(request);
    }
    if let Some(length) = request
        .header("content-length")
        .map(|length| length.parse::<usize>().expect("length"))
    {
        while buffer.len() < length {
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        }
        request.body = buffer.drain(..length).collect();
    } else if request.header("transfer-encoding").is_some() {
        loop {
            let line = loop {
                if let Some(end) = buffer.windows(2).position(|window| window == b"\r\n") {
                    break buffer.drain(..end + 2).collect::<Vec<u8>>();
                }
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            };
            let size = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim_end(), 16).ok()?;
            while buffer.len() < size + 2 {
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            }
            request.body.extend(buffer.drain(..size));
            buffer.drain(..2);
            if size == 0 {
                break;
            }
        }
    }
    Some(request)
}
