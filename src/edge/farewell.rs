//! How a connection is closed so that the client still reads its last answer.

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::link::Conn;
use crate::http1;

/// Bytes of an unwanted body that are read and thrown away, so that the client reads our answer before it sees the
/// connection closed (RFC 9112 §9.6).
const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// How long it may be silent meanwhile, and how long all of it may take.
pub(super) const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_WHOLE: Duration = Duration::from_secs(10);

/// Closes our side, then reads what the client still sends, within bounds: closing at once would make its kernel throw
/// away the answer that it has not read yet.
pub(super) async fn linger(mut conn: Conn) {
    let _ = tokio::time::timeout(LINGER_WHOLE, async {
        if conn.flush().await.is_err() || conn.io.shutdown().await.is_err() {
            return;
        }
        let mut left = LINGER_BYTES.saturating_sub(conn.ahead.len());
        while left > 0 {
            conn.ahead.clear();
            let more = poll_fn(|cx| http1::poll_read(&mut conn.io, cx, &mut conn.ahead));
            match tokio::time::timeout(LINGER_TIME, more).await {
                Ok(Ok(read @ 1..)) => left = left.saturating_sub(read),
                Ok(Ok(0) | Err(_)) | Err(_) => return,
            }
        }
    })
    .await;
}

pub(super) async fn close(mut conn: Conn) {
    let _ = tokio::time::timeout(LINGER_TIME, async {
        conn.flush().await?;
        conn.io.shutdown().await
    })
    .await;
}
