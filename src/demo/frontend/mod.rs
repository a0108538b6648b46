//! The frontend: a built single-page application behind `vite preview`.
//!
//! Every path without a file extension is the page; everything says `no-cache`, hashed files too; text is compressed on
//! the fly, each time, without `Vary: Accept-Encoding`; a public host name is refused. The deployment's preview server
//! has no API to pass `/api` on to, so neither has this one.

mod files;
mod filler;
mod page;

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST,
    HeaderName, IF_NONE_MATCH, LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::net::TcpListener;

use files::{File, Site};

use super::node::{self, Application, Context, Request, Server};
use super::reply::{self, Response};

/// Shorter bodies are not worth compressing.
const COMPRESSED_FROM: usize = 1_024;

/// Starts the preview server on a bound listener, in the current runtime.
///
/// # Errors
/// The listener has no address.
pub fn spawn(listener: TcpListener) -> io::Result<Server> {
    node::spawn(listener, Frontend { site: files::site() })
}

/// The paths of the files, the page not among them.
pub fn paths() -> impl Iterator<Item = &'static str> {
    files::site().paths()
}

struct Frontend {
    site: &'static Site,
}

impl Application for Frontend {
    async fn answer(&self, request: Request, _: &Context) -> Response {
        let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
        let mut response = if let Some(host) = foreign_host(headers) {
            refuse(&host)
        } else if method == Method::OPTIONS {
            reply::empty(StatusCode::NO_CONTENT)
        } else if is_api(path) {
            // What the preview server says when the API it passes requests on to is not there.
            reply::typed(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "")
        } else {
            match self.site.find(path) {
                Some(file) => serve(file, method, headers),
                None => reply::no_such_page(method, path),
            }
        };
        response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
        response
    }
}

/// By text, not by segments: `/apifoo` is passed on, too.
fn is_api(path: &str) -> bool {
    path.starts_with("/api")
}

/// The host name of the request, if the preview server does not take it for its own: it knows localhost and addresses.
fn foreign_host(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(HOST)?.to_str().ok()?;
    if host.starts_with('[') {
        return None;
    }
    let name = host.split(':').next().unwrap_or_default();
    let own = name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<std::net::Ipv4Addr>().is_ok();
    (!own).then(|| name.to_owned())
}

fn refuse(host: &str) -> Response {
    let text = format!(
        "Blocked request. This host (\"{host}\") is not allowed.\n\
         To allow this host, add \"{host}\" to `preview.allowedHosts` in vite.config.js."
    );
    reply::typed(StatusCode::FORBIDDEN, "text/plain", text)
}

fn serve(file: &File, method: &Method, headers: &HeaderMap) -> Response {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let tag = file.tag();
    // Exactly this one: no list, no `*`.
    if text(IF_NONE_MATCH) == Some(&tag) {
        return reply::empty(StatusCode::NOT_MODIFIED);
    }
    let range = text(RANGE).map(|range| sirv_range(range, file.body.len()));
    let (status, body) = match range {
        None => (StatusCode::OK, file.body.clone()),
        Some(Some((start, end))) => (StatusCode::PARTIAL_CONTENT, file.body.slice(start..=end)),
        Some(None) => {
            let mut response = reply::empty(StatusCode::RANGE_NOT_SATISFIABLE);
            insert(&mut response, CONTENT_RANGE, format!("bytes */{}", file.body.len()));
            return response;
        }
    };
    let compressed = method != Method::HEAD
        && body.len() >= COMPRESSED_FROM
        && is_text(file.media_type)
        && text(ACCEPT_ENCODING).is_some_and(|codings| codings.contains("gzip"));
    let mut response = match compressed.then(|| gzip(&body)) {
        Some(Ok(body)) => {
            let mut response = reply::streamed(status, body);
            response
                .headers_mut()
                .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        }
        _ => reply::whole(status, body),
    };
    if let Some(Some((start, end))) = range {
        response
            .headers_mut()
            .insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        insert(
            &mut response,
            CONTENT_RANGE,
            format!("bytes {start}-{end}/{}", file.body.len()),
        );
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(LAST_MODIFIED, HeaderValue::from_static(files::MODIFIED));
    insert(&mut response, ETAG, tag);
    response
}

/// The range as `sirv` reads it: one range only, and a suffix (`-100`) is taken for `0-100`. `None`: unsatisfiable.
fn sirv_range(range: &str, size: usize) -> Option<(usize, usize)> {
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (start, end) = range.split_once('-').unwrap_or((range, ""));
    // JavaScript's parseInt: the digits at the beginning, if there are any.
    let leading = |text: &str| {
        let text = text.trim_start();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..digits].parse::<usize>().ok()
    };
    let start = leading(start).unwrap_or(0);
    let end = leading(end)
        .filter(|end| *end > 0)
        .unwrap_or(usize::MAX)
        .min(size.checked_sub(1)?);
    (start <= end).then_some((start, end))
}

fn is_text(media_type: &str) -> bool {
    ["text", "javascript", "/json", "xml"]
        .iter()
        .any(|part| media_type.contains(part))
}

fn gzip(body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::default());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}

fn insert(response: &mut Response, name: HeaderName, value: String) {
    // Numbers and punctuation: always a valid value.
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests;
