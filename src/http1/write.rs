//! Heads, written.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::onward::Onward;

/// Appends the head of a request. Its fields are written as they are: what concerns one connection only has been taken out,
/// and how the body is framed stands in them.
pub(crate) fn request_head(out: &mut Vec<u8>, method: &Method, target: &str, fields: &Onward<'_>) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // First, as RFC 9110 §7.2 asks; some applications read no further.
    if let Some(host) = fields.get(&header::HOST) {
        field(out, "Host", host);
    }
    for (name, value) in fields.iter() {
        if name != header::HOST {
            field(out, usual_spelling(name), value);
        }
    }
    out.extend_from_slice(fields.lines());
    out.extend_from_slice(b"\r\n");
}

/// Appends the first line of an answer.
pub(crate) fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends field lines.
pub(crate) fn fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        field(out, usual_spelling(name), value);
    }
}

/// Appends the line that begins a chunk (RFC 9112 §7.1).
pub(crate) fn chunk_size(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(DIGITS[(size >> (digit * 4)) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// The date (RFC 9110 §5.6.7), formatted once a second and thread.
pub(crate) fn date() -> HeaderValue {
    with_date(Clone::clone)
}

/// Appends it.
pub(crate) fn append_date(out: &mut Vec<u8>) {
    with_date(|date| out.extend_from_slice(date.as_bytes()));
}

fn with_date<T>(say: impl FnOnce(&HeaderValue) -> T) -> T {
    thread_local! {
        static DATE: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(at, date)| {
        if (*at != second || date.is_empty())
            && let Ok(formatted) = HeaderValue::try_from(httpdate::fmt_http_date(now))
        {
            (*at, *date) = (second, formatted);
        }
        say(date)
    })
}

fn field(out: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    out.reserve(name.len() + value.len() + 4); // once, not with each part
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The spelling in which the names leave that old software looks for; others are in lower case, as HTTP/2 has them all.
pub(crate) fn usual_spelling(name: &HeaderName) -> &str {
    match *name {
        header::ACCEPT_RANGES => "Accept-Ranges",
        header::AGE => "Age",
        header::CACHE_CONTROL => "Cache-Control",
        header::CONNECTION => "Connection",
        header::CONTENT_TYPE => "Content-Type",
        header::CONTENT_ENCODING => "Content-Encoding",
        header::CONTENT_LENGTH => "Content-Length",
        header::DATE => "Date",
        header::TRANSFER_ENCODING => "Transfer-Encoding",
        header::HOST => "Host",
        header::SERVER => "Server",
        header::SET_COOKIE => "Set-Cookie",
        _ => name.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_chunks() {
        for size in [0, 1, 15, 16, 255, 256, 4095, 65_536, usize::MAX] {
            let mut out = Vec::new();
            chunk_size(&mut out, size);
            assert_eq!(String::from_utf8_lossy(&out), format!("{size:x}\r\n"));
        }
    }

    #[test]
    fn a_head_as_it_leaves() {
        let mut fields = HeaderMap::new();
        fields.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        fields.insert(header::HOST, HeaderValue::from_static("site.test"));
        fields.append("x-a", HeaderValue::from_static("1"));
        fields.append("x-a", HeaderValue::from_static("2"));
        let mut out = Vec::new();
        request_head(&mut out, &Method::GET, "/a?b", &Onward::of(&fields));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "GET /a?b HTTP/1.1\r\nHost: site.test\r\naccept: */*\r\nx-a: 1\r\nx-a: 2\r\n\r\n"
        );
    }
}
