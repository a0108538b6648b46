//! What fuzzers call: every parser of ours that reads what others wrote, each with what must hold whatever comes. The same
//! functions run for a while in the tests, on input that is made to be nearly right.

use std::net::IpAddr;
use std::str;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::auth::jwt::Rules;
use crate::auth::{ApiKeys, KeySet, Password, Users};
use crate::cache::{RequestDirectives, ResponseDirectives};
use crate::conditional::{self, ByteRange, Validators};
use crate::config::model::HeadLimits;
use crate::country::CountryFile;
use crate::edge::{Scanner, judge, take_apart};
use crate::http1::{Chunked, fuzzed};
use crate::networks::Networks;
use crate::proxy_protocol::{self, Header};
use crate::{quality, route};

const LIMITS: HeadLimits = HeadLimits {
    size: 32 << 10,
    fields: 100,
    uri: 8 << 10,
};

/// A request head: where it ends does not depend on how it arrives, and both of its readers say the same.
pub fn request_head(bytes: &[u8]) {
    let whole = Scanner::default().scan(bytes, &LIMITS);
    let mut scanner = Scanner::default();
    let pieces = (1..=bytes.len()).map(|end| scanner.scan(&bytes[..end], &LIMITS));
    let piecewise = pieces.into_iter().find(|found| !matches!(found, Ok(None)));
    let Ok(Some(extent)) = whole else { return };
    let head = Bytes::copy_from_slice(&bytes[extent.start..extent.end]);
    let judged = judge(&head, &LIMITS);
    // What cannot become a request is refused at its first bytes, where it comes in pieces: no head is waited for.
    match piecewise {
        Some(Err(_)) => assert!(judged.is_err(), "the pieces say something else"),
        piecewise => assert_eq!(piecewise, Some(Ok(Some(extent))), "the pieces say something else"),
    }
    let apart = take_apart(&head, &LIMITS);
    assert_eq!(judged, apart.map(|(head, _)| head), "two readers of one head");
}

/// The head of an answer: it is taken whole, and what follows it stays.
pub fn response_head(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    let mut scanned = 0;
    if let Ok(Some(head)) = fuzzed::take(&mut buffer, &mut scanned, false) {
        assert!(bytes.ends_with(&buffer) && buffer.len() < bytes.len());
        let framings = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].map(|name| head.fields.contains_key(name));
        assert_ne!(framings, [true, true]);
    }
}

/// A chunked body: where it ends does not depend on how it arrives.
pub fn chunked(bytes: &[u8]) {
    let mut whole = Chunked::new();
    let used = whole.advance(bytes);
    let mut pieces = Chunked::new();
    let mut taken = 0;
    let mut broken = false;
    for byte in bytes {
        match pieces.advance(std::slice::from_ref(byte)) {
            Ok(used) => taken += used,
            Err(_) => {
                broken = true;
                break;
            }
        }
    }
    assert_eq!(used.is_err(), broken);
    if let Ok(used) = used {
        assert_eq!(
            (used, whole.is_done(), whole.content()),
            (taken, pieces.is_done(), pieces.content())
        );
    }
}

/// A header of the PROXY protocol: bounded, and what is read is written and read again as the same.
pub fn proxy_header(bytes: &[u8]) {
    match proxy_protocol::read(bytes) {
        Ok(Header::Partial) => assert!(bytes.len() < proxy_protocol::MAX),
        Ok(Header::Complete { length, ends }) => {
            assert!(length <= bytes.len() && length <= proxy_protocol::MAX);
            if let Some(ends) = ends {
                for version in [proxy_protocol::Version::V1, proxy_protocol::Version::V2] {
                    let again = proxy_protocol::read(&proxy_protocol::write(version, Some(ends)));
                    let Ok(Header::Complete { ends: Some(again), .. }) = again else {
                        panic!("{again:?}");
                    };
                    assert_eq!(again.source.ip().to_canonical(), ends.source.ip().to_canonical());
                    assert_eq!(again.source.port(), ends.source.port());
                }
            }
        }
        Err(_) => {}
    }
}

/// A path and a host: a normal form is one, and cannot climb.
pub fn target(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(path) = route::normalise(text) {
        assert_eq!(route::normalise(&path).as_deref(), Ok(&*path), "normal twice");
        assert!(
            path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == "."),
            "{path}"
        );
    }
    if let Ok((host, _)) = route::normalise_host(text) {
        assert!(!host.is_empty() && !host.contains(['/', '@', '\\', ' ', ',']), "{host}");
    }
}

/// Credentials, and the files that know them.
pub fn credentials(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let keys = KeySet::secret(b"0123456789abcdef0123456789abcdef");
    let known = Rules::default().verify(text, &keys, 1_700_000_000);
    assert!(known.is_err(), "nobody who has the key signed this");
    let _ = (
        KeySet::json(bytes),
        KeySet::pem(bytes),
        ApiKeys::parse(text),
        Users::parse(text),
    );
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        let _ = Password::find(&headers);
    }
}

/// Files of networks and of countries.
pub fn lists(bytes: &[u8]) {
    let somewhere: [IpAddr; 2] = [[192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()];
    if let Ok(networks) = str::from_utf8(bytes)
        .map_err(drop)
        .and_then(|text| Networks::parse(text).map_err(drop))
    {
        let _ = somewhere.map(|ip| networks.contains(ip));
    }
    if let Ok(countries) = CountryFile::parse(bytes.to_vec()) {
        let _ = somewhere.map(|ip| countries.of(ip));
    }
}

/// Values of fields that say more than one thing.
pub fn fields(bytes: &[u8]) {
    const NAMES: [HeaderName; 8] = [
        header::CACHE_CONTROL,
        header::PRAGMA,
        header::EXPIRES,
        header::AGE,
        header::RANGE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_RANGE,
    ];
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let headers: HeaderMap = NAMES.into_iter().map(|name| (name, value.clone())).collect();
    let _ = (ResponseDirectives::of(&headers), RequestDirectives::of(&headers));
    let current = Validators::default();
    let _ = conditional::evaluate(&Method::GET, &headers, current);
    if let ByteRange::Partial { first, last } = conditional::byte_range(&Method::GET, &headers, 100, current) {
        assert!(first <= last && last < 100);
    }
    if let Ok(text) = value.to_str() {
        let _ = quality::preferences(text).count();
        assert!(quality::of_media_type(text, "text/html") <= quality::FULL);
    }
}

#[cfg(test)]
mod tests;
