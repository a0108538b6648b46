//! A request to a server that speaks HTTP/1.1 in clear text, and its answer to the client.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, header, request};

use super::client::{Client, Gone};
use super::upload::{Stop, Upload};
use super::write_answer;
use crate::answer::{Answer, Reason};
use crate::edge::Framing;
use crate::http1::{self, Connection, Idle, Moved};
use crate::onward::Onward;
use crate::proxy::carrier::{self, Broken};
use crate::proxy::failure::Fault;
use crate::proxy::fetch::path_and_query;
use crate::proxy::retry::Sent;
use crate::proxy::upstream::{NoServer, Verdict};
use crate::proxy::{Exchange, hygiene};

/// Most interim answers before the final one.
const MOST_INTERIM: usize = 1000;

/// Sends the request to a server, to another one where that is right, and delivers the answer.
pub(super) async fn proxy(
    exchange: &mut Exchange,
    request: &request::Parts,
    client: &mut impl Client,
) -> Result<(), Gone> {
    let framing = exchange
        .arrival
        .as_ref()
        .map_or(Framing::None, |arrival| arrival.framing);
    let target = exchange.rewritten(&request.uri);
    let target = target.as_deref().unwrap_or_else(|| path_and_query(request));
    let mut upload = Upload::new(framing);
    loop {
        if let Err(NoServer(_)) = exchange.choose(request).await {
            let refusal = exchange.refusal(exchange.refusal.unwrap_or(Reason::Internal));
            return write_answer(exchange, request, client, &refusal).await;
        }
        let Some(head) = outgoing(exchange, request, framing, target) else {
            return write_answer(exchange, request, client, &Answer::refuse(Reason::BadRequest)).await;
        };
        let outcome = attempt(exchange, request, client, &mut upload, head).await;
        let (fault, reused, why) = match outcome {
            Outcome::Delivered => return Ok(()),
            Outcome::Gone => return Err(Gone),
            Outcome::Refused(reason) => {
                let refusal = exchange.refusal(reason);
                return write_answer(exchange, request, client, &refusal).await;
            }
            Outcome::Discarded => {
                exchange.give_up_server();
                continue;
            }
            Outcome::Failed { fault, reused, why } => (fault, reused, why),
        };
        let sent = Sent {
            method: &request.method,
            repeatable: upload.is_repeatable(),
        };
        let again = match reused {
            Some(reused) => exchange.attempt_failed(sent, fault, reused, &why),
            None => exchange.connect_failed(sent, fault, &why),
        };
        if !again {
            let refusal = exchange.refusal(exchange.reason_of(fault));
            return write_answer(exchange, request, client, &refusal).await;
        }
    }
}

/// The head as the server is to see it; `None`: the request nominates what no connection can take away.
fn outgoing(exchange: &Exchange, request: &request::Parts, framing: Framing, target: &str) -> Option<Vec<u8>> {
    let mut fields = Onward::of(&request.headers);
    hygiene::clean_request(&mut fields).ok()?;
    // Said again in our own words: a client could have nominated them away.
    match framing {
        Framing::None => {}
        Framing::Length(length) => fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length)),
        Framing::Chunked => fields.add(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
    }
    exchange.forward(&mut fields, request.version, false);
    let mut head = Vec::with_capacity(1024);
    http1::request_head(&mut head, &request.method, target, &fields);
    Some(head)
}

/// What an attempt came to.
enum Outcome {
    /// The answer is out, or has been cut where it broke off.
    Delivered,
    /// The client has left.
    Gone,
    /// The client is at fault.
    Refused(Reason),
    /// The answer is thrown away for a better one.
    Discarded,
    /// Nothing was delivered; `reused`: `None` where there was no connection.
    Failed {
        fault: Fault,
        reused: Option<bool>,
        why: String,
    },
}

impl Outcome {
    fn failed(fault: http1::Fault, reused: Option<bool>) -> Self {
        let Broken { fault, why } = fault.into();
        Self::Failed { fault, reused, why }
    }
}

