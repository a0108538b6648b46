//! Heads, written.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

/// Appends the head of a request. Its fields are written as they are: what concerns one connection only has been taken out,
/// and how the body is framed stands in them.
pub(crate) fn request_head(out: &mut Vec<u8>, method: &Method, target: &str, fields: &HeaderMap) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // First, as RFC 9110 §7.2 asks; some applications read no further.
    if let Some(host) = fields.get(header::HOST) {
        field(out, "Host", host);
    }
    for (name, value) in fields {
        if name != header::HOST {
            field(out, usual_spelling(name), value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &str, value: &HeaderValue) {
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
    fn a_head_as_it_leaves() {
        let mut fields = HeaderMap::new();
        fields.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        fields.insert(header::HOST, HeaderValue::from_static("site.test"));
        fields.append("x-a", HeaderValue::from_static("1"));
        fields.append("x-a", HeaderValue::from_static("2"));
        let mut out = Vec::new();
        request_head(&mut out, &Method::GET, "/a?b", &fields);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "GET /a?b HTTP/1.1\r\nHost: site.test\r\naccept: */*\r\nx-a: 1\r\nx-a: 2\r\n\r\n"
        );
    }
}
