//! A service behind the gateway that speaks what it is asked to speak: HTTP/1.1 or HTTP/2, in clear text, over TLS, on a
//! socket in the file system.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// What a service says to a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Say {
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: Vec<Bytes>,
    pub(crate) trailers: Vec<(&'static str, &'static str)>,
    /// Says nothing, ever.
    pub(crate) hangs: bool,
    /// Sends its body and never ends it.
    pub(crate) stalls: bool,
    /// RST_STREAM with REFUSED_STREAM.
    pub(crate) refuses: bool,
}

impl Say {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self {
            body: vec![text.into()],
            ..Self::default()
        }
    }
}

/// Which protocol it speaks in clear text, and over TLS where the handshake does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

type Script = Arc<dyn Fn(&Request<Bytes>) -> Say + Send + Sync>;

#[derive(Clone)]
struct Shared {
    script: Script,
    speaks: Speaks,
    tls: Option<TlsAcceptor>,
    received: Arc<Mutex<Vec<Request<Bytes>>>>,
    connections: Arc<AtomicUsize>,
}

/// A running service.
pub(crate) struct Service {
    /// Where it is; meaningless for a socket in the file system.
    pub(crate) address: SocketAddr,
    shared: Shared,
    accepting: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn new(
        speaks: Speaks,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Request<Bytes>) -> Say + Send + Sync + 'static,
    ) -> Self {
        Self {
            script: Arc::new(script),
            speaks,
            tls,
            received: Arc::default(),
            connections: Arc::default(),
        }
    }

    async fn serve(self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        self.connections.fetch_add(1, SeqCst);
        let Some(tls) = &self.tls else {
            return match self.speaks {
                Speaks::Http1 => self.serve_http1(io).await,
                Speaks::Http2 => self.serve_http2(io).await,
            };
        };
        let Ok(stream) = tls.accept(io).await else { return };
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.serve_http2(stream).await,
            Some(_) => self.serve_http1(stream).await,
            None if self.speaks == Speaks::Http2 => self.serve_http2(stream).await,
            None => self.serve_http1(stream).await,
        }
    }

    fn answer(&self, request: Request<Bytes>) -> Say {
        let say = (self.script)(&request);
        self.received.lock().expect("log").push(request);
        say
    }

    async fn serve_http1(self, mut io: impl AsyncRead + AsyncWrite + Unpin) {
        let mut buffer = Vec::new();
        loop {
            while !buffer.ends_with(b"\r\n\r\n") {
                if io.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let head = String::from_utf8_lossy(&std::mem::take(&mut buffer)).into_owned();
            let target = head.split(' ').nth(1).unwrap_or("/").to_owned();
            let mut request = Request::builder().uri(target);
            for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
                request = request.header(name, value);
            }
            let say = self.answer(request.body(Bytes::new()).expect("a request"));
            if head.to_ascii_lowercase().contains("upgrade: websocket") {
                let switch =
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
                let _ = io.write_all(switch.as_bytes()).await;
                let _ = io.flush().await;
                let _ = io.read_to_end(&mut buffer).await; // until the client has had enough
                return;
            }
            let body = say.body.concat();
            let fields: String = say
                .fields
                .iter()
                .map(|(name, value)| format!("{name}: {value}\r\n"))
                .collect();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
            if io.write_all(&[head.as_bytes(), &body].concat()).await.is_err() || io.flush().await.is_err() {
                return;
            }
        }
    }

    async fn serve_http2(self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Ok(mut connection) = h2::server::handshake(io).await else {
            return;
        };
        let mut exchanges = JoinSet::new();
        while let Some(Ok((request, respond))) = connection.accept().await {
            exchanges.spawn(self.clone().exchange(request, respond));
        }
    }

    async fn exchange(self, request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
        let (head, mut incoming) = request.into_parts();
        let mut body = Vec::new();
        while let Some(Ok(data)) = incoming.data().await {
            let _ = incoming.flow_control().release_capacity(data.len());
            body.extend_from_slice(&data);
        }
        let say = self.answer(Request::from_parts(head, body.into()));
        if say.refuses {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            return;
        }
        if say.hangs {
            return std::future::pending().await;
        }
        let mut response = Response::builder().status(200);
        for (name, value) in &say.fields {
            response = response.header(*name, value);
        }
        let over = say.body.is_empty() && say.trailers.is_empty();
        let Ok(mut stream) = respond.send_response(response.body(()).expect("a response"), over) else {
            return;
        };
        let last = say.body.len().saturating_sub(1);
        for (index, chunk) in say.body.into_iter().enumerate() {
            let _ = stream.send_data(chunk, index == last && say.trailers.is_empty() && !say.stalls);
            tokio::task::yield_now().await;
        }
        if !say.trailers.is_empty() {
            let trailers = say.trailers.iter().map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_static(value),
                )
            });
            let _ = stream.send_trailers(trailers.collect::<HeaderMap>());
        }
        // Until the other side has taken everything.
        let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
    }
}

impl Service {
    pub(crate) async fn start(
        speaks: Speaks,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Request<Bytes>) -> Say + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let shared = Shared::new(speaks, tls, script);
        let serving = shared.clone();
        let accepting = tokio::spawn(async move {
            let mut tasks = JoinSet::new(); // dropped with the service: its connections die with it
            while let Ok((stream, _)) = listener.accept().await {
                tasks.spawn(serving.clone().serve(stream));
            }
        });
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// On a socket in the file system.
    pub(crate) fn start_unix(
        path: &Path,
        speaks: Speaks,
        script: impl Fn(&Request<Bytes>) -> Say + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).expect("bind");
        let shared = Shared::new(speaks, None, script);
        let serving = shared.clone();
        let accepting = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                tasks.spawn(serving.clone().serve(stream));
            }
        });
        Self {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            shared,
            accepting,
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    pub(crate) fn received(&self) -> usize {
        self.shared.received.lock().expect("log").len()
    }

    /// The value of a field of the last request.
    pub(crate) fn last_field(&self, name: &str) -> Option<String> {
        let received = self.shared.received.lock().expect("log");
        let value = received.last().expect("a request").headers().get(name)?;
        Some(value.to_str().expect("text").to_owned())
    }
}