async fn attempt(
    exchange: &mut Exchange,
    request: &request::Parts,
    client: &mut impl Client,
    upload: &mut Upload,
    head: Vec<u8>,
) -> Outcome {
    let (Some(upstream), Some(lease)) = (exchange.upstream(), &exchange.attempt.lease) else {
        return Outcome::Refused(Reason::Internal);
    };
    let timeouts = upstream.timeouts;
    let Some(idle) = lease.endpoint().kept.filled(Arc::<Idle>::default) else {
        return Outcome::Refused(Reason::Internal);
    };
    let idle = Arc::clone(idle);
    let within = |limit: Duration| exchange.time_left().map_or(limit, |left| left.min(limit));
    let preamble = exchange.announcement();
    let kept = if preamble.is_none() {
        idle.take(timeouts.idle)
    } else {
        None
    };
    let (mut connection, reused) = match kept {
        Some(connection) => (connection, true),
        None => {
            let target = carrier::target(lease.endpoint());
            match Connection::open(&target, preamble.as_deref(), within(timeouts.connect)).await {
                Ok(connection) => (connection, false),
                Err(fault) => return Outcome::failed(fault, None),
            }
        }
    };
    exchange.connected(reused);
    let first_byte = within(exchange.first_byte_limit());
    connection.begin();
    // A server that takes nothing for as long as it may think about its answer will not answer.
    let write_timeout = timeouts.write.min(first_byte);
    upload.begin(head, write_timeout, first_byte);
    connection.allow(write_timeout);
    let head_request = request.method == Method::HEAD;
    for _ in 0..MOST_INTERIM {
        let head = match read_head(client, upload, &mut connection, head_request).await {
            Ok(head) => head,
            Err(Stop::Server(fault)) => return Outcome::failed(fault, Some(reused)),
            Err(Stop::Client(Some(reason))) => return Outcome::Refused(reason),
            Err(Stop::Client(None)) => return Outcome::Gone,
        };
        let sent = Sent {
            method: &request.method,
            repeatable: upload.is_repeatable(),
        };
        exchange.attempt.fed = upload.moved;
        match exchange.answered(sent, head.status, &head.fields) {
            Verdict::Interim => {
                let mut head = head;
                hygiene::clean_answer(&mut head.fields, false);
                if client.interim(head.status, &head.fields).await.is_err() {
                    return Outcome::Gone;
                }
            }
            Verdict::Discarded => return Outcome::Discarded,
            Verdict::Tunnel | Verdict::Unasked => {
                return Outcome::failed(http1::Fault::Invalid("a 101 that nobody asked for"), Some(reused));
            }
            Verdict::Answer => {
                exchange.settled().await;
                return match deliver(exchange, request, client, upload, connection, &idle, head).await {
                    Ok(()) => Outcome::Delivered,
                    Err(Gone) => Outcome::Gone,
                };
            }
        }
    }
    Outcome::failed(http1::Fault::Invalid("too many interim answers"), Some(reused))
}

/// The next head from the server, while the body goes there and the client is there.
async fn read_head(
    client: &mut impl Client,
    upload: &mut Upload,
    connection: &mut Connection,
    head_request: bool,
) -> Result<http1::Head, Stop> {
    poll_fn(|cx| {
        if !upload.is_settled()
            && let Poll::Ready(Err(stop)) = upload.poll(cx, client, connection)
        {
            return Poll::Ready(Err(stop));
        }
        if let Poll::Ready(head) = connection.poll_head(cx, head_request) {
            return Poll::Ready(head.map_err(Stop::Server));
        }
        if client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Stop::Client(None)));
        }
        Poll::Pending
    })
    .await
}

