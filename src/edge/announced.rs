//! Connections that begin with a header of the PROXY protocol.

use std::time::Duration;

use pingora::protocols::Stream;
use tokio::io::AsyncReadExt as _;

use super::socket::Socket;
use crate::proxy_protocol::{self, Ends, Fault, Header};

/// Reads the header; what follows it stays in the stream.
///
/// # Errors
/// Why there is none.
pub(super) async fn read(stream: Stream, within: Duration) -> Result<(Stream, Option<Ends>), &'static str> {
    let mut socket = stream
        .into_any()
        .downcast::<Socket>()
        .map_err(|_| "not a plain connection")?;
    let header = async {
        let mut bytes = Vec::with_capacity(256);
        loop {
            match socket.read_buf(&mut bytes).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err("it was closed before its header was there"),
            }
            match proxy_protocol::read(&bytes) {
                Ok(Header::Partial) => {}
                Ok(Header::Complete { length, ends }) => {
                    socket.put_back(&bytes[length..]);
                    return Ok(ends);
                }
                Err(Fault(rule)) => return Err(rule),
            }
        }
    };
    let read = tokio::time::timeout(within, header).await;
    let ends = read.unwrap_or(Err("its header did not come in time"))?;
    Ok((socket, ends))
}
