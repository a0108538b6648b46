//! Static files: resolution without escapes, conditional requests and ranges.

mod body;
mod lookup;
mod media_type;
mod target;

use std::time::{Duration, SystemTime};

use http::header::{
    ACCEPT, ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::answer::{Answer, Reason};
use crate::conditional::{self, ByteRange, Precondition, Validators};
use crate::config::model::Files;
use crate::quality;
pub use body::FileBody;
use lookup::{Found, Lookup, OpenFile};
use target::Target;

/// An answer from disk.
#[derive(Debug)]
pub struct Served {
    /// 200, 206 or 304.
    pub status: StatusCode,
    /// The fields, `Content-Length` among them except with 304.
    pub headers: HeaderMap,
    /// The body; `None` for HEAD and 304.
    pub body: Option<FileBody>,
}

/// Finds the file that a path stands for and opens it. `path` is the normalised path of the request, still
/// percent-encoded; `query` is the raw one and only matters where a directory is redirected to its slash.
///
/// # Errors
/// The answer to give instead: 404, 405, 412, 416, 500, or the redirection.
pub async fn open(
    files: &Files,
    method: &Method,
    path: &str,
    query: Option<&str>,
    request: &HeaderMap,
) -> Result<Served, Answer> {
    if method != Method::GET && method != Method::HEAD {
        return Err(refusal(
            Reason::MethodNotAllowed,
            ALLOW,
            HeaderValue::from_static("GET, HEAD"),
        ));
    }
    let target = Target::parse(path).ok_or_else(|| Answer::refuse(Reason::NotFound))?;
    let lookup = Lookup {
        root: files.root.clone(),
        index: files.index.clone(),
        fallback: (!target.has_extension && accepts_pages(request))
            .then(|| files.spa_fallback.clone())
            .flatten(),
        // Sure to be sent: read together with opening, for one trip to the blocking threads instead of two.
        read_ahead: method == Method::GET && !CONDITIONS.iter().any(|name| request.contains_key(name)),
    };
    match tokio::task::spawn_blocking(move || lookup.run(&target)).await {
        Ok(Ok(Found::File(file))) => serve(file, method, request),
        Ok(Ok(Found::Directory)) => Err(redirect_to_slash(path, query)),
        Ok(Ok(Found::Nothing)) => Err(Answer::refuse(Reason::NotFound)),
        Ok(Err(error)) => {
            tracing::warn!(%error, root = %files.root.display(), "files cannot be served");
            Err(Answer::refuse(Reason::Internal))
        }
        Err(error) => {
            tracing::error!(%error, "a file lookup broke off");
            Err(Answer::refuse(Reason::Internal))
        }
    }
}

static CONDITIONS: [http::HeaderName; 5] = [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE, IF_MATCH, IF_UNMODIFIED_SINCE];

/// Whether a page may stand in for a path that does not exist: a script that asks for data is better told 404.
fn accepts_pages(request: &HeaderMap) -> bool {
    let mut lines = request.get_all(ACCEPT).iter().peekable();
    lines.peek().is_none()
        || lines
            .filter_map(|line| line.to_str().ok())
            .any(|accept| quality::of_media_type(accept, "text/html") > 0)
}

fn serve(file: OpenFile, method: &Method, request: &HeaderMap) -> Result<Served, Answer> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(ETAG, entity_tag(&file));
    if let Some(date) = last_modified(file.modified_nanos, SystemTime::now()) {
        headers.insert(LAST_MODIFIED, date);
    }
    if file.revalidate {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    let current = Validators::from_headers(&headers);
    match conditional::evaluate(method, request, current) {
        Precondition::Proceed => {}
        Precondition::Failed => return Err(Answer::refuse(Reason::PreconditionFailed)),
        Precondition::NotModified => {
            return Ok(Served {
                status: StatusCode::NOT_MODIFIED,
                headers,
                body: None,
            });
        }
    }
    let (status, first, length) = match conditional::byte_range(method, request, file.size, current) {
        ByteRange::Full => (StatusCode::OK, 0, file.size),
        ByteRange::Partial { first, last } => {
            headers.insert(CONTENT_RANGE, field(&format!("bytes {first}-{last}/{}", file.size)));
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
        }
        ByteRange::Unsatisfiable => {
            let whole = field(&format!("bytes */{}", file.size));
            return Err(refusal(Reason::RangeNotSatisfiable, CONTENT_RANGE, whole));
        }
    };
    headers.insert(CONTENT_TYPE, file.media_type);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(Served {
        status,
        headers,
        body: (method == Method::GET).then(|| FileBody::new(file.file, first, length, file.beginning)),
    })
}

/// A strong tag: size, time of modification, and the time of change, which nobody can set back. Without the last,
/// builds that give every file the same date would make two releases of a page one, if they are equally long.
fn entity_tag(file: &OpenFile) -> HeaderValue {
    field(&format!(
        "\"{:x}-{:x}-{:x}\"",
        file.size, file.modified_nanos, file.changed_nanos
    ))
}

/// No date where it would be made up (archives and images that erase it: 1970, 1980), not come yet (RFC 9110 §8.8.2.1),
/// or not to be written down.
fn last_modified(nanos: i128, now: SystemTime) -> Option<HeaderValue> {
    const DAY_AFTER_DOS_EPOCH: u64 = 315_619_200;
    let seconds = u64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    (seconds >= DAY_AFTER_DOS_EPOCH && date <= now).then(|| field(&httpdate::fmt_http_date(date)))
}

/// `/dir` is `/dir/`, so that the relative links of its page work.
fn redirect_to_slash(path: &str, query: Option<&str>) -> Answer {
    let mut location = String::with_capacity(path.len() + 2 + query.map_or(0, str::len));
    push_uri(path, &mut location);
    location.push('/');
    if let Some(query) = query {
        location.push('?');
        push_uri(query, &mut location);
    }
    Answer::Redirect {
        status: StatusCode::PERMANENT_REDIRECT,
        location: field(&location),
    }
}

/// Escapes what may not stand in a URI (RFC 3986 §2); escapes that are there already stay.
fn push_uri(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

fn refusal(reason: Reason, name: http::HeaderName, value: HeaderValue) -> Answer {
    Answer::Refusal {
        reason,
        retry_after: None,
        fields: vec![(name, value)],
        members: Vec::new(),
    }
}

fn field(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("made of visible ASCII by every caller")
}

#[cfg(test)]
mod tests;
