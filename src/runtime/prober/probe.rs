//! One probe: a plain HTTP/1.1 GET on a connection of its own, judged by the head of the answer.

use std::fmt;
use std::io;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::balance::Endpoint;
use crate::config::model::HealthCheck;

/// Largest head of an answer, interim answers included, bytes.
const HEAD_MAX: usize = 16 * 1024;
/// Most fields of it.
const FIELDS_MAX: usize = 100;
const AGENT: &str = "deals247-gateway";

/// What is asked of every server of an upstream.
#[derive(Debug)]
pub(super) struct Probe {
    path: Box<str>,
    host: Option<HeaderValue>,
    status: Option<StatusCode>,
    timeout: Duration,
}

/// Why a server did not pass.
#[derive(Debug)]
pub(super) enum Failure {
    /// No head of an answer in time.
    TimedOut(Duration),
    /// The gateway lacks what a connection takes: says nothing about the server.
    Starved(io::Error),
    /// Not connected.
    Connect(io::Error),
    /// The connection broke.
    Broken(io::Error),
    /// The connection ended before the head of an answer was complete.
    Closed,
    /// The head is too large.
    TooLarge,
    /// Not HTTP/1.
    Malformed(httparse::Error),
    /// Another status than the one that means healthy.
    Status(u16),
}

impl Probe {
    /// The probe of a check; `host` is the upstream's.
    pub(super) fn new(check: &HealthCheck, host: Option<&HeaderValue>) -> Self {
        Self {
            path: check.path.clone(),
            host: check.host.as_ref().or(host).cloned(),
            status: check.status,
            timeout: check.timeout,
        }
    }

    /// Asks a server.
    pub(super) async fn ask(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        let status = tokio::time::timeout(self.timeout, self.status(endpoint))
            .await
            .unwrap_or(Err(Failure::TimedOut(self.timeout)))?;
        let healthy = self
            .status
            .map_or((200..400).contains(&status), |wanted| wanted == status);
        if healthy { Ok(()) } else { Err(Failure::Status(status)) }
    }

    async fn status(&self, endpoint: &Endpoint) -> Result<u16, Failure> {
        let mut stream = TcpStream::connect(endpoint.address())
            .await
            .map_err(Failure::of_connect)?;
        stream
            .write_all(&self.request(endpoint))
            .await
            .map_err(Failure::Broken)?;
        let mut head = Vec::with_capacity(1024);
        let mut begin = 0;
        loop {
            let read = (&mut stream)
                .take((HEAD_MAX - head.len()) as u64)
                .read_buf(&mut head)
                .await
                .map_err(Failure::Broken)?;
            if read == 0 {
                return Err(if head.len() == HEAD_MAX {
                    Failure::TooLarge
                } else {
                    Failure::Closed
                });
            }
            while let Some((status, length)) = parse(&head[begin..])? {
                // RFC 9110 §15.2: interim answers come before the one that counts; 101 is none, nobody asked for it.
                if !(100..200).contains(&status) || status == 101 {
                    return Ok(status);
                }
                begin += length;
            }
        }
    }

    fn request(&self, endpoint: &Endpoint) -> Vec<u8> {
        let host = self
            .host
            .as_ref()
            .map_or(endpoint.server().as_bytes(), HeaderValue::as_bytes);
        [
            b"GET ",
            self.path.as_bytes(),
            b" HTTP/1.1\r\nHost: ",
            host,
            b"\r\nUser-Agent: ",
            AGENT.as_bytes(),
            b"\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        ]
        .concat()
    }
}

/// Status and length of the head that these bytes begin with; `None`: not complete.
fn parse(bytes: &[u8]) -> Result<Option<(u16, usize)>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => Ok(response.code.map(|status| (status, length))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(Failure::TooLarge),
        Err(error) => Err(Failure::Malformed(error)),
    }
}

