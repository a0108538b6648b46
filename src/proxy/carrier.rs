//! What carries one request without a body to a server and its answer back: our own client where the server speaks HTTP/1.1
//! in clear text, Pingora's for TLS and HTTP/2.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, Method, StatusCode, header, response};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, ErrorType, HttpPeer};
use pingora::protocols::http::client::HttpSession;
use pingora::server::configuration::ServerConf;

use super::failure::{Fault, is_our_own};
use super::fetch::Interim;
use super::peer::{self, Template};
use super::{hygiene, session};
use crate::balance::Endpoint;
use crate::config::model::Protocol;
use crate::http1::{self, Connection, Idle, Target};
use crate::onward::Onward;
use crate::runtime::{Live, UNIX, Upstream};

/// Idle connections over TLS and HTTP/2 that are kept for fetches, all servers together.
const POOL_SIZE: usize = 1024;
/// Most interim answers before the final one.
const MOST_INTERIM: usize = 16;

/// A fault, and what the log says of it.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) fault: Fault,
    pub(super) why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<http1::Fault> for Broken {
    fn from(fault: http1::Fault) -> Self {
        Self {
            fault: match &fault {
                http1::Fault::Connect(error) if is_our_own(error) => Fault::Exhausted,
                http1::Fault::Connect(_) => Fault::Connect,
                http1::Fault::ConnectTimeout => Fault::ConnectTimeout,
                http1::Fault::Broke(_) => Fault::Broke,
                http1::Fault::Timeout => Fault::Timeout,
                http1::Fault::Invalid(_) => Fault::Invalid,
            },
            why: fault.to_string(),
        }
    }
}

/// How long the phases of one attempt may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) write: Duration,
    pub(super) first_byte: Duration,
    pub(super) read: Duration,
    /// How long the connection may wait for its next request.
    pub(super) idle: Duration,
}

/// A request as it goes onto the wire; it has no body.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) method: &'a Method,
    pub(super) target: Cow<'a, str>,
    pub(super) fields: HeaderMap,
    /// Where interim answers go.
    pub(super) interim: Option<Interim>,
}

/// A connection to a server during one exchange. Dropped before the end of the answer it is not used again.
pub(super) struct Carrier {
    limits: Limits,
    /// On a connection that had served others before.
    pub(super) reused: bool,
    kind: Kind,
}

enum Kind {
    Own {
        /// Taken out when it has gone back to the others.
        connection: Option<Connection>,
        idle: Arc<Idle>,
    },
    Pingora {
        session: Option<Box<HttpSession>>,
        peer: Box<HttpPeer>,
        live: Arc<Live>,
    },
}

impl Carrier {
    /// Connects, or takes an idle connection. `preamble`: what begins a connection that is for one client.
    pub(super) async fn open(
        live: &Arc<Live>,
        upstream: &Upstream,
        endpoint: &Endpoint,
        limits: Limits,
        preamble: Option<Vec<u8>>,
    ) -> Result<Self, Broken> {
        if upstream.tls.is_none() && upstream.protocol == Protocol::Http1 {
            let idle = endpoint.kept.filled(Arc::<Idle>::default).ok_or_else(mistake)?;
            let kept = if preamble.is_none() {
                idle.take(limits.idle)
            } else {
                None
            };
            let (connection, reused) = match kept {
                Some(connection) => (connection, true),
                None => {
                    let target = target(endpoint);
                    (
                        Connection::open(&target, preamble.as_deref(), limits.connect).await?,
                        false,
                    )
                }
            };
            let kind = Kind::Own {
                connection: Some(connection),
                idle: Arc::clone(idle),
            };
            return Ok(Self { limits, reused, kind });
        }
        let connector = connector(live)?;
        let template = upstream
            .prepared
            .filled(|| Template::new(upstream))
            .ok_or_else(mistake)?;
        let mut peer = template
            .peer(endpoint, false, preamble)
            .map_err(|error| connect_fault(&error))?;
        peer.options.connection_timeout = Some(limits.connect);
        peer.options.total_connection_timeout = Some(limits.connect);
        let opened = connector.get_http_session(&*peer).await;
        let (session, reused) = opened.map_err(|error| connect_fault(&error))?;
        if upstream.protocol == Protocol::H2 && session.as_http2().is_none() {
            return Err(Broken {
                fault: Fault::Other,
                why: "the server does not speak HTTP/2".to_owned(),
            });
        }
        let kind = Kind::Pingora {
            session: Some(Box::new(session)),
            peer,
            live: Arc::clone(live),
        };
        Ok(Self { limits, reused, kind })
    }

