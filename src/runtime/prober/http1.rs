//! A probe over HTTP/1.1.

use std::pin::pin;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::connect::Io;
use super::probe::{Failure, Reply};

/// Largest head of an answer, bytes.
const HEAD_MAX: usize = 16 * 1024;
/// Most fields of it.
const FIELDS_MAX: usize = 100;

/// Sends a request and reads the answer, at most `body_max` bytes of its body.
pub(super) async fn exchange(io: Box<dyn Io>, request: Request<()>, body_max: usize) -> Result<Reply, Failure> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .max_headers(FIELDS_MAX)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| Failure::broken(&error))?;
    let answer = async move {
        let response = sender
            .send_request(request.map(|()| Empty::<Bytes>::new()))
            .await
            .map_err(|error| Failure::broken(&error))?;
        let status = response.status().as_u16();
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        while body.len() < body_max
            && let Some(frame) = incoming.frame().await
        {
            let frame = frame.map_err(|error| Failure::broken(&error))?;
            if let Some(data) = frame.data_ref() {
                body.extend_from_slice(&data[..data.len().min(body_max - body.len())]);
            }
        }
        Ok(Reply {
            status,
            body,
            grpc_status: None,
        })
    };
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        _ = connection => {} // whatever ended it, the answer knows
    }
    answer.await
}
