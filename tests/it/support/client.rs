//! A client that writes exactly what it is told and reads answers strictly.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// An answer, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The connection was closed before the body was complete.
    pub(crate) truncated: bool,
}

impl Response {
    /// The only field line of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value);
        let first = values.next();
        assert!(values.next().is_none(), "{name} more than once: {:?}", self.headers);
        first
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }
}

/// Bytes both ways, in clear text or over TLS.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection to the gateway.
pub(crate) struct Connection {
    stream: Box<dyn Duplex>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        Self::over(stream)
    }

    pub(crate) fn over(stream: impl Duplex + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A refusal may arrive, and the connection be closed, while more is being written.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Reads bytes as they come, at least one; empty: the other side closed.
    pub(crate) async fn read_some(&mut self) -> Vec<u8> {
        if !self.buffer.is_empty() {
            return std::mem::take(&mut self.buffer);
        }
        let mut chunk = vec![0; 64 * 1024];
        let read = timeout(PATIENCE, self.stream.read(&mut chunk))
            .await
            .expect("bytes in time")
            .unwrap_or(0);
        chunk.truncate(read);
        chunk
    }

    async fn more(&mut self) -> bool {
        let mut chunk = vec![0; 64 * 1024];
        let read = timeout(PATIENCE, self.stream.read(&mut chunk))
            .await
            .expect("an answer in time")
            .unwrap_or(0);
        self.buffer.extend_from_slice(&chunk[..read]);
        read > 0
    }

    /// Reads one answer, interim ones included; `None`: the connection was closed instead.
    pub(crate) async fn response(&mut self, head_request: bool) -> Option<Response> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut parsed = httparse::Response::new(&mut fields);
            if let httparse::Status::Complete(length) = parsed.parse(&self.buffer).expect("a well-formed answer") {
                let status = parsed.code.expect("status");
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let headers: Vec<(String, String)> = parsed
                    .headers
                    .iter()
                    .map(|field| (field.name.to_owned(), text(field.value)))
                    .collect();
                self.buffer.drain(..length);
                let mut response = Response {
                    status,
                    headers,
                    body: Vec::new(),
                    truncated: false,
                };
                if !head_request && status >= 200 && status != 204 && status != 304 {
                    self.body(&mut response).await;
                }
                return Some(response);
            }
            if !self.more().await {
                assert!(
                    self.buffer.is_empty(),
                    "half an answer: {:?}",
                    String::from_utf8_lossy(&self.buffer)
                );
                return None;
            }
        }
    }

    async fn body(&mut self, response: &mut Response) {
        if let Some(coding) = response.header("transfer-encoding") {
            assert_eq!(coding, "chunked");
            assert_eq!(response.header("content-length"), None, "two framings");
            return self.chunks(response).await;
        }
        let length = response
            .header("content-length")
            .map(|length| length.parse::<usize>().expect("length"));
        while length.is_none_or(|length| self.buffer.len() < length) {
            if !self.more().await {
                response.truncated = length.is_some();
                break;
            }
        }
        let take = length.unwrap_or(usize::MAX).min(self.buffer.len());
        response.body = self.buffer.drain(..take).collect();
    }

    async fn chunks(&mut self, response: &mut Response) {
        loop {
            let line = loop {
                if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                    break self.buffer.drain(..end + 2).collect::<Vec<u8>>();
                }
                if !self.more().await {
                    response.truncated = true;
                    return;
                }
            };
            let size = std::str::from_utf8(&line[..line.len() - 2]).expect("text");
            let size = usize::from_str_radix(size, 16).expect("a chunk size");
            while self.buffer.len() < size + 2 {
                if !self.more().await {
                    response.truncated = true;
                    response.body.append(&mut self.buffer);
                    return;
                }
            }
            response.body.extend(self.buffer.drain(..size));
            assert_eq!(self.buffer.drain(..2).as_slice(), b"\r\n");
            if size == 0 {
                return;
            }
        }
    }

    /// Whether the other side closes (or resets) the connection now, without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.more().await
    }

    /// One request, one answer.
    pub(crate) async fn ask(&mut self, request: &str) -> Response {
        let head = request.starts_with("HEAD ");
        self.send(request).await;
        self.response(head).await.expect("an answer")
    }
}

/// One request on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Response {
    let request = request.as_ref();
    let mut connection = Connection::open(address).await;
    connection.send(request).await;
    connection
        .response(request.starts_with(b"HEAD "))
        .await
        .expect("an answer")
}

/// `GET path` of the admin listener.
pub(crate) async fn admin(address: SocketAddr, path: &str) -> Response {
    ask(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await
}

/// `GET path`, with `Host: site.test` and further field lines.
pub(crate) async fn get(address: SocketAddr, path: &str, fields: &str) -> Response {
    ask(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n"),
    )
    .await
}