    /// Sends the request and reads the head of the final answer. Its fields are as the server wrote them, but for
    /// `Transfer-Encoding`.
    pub(super) async fn ask(&mut self, request: Outgoing<'_>) -> Result<response::Parts, Broken> {
        let limits = self.limits;
        match &mut self.kind {
            Kind::Own { connection, .. } => {
                let connection = connection.as_mut().ok_or_else(mistake)?;
                let mut bytes = Vec::with_capacity(1024);
                http1::request_head(
                    &mut bytes,
                    request.method,
                    &request.target,
                    &Onward::of(&request.fields),
                );
                connection.begin();
                connection.allow(limits.write);
                connection.send(&bytes).await?;
                connection.allow(limits.first_byte);
                let head_request = request.method == Method::HEAD;
                for _ in 0..=MOST_INTERIM {
                    let head = poll_fn(|cx| connection.poll_head(cx, head_request)).await?;
                    if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                        return Ok(parts(head.status, head.fields));
                    }
                    pass_on(request.interim.as_ref(), head.status, &head.fields);
                }
                Err(http1::Fault::Invalid("too many interim answers").into())
            }
            Kind::Pingora { session, .. } => {
                let session = session.as_mut().ok_or_else(mistake)?;
                let interim = request.interim.clone();
                let header = pingora_request(request).map_err(|error| fault(&error))?;
                session.set_write_timeout(Some(limits.write));
                session.set_read_timeout(Some(limits.first_byte));
                let asking = async {
                    session.write_request_header(Box::new(header)).await?;
                    session.finish_request_body().await?;
                    for _ in 0..=MOST_INTERIM {
                        session.read_response_header().await?;
                        let Some(answer) = session.response_header() else {
                            continue;
                        };
                        if answer.status.is_informational() && answer.status != StatusCode::SWITCHING_PROTOCOLS {
                            pass_on(interim.as_ref(), answer.status, &answer.headers);
                        } else {
                            let mut fields = answer.headers.clone();
                            fields.remove(header::TRANSFER_ENCODING);
                            return Ok(parts(answer.status, fields));
                        }
                    }
                    Err(Error::explain(ErrorType::InvalidHTTPHeader, "too many interim answers"))
                };
                let timed = tokio::time::timeout(limits.write.saturating_add(limits.first_byte), asking);
                match timed.await {
                    Ok(answered) => answered.map_err(|error| fault(&error)),
                    Err(_) => Err(http1::Fault::Timeout.into()),
                }
            }
        }
    }

    /// The next part of the body; `None`: it is complete, and the connection has gone back to the others. An end that
    /// comes too early is a fault.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        let limits = self.limits;
        match &mut self.kind {
            Kind::Own { connection, idle } => {
                let Some(own) = connection else { return Ok(None) };
                own.allow(limits.read);
                let part = poll_fn(|cx| own.poll_part(cx)).await?;
                if own.is_over()
                    && let Some(own) = connection.take_if(|own| own.is_reusable())
                {
                    idle.park(own, limits.idle);
                }
                Ok(part)
            }
            Kind::Pingora { session, peer, live } => {
                let Some(open) = session else { return Ok(None) };
                open.set_read_timeout(Some(limits.read));
                let part = open.read_response_body().await.map_err(|error| fault(&error))?;
                if part.is_none()
                    && let Some(done) = session.take()
                {
                    let connector = connector(live)?;
                    connector.release_http_session(*done, &**peer, Some(limits.idle)).await;
                }
                Ok(part)
            }
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // A stream that is given up leaves a connection that others use: it must be counted out of it.
        if let Kind::Pingora { session, peer, live } = &mut self.kind
            && let Some(mut given_up) = session.take_if(|session| session.as_http2().is_some())
            && let Ok(connector) = connector(live)
        {
            given_up.shutdown().now_or_never();
            let released = connector.release_http_session(*given_up, &**peer, Some(self.limits.idle));
            released.now_or_never();
        }
    }
}

/// Passes an interim answer on to whoever waits for the final one.
fn pass_on(interim: Option<&Interim>, status: StatusCode, fields: &HeaderMap) {
    if let Some(interim) = interim {
        let mut fields = fields.clone();
        hygiene::clean_answer(&mut fields, false);
        let _ = interim.send((status, fields));
    }
}

fn parts(status: StatusCode, fields: HeaderMap) -> response::Parts {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers = fields;
    parts
}

/// Where a server of the file is.
pub(super) fn target(endpoint: &Endpoint) -> Target {
    match endpoint.server().strip_prefix(UNIX) {
        Some(path) => Target::Unix(PathBuf::from(path)),
        None => Target::Tcp(endpoint.address()),
    }
}

/// Pingora's client for fetches: one for all upstreams, it outlives every reload.
fn connector(live: &Live) -> Result<&Connector, Broken> {
    let made = live.registry.connector.filled(|| {
        let conf = ServerConf {
            upstream_keepalive_pool_size: POOL_SIZE,
            ca_file: peer::instead_of_the_systems(),
            ..ServerConf::default()
        };
        Connector::new(Some(ConnectorOptions::from_server_conf(&conf)))
    });
    made.ok_or_else(mistake)
}

fn pingora_request(request: Outgoing<'_>) -> pingora::Result<RequestHeader> {
    let mut header = RequestHeader::build(request.method.clone(), request.target.as_bytes(), None)?;
    for (name, value) in &request.fields {
        header.append_header(name.clone(), value.clone())?;
    }
    Ok(header)
}

fn connect_fault(error: &Error) -> Broken {
    Broken {
        fault: session::connect_fault(error),
        why: error.to_string(),
    }
}

fn fault(error: &Error) -> Broken {
    Broken {
        fault: session::fault(error, false),
        why: error.to_string(),
    }
}

fn mistake() -> Broken {
    Broken {
        fault: Fault::Other,
        why: "a slot was filled by another".to_owned(),
    }
}
