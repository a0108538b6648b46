//! A probe over HTTP/2.

use std::pin::pin;

use bytes::Bytes;
use h2::client;
use http::Request;

use super::connect::Io;
use super::probe::{Failure, Reply};

/// Largest head of an answer, bytes.
const HEAD_MAX: u32 = 16 * 1024;

/// Sends a request with a body and reads the answer, at most `body_max` bytes of its body and the trailers after it.
pub(super) async fn exchange(
    io: Box<dyn Io>,
    request: Request<()>,
    body: Vec<u8>,
    body_max: usize,
) -> Result<Reply, Failure> {
    let (sender, connection) = client::Builder::new()
        .enable_push(false)
        .max_header_list_size(HEAD_MAX)
        .handshake::<_, Bytes>(io)
        .await
        .map_err(|error| Failure::broken(&error))?;
    let mut answer = pin!(async {
        ask(sender, request, body.into(), body_max)
            .await
            .map_err(|error| Failure::broken(&error))
    });
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        _ = connection => {} // whatever ended it, the answer knows
    }
    answer.await
}

async fn ask(
    sender: client::SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
    body_max: usize,
) -> Result<Reply, h2::Error> {
    let mut sender = sender.ready().await?;
    let (response, mut stream) = sender.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(body, true)?; // some bytes: the first window has room
    }
    let (head, mut incoming) = response.await?.into_parts();
    let mut reply = Reply {
        status: head.status.as_u16(),
        body: Vec::new(),
        grpc_status: head.headers.get("grpc-status").cloned(),
    };
    while reply.body.len() < body_max
        && let Some(data) = incoming.data().await
    {
        let data = data?;
        incoming.flow_control().release_capacity(data.len())?;
        let room = body_max - reply.body.len();
        reply.body.extend_from_slice(&data[..data.len().min(room)]);
    }
    if body_max > 0
        && reply.body.len() < body_max
        && let Some(trailers) = incoming.trailers().await?
        && reply.grpc_status.is_none()
    {
        reply.grpc_status = trailers.get("grpc-status").cloned();
    }
    Ok(reply)
}
