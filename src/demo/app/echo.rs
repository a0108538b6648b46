//! Outside the application's surface: what helps to try a gateway. `/__echo` tells the request as the application saw
//! it, `/__stop` takes the replica away for a while.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;

use crate::demo::node::{Context, Request};
use crate::demo::reply::{self, Response};

const MAX_DELAY: u64 = 60_000;
const MAX_STOP: u64 = 3_600;
const STOP: u64 = 15;

/// Method, target, field lines (several of one name together) and the length of the body. `?delay=MILLISECONDS` waits before
/// it answers, `?status=CODE` answers with that status.
pub(super) async fn echo(request: Request, replica: &str) -> Response {
    let (head, mut body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let delay = number(query, "delay").unwrap_or(0).min(MAX_DELAY);
    let status = number(query, "status")
        .and_then(|code| u16::try_from(code).ok())
        .filter(|code| (200..600).contains(code) && ![204, 205, 304].contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::OK);
    let mut length = 0u64;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    let seen = json!({
        "replica": replica,
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "version": format!("{:?}", head.version),
        "headers": head.headers.iter().map(line).collect::<Vec<String>>(),
        "body_bytes": length,
    });
    reply::typed(status, "application/json; charset=utf-8", format!("{seen:#}\n"))
}

/// Cuts every connection and closes the port for `?seconds=`, 15 where nothing is said.
pub(super) fn stop(request: &Request, server: &Context) -> Response {
    let seconds = number(request.uri().query().unwrap_or_default(), "seconds")
        .unwrap_or(STOP)
        .min(MAX_STOP);
    server.pause(Duration::from_secs(seconds));
    reply::typed(
        StatusCode::ACCEPTED,
        "text/plain; charset=utf-8",
        format!("gone for {seconds} s\n"),
    )
}

fn number(query: &str, name: &str) -> Option<u64> {
    let value = |pair: &str| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    query.split('&').find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers() {
        for (query, expected) in [
            ("delay=5", Some(5)),
            ("x&delay=5", Some(5)),
            ("delay", None),
            ("delay=-1", None),
            ("delays=1", None),
        ] {
            assert_eq!(number(query, "delay"), expected, "{query}");
        }
    }
}