/// Delivers an answer whose head is here.
async fn deliver(
    exchange: &mut Exchange,
    request: &request::Parts,
    client: &mut impl Client,
    upload: &mut Upload,
    connection: Connection,
    idle: &Arc<Idle>,
    head: http1::Head,
) -> Result<(), Gone> {
    let timeouts = exchange.upstream().map(|upstream| upstream.timeouts);
    let (read_limit, idle_limit) = timeouts.map_or((Duration::ZERO, Duration::ZERO), |all| (all.read, all.idle));
    upload.answered(read_limit);
    let mut parts = super::parts(head.status, head.fields);
    exchange.take_in(&mut parts.headers, false);
    exchange.deliver(request, parts.status, &mut parts.headers);
    parts.headers.remove(header::TRANSFER_ENCODING); // the client's side frames it
    let goes_on = !exchange.is_last() && (upload.is_sent() || client.is_read());
    client.begin(parts, goes_on);
    let mut connection = Some(connection);
    loop {
        let part = match &mut connection {
            None => None,
            Some(open) => {
                let part = match open.take_part() {
                    Ok(None) if !open.is_over() => {
                        // Nothing at hand: what was written so far must not wait for more.
                        if client.has_unwritten() {
                            client.flush().await?;
                        }
                        open.allow(exchange.time_left().map_or(read_limit, |left| left.min(read_limit)));
                        let plain = exchange.encoder.is_none();
                        read_part(client, upload, open, plain).await
                    }
                    Ok(part) => Ok(part),
                    Err(fault) => Err(Stop::Server(fault)),
                };
                match part {
                    Ok(part) => part,
                    Err(stop) => return cut(exchange, client, stop).await,
                }
            }
        };
        // The server is released before the client has everything: it is done.
        if connection.as_ref().is_some_and(Connection::is_over) {
            if let Some(done) = connection.take().filter(Connection::is_reusable) {
                idle.park(done, idle_limit);
            }
            exchange.release();
        }
        let end = connection.is_none();
        let mut part = part.or(end.then(Bytes::new));
        if exchange.encode(&mut part, end).is_err() {
            return cut(exchange, client, Stop::Client(Some(Reason::Internal))).await;
        }
        client.part(part.unwrap_or_default()).await?;
        if end {
            return client.end().await;
        }
    }
}

/// The next part of the answer, while the rest of the request's body goes out and the client is there. `plain`: it goes out
/// as it comes, and need not pass through here where the kernel can move it; nothing is left of it then.
async fn read_part(
    client: &mut impl Client,
    upload: &mut Upload,
    connection: &mut Connection,
    plain: bool,
) -> Result<Option<Bytes>, Stop> {
    poll_fn(|cx| {
        if !upload.is_settled()
            && let Poll::Ready(Err(stop)) = upload.poll(cx, client, connection)
        {
            return Poll::Ready(Err(stop));
        }
        let part = match client.outlet().filter(|_| plain && connection.can_shift()) {
            Some(outlet) => connection.poll_shift(cx, outlet).map_ok(Part::Moved),
            None => connection.poll_part(cx).map_ok(Part::Here),
        };
        match part {
            Poll::Ready(Ok(Part::Here(part))) => return Poll::Ready(Ok(part)),
            Poll::Ready(Ok(Part::Moved(moved))) => {
                client.moved(moved.taken - moved.rest.len());
                return Poll::Ready(Ok(Some(moved.rest.freeze()).filter(|rest| !rest.is_empty())));
            }
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(Stop::Server(fault))),
            Poll::Pending => {}
        }
        if client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Stop::Client(None)));
        }
        Poll::Pending
    })
    .await
}

/// A part of an answer.
enum Part {
    Here(Option<Bytes>),
    Moved(Moved),
}

/// An answer that breaks off.
async fn cut(exchange: &mut Exchange, client: &mut impl Client, stop: Stop) -> Result<(), Gone> {
    match stop {
        Stop::Server(fault) => {
            let Broken { fault, why } = fault.into();
            exchange.body_failed(fault, &why);
            client.cut().await
        }
        Stop::Client(Some(_)) => client.cut().await,
        Stop::Client(None) => Err(Gone),
    }
}