impl Failure {
    /// Why there is no connection. A gateway out of descriptors or memory, as under a flood of clients, must not judge all
    /// its servers dead. (No local address or port is no such case: it is also how a machine without IPv6 says that it
    /// will never reach an address.)
    fn of_connect(error: io::Error) -> Self {
        const ENFILE: i32 = 23; // the same on every Unix
        const EMFILE: i32 = 24;
        let starved =
            matches!(error.raw_os_error(), Some(ENFILE | EMFILE)) || error.kind() == io::ErrorKind::OutOfMemory;
        if starved {
            Self::Starved(error)
        } else {
            Self::Connect(error)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "no answer within {limit:?}"),
            Self::Starved(error) => write!(f, "the gateway cannot open a connection: {error}"),
            Self::Connect(error) => write!(f, "cannot connect: {}", error.kind()),
            Self::Broken(error) => write!(f, "connection broke: {}", error.kind()),
            Self::Closed => f.write_str("connection closed before the head of an answer was complete"),
            Self::TooLarge => f.write_str("the head of the answer is too large"),
            Self::Malformed(error) => write!(f, "not an HTTP/1 answer: {error}"),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;

    use super::*;
    use crate::balance::{Member, Pool, Settings};

    fn check(status: Option<u16>) -> HealthCheck {
        HealthCheck {
            path: "/api/health?deep=1".into(),
            host: None,
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            unhealthy_after: 3,
            healthy_after: 2,
            status: status.map(|status| StatusCode::from_u16(status).unwrap()),
        }
    }

    async fn endpoint(listener: &TcpListener) -> Arc<Endpoint> {
        let pool = Pool::new("api".into(), Settings::default());
        let change = pool.update(vec![Member::new("app:5000", listener.local_addr().unwrap(), 1)]);
        Arc::clone(&change.joined[0])
    }

    /// Asks a server that answers with these pieces, each in a packet of its own, and closes.
    async fn ask(probe: &Probe, answer: Vec<Vec<u8>>) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(&listener).await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0);
            }
            for piece in answer {
                if stream.write_all(&piece).await.is_err() {
                    break; // the prober has seen enough
                }
                tokio::task::yield_now().await;
            }
            String::from_utf8(request).unwrap()
        });
        let result = probe.ask(&endpoint).await.map_err(|failure| failure.to_string());
        (result, server.await.unwrap())
    }

    #[tokio::test]
    async fn verdicts() {
        let any = Probe::new(&check(None), None);
        let exact = Probe::new(&check(Some(204)), None);
        let redirect = Probe::new(&check(Some(500)), None);
        let table: [(&Probe, &[&str], Result<(), &str>); 15] = [
            (&any, &["HTTP/1.1 200 OK\r\n\r\n"], Ok(())),
            (&any, &["HTTP/1.1 204\r\n\r\n"], Ok(())),
            (&any, &["HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n"], Ok(())),
            (&any, &["HTT", "P/1.1 20", "0 OK\r\nA: b\r\n", "\r\nbody"], Ok(())),
            (
                &any,
                &["HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"],
                Ok(()),
            ),
            (
                &any,
                &["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 503 No\r\n\r\n"],
                Err("status 503"),
            ),
            (&any, &["HTTP/1.1 101 Upgrade\r\n\r\n"], Err("status 101")),
            (&any, &["HTTP/1.1 404 Not Found\r\n\r\n"], Err("status 404")),
            (&exact, &["HTTP/1.1 204 No Content\r\n\r\n"], Ok(())),
            (&exact, &["HTTP/1.1 200 OK\r\n\r\n"], Err("status 200")),
            (&redirect, &["HTTP/1.1 500 On purpose\r\n\r\n"], Ok(())),
            (
                &any,
                &["SSH-2.0-OpenSSH_9.2\r\n"],
                Err("not an HTTP/1 answer: invalid HTTP version"),
            ),
            (
                &any,
                &["HTTP/1.1 2000 OK\r\n\r\n"],
                Err("not an HTTP/1 answer: invalid response status"),
            ),
            (
                &any,
                &["HTTP/1.1 200 OK\r\nA: b\r\n"],
                Err("connection closed before the head of an answer was complete"),
            ),
            (
                &any,
                &["HTTP/1.1 100 Continue\r\n\r\n"],
                Err("connection closed before the head of an answer was complete"),
            ),
        ];
        for (probe, answer, verdict) in table {
            let pieces = answer.iter().map(|piece| piece.as_bytes().to_vec()).collect();
            let (result, _) = ask(probe, pieces).await;
            assert_eq!(
                result.as_ref().map(|&()| ()).map_err(String::as_str),
                verdict,
                "{answer:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_head_without_end_is_too_large() {
        let probe = Probe::new(&check(None), None);
        let line = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(1 << 20));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
        let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_MAX + 1));
        for answer in [line, interim, fields] {
            let (result, _) = ask(&probe, vec![answer.into_bytes()]).await;
            assert_eq!(result, Err("the head of the answer is too large".to_owned()));
        }
    }

    #[tokio::test]
    async fn the_request_and_whose_host_it_names() {
        let answer = || vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()];
        let of_upstream = HeaderValue::from_static("deals247.online");
        let of_check = HealthCheck {
            host: Some(HeaderValue::from_static("probe.internal")),
            ..check(None)
        };
        let table = [
            (Probe::new(&check(None), None), "app:5000"),
            (Probe::new(&check(None), Some(&of_upstream)), "deals247.online"),
            (Probe::new(&of_check, Some(&of_upstream)), "probe.internal"),
        ];
        for (probe, host) in table {
            let (result, request) = ask(&probe, answer()).await;
            assert_eq!(result, Ok(()));
            let expected = format!(
                "GET /api/health?deep=1 HTTP/1.1\r\nHost: {host}\r\nUser-Agent: deals247-gateway\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            );
            assert_eq!(request, expected);
        }
    }

    #[tokio::test]
    async fn a_server_that_never_answers_fails_by_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(&listener).await;
        let hasty = HealthCheck {
            timeout: Duration::from_millis(30),
            ..check(None)
        };
        let failure = Probe::new(&hasty, None).ask(&endpoint).await.unwrap_err();
        assert_eq!(failure.to_string(), "no answer within 30ms");
    }

    #[test]
    fn a_starved_gateway_blames_no_server() {
        let table = [
            (23, true),
            (24, true),
            (12, true),
            (111, false),
            (99, false),
            (113, false),
        ];
        for (code, starved) in table {
            let failure = Failure::of_connect(io::Error::from_raw_os_error(code));
            assert_eq!(matches!(failure, Failure::Starved(_)), starved, "{failure}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(&listener).await;
        drop(listener);
        let failure = Probe::new(&check(None), None).ask(&endpoint).await.unwrap_err();
        assert_eq!(failure.to_string(), "cannot connect: connection refused");
    }
}
