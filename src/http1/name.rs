//! Names of fields, read.

use http::header::{self, HeaderName, InvalidHeaderName};

/// The name of a field. Usual ones in their usual spellings are known at a glance, others are read letter by letter.
///
/// # Errors
/// It is not a token (RFC 9110 §5.1).
pub(crate) fn field_name(text: &[u8]) -> Result<HeaderName, InvalidHeaderName> {
    Ok(match text {
        b"Accept" | b"accept" => header::ACCEPT,
        b"Accept-Encoding" | b"accept-encoding" => header::ACCEPT_ENCODING,
        b"Accept-Language" | b"accept-language" => header::ACCEPT_LANGUAGE,
        b"Authorization" | b"authorization" => header::AUTHORIZATION,
        b"Cache-Control" | b"cache-control" => header::CACHE_CONTROL,
        b"Connection" | b"connection" => header::CONNECTION,
        b"Content-Length" | b"content-length" => header::CONTENT_LENGTH,
        b"Content-Type" | b"content-type" => header::CONTENT_TYPE,
        b"Cookie" | b"cookie" => header::COOKIE,
        b"Date" | b"date" => header::DATE,
        b"ETag" | b"etag" => header::ETAG,
        b"Host" | b"host" => header::HOST,
        b"If-None-Match" | b"if-none-match" => header::IF_NONE_MATCH,
        b"Last-Modified" | b"last-modified" => header::LAST_MODIFIED,
        b"Origin" | b"origin" => header::ORIGIN,
        b"Referer" | b"referer" => header::REFERER,
        b"Server" | b"server" => header::SERVER,
        b"Set-Cookie" | b"set-cookie" => header::SET_COOKIE,
        b"Transfer-Encoding" | b"transfer-encoding" => header::TRANSFER_ENCODING,
        b"User-Agent" | b"user-agent" => header::USER_AGENT,
        b"Vary" | b"vary" => header::VARY,
        _ => return HeaderName::from_bytes(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_what_would_be_read() {
        for text in [
            "Accept",
            "Accept-Encoding",
            "Accept-Language",
            "Authorization",
            "Cache-Control",
            "Connection",
            "Content-Length",
            "Content-Type",
            "Cookie",
            "Date",
            "ETag",
            "Host",
            "If-None-Match",
            "Last-Modified",
            "Origin",
            "Referer",
            "Server",
            "Set-Cookie",
            "Transfer-Encoding",
            "User-Agent",
            "Vary",
            "X-Other",
            "hOsT",
            "Hos",
            "Hostt",
        ] {
            for text in [text.to_owned(), text.to_ascii_lowercase()] {
                let read = HeaderName::from_bytes(text.as_bytes()).expect("a token");
                assert_eq!(field_name(text.as_bytes()).expect("a token"), read, "{text}");
            }
        }
        for text in ["", "Host ", "a b", "a:", "é"] {
            assert!(field_name(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
