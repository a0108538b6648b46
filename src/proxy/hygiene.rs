//! What concerns one connection only does not pass to the other (RFC 9110 §7.6.1), and how fields are edited.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, request, response};
use pingora::http::{RequestHeader, ResponseHeader};
use smallvec::SmallVec;

use crate::onward::Onward;

/// Most names in `Connection` that are looked at.
const MAX_NOMINATED: usize = 32;

/// Removes what the upstream said about its connection to us. `tunnel`: the answer is a 101, which needs two of them.
pub(super) fn clean_response(response: &mut ResponseHeader, tunnel: bool) {
    edit_response(response, |fields| clean_answer(fields, tunnel));
}

/// The same of its fields.
pub(super) fn clean_answer(fields: &mut HeaderMap, tunnel: bool) {
    let concerned: SmallVec<[HeaderName; 2]> = fields
        .keys()
        .filter(|name| concerns_connection(name))
        .cloned()
        .collect();
    let mut nominated: Vec<HeaderName> = Vec::new();
    if concerned.contains(&header::CONNECTION) {
        for option in options(fields.get_all(header::CONNECTION).iter()).take(MAX_NOMINATED) {
            nominated.extend(HeaderName::from_bytes(option));
        }
    }
    for name in &nominated {
        // Framing and what the gateway itself lives on cannot be nominated away.
        if ![
            header::TRANSFER_ENCODING,
            header::CONTENT_LENGTH,
            header::UPGRADE,
            header::CONTENT_TYPE,
        ]
        .contains(name)
        {
            fields.remove(name);
        }
    }
    for name in concerned {
        if !(tunnel && [header::CONNECTION, header::UPGRADE].contains(&name)) {
            fields.remove(name);
        }
    }
}

/// The options in lines of `Connection`, but for the two that name no field which is not removed anyway.
fn options<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a [u8]> {
    let options = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let usual = |option: &&[u8]| {
        [&b"keep-alive"[..], b"close"]
            .iter()
            .any(|one| option.eq_ignore_ascii_case(one))
    };
    options.map(<[u8]>::trim_ascii).filter(move |option| !usual(option))
}

/// Whether a field says something about one connection only. The `Transfer-Encoding` of an answer is looked at, and removed,
/// where its body is framed anew.
fn concerns_connection(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
            | header::TE
            | header::TRAILER
            | header::UPGRADE
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// `Connection` names what no connection can take away: a client that tries wants to hide something from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nominated;

/// Removes from a request what concerns the client's connection to us: the same fields as Pingora, and the same refusals.
pub(super) fn clean_request(fields: &mut Onward<'_>) -> Result<(), Nominated> {
    /// From so many on it is an attack on our patience.
    const TOO_MANY: usize = 10;
    const PROTECTED: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    let mut nominated: Vec<HeaderName> = Vec::new();
    for option in options(fields.get_all(&header::CONNECTION)).filter(|option| !option.is_empty()) {
        let name = HeaderName::from_bytes(option).map_err(|_| Nominated)?;
        if PROTECTED.contains(&name.as_str()) || nominated.len() + 1 >= TOO_MANY {
            return Err(Nominated);
        }
        nominated.push(name);
    }
    fields.retain(|name| *name != header::TRANSFER_ENCODING && !concerns_connection(name) && !nominated.contains(name));
    Ok(())
}

/// Judges how an answer says where it ends, as strictly as our own client does (RFC 9112 §6): what Pingora passes on must
/// not be read in two ways behind the gateway.
///
/// # Errors
/// The rule.
pub(super) fn judge_framing(fields: &HeaderMap, version: http::Version) -> Result<(), &'static str> {
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
            return Err("a transfer coding that is not `chunked`");
        }
        if version == http::Version::HTTP_10 || fields.contains_key(header::CONTENT_LENGTH) {
            return Err("both framings, or a coding in HTTP/1.0");
        }
    }
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = length.as_bytes().trim_ascii();
        let good = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
        if !good || lengths.next().is_some() {
            return Err("a length that is none");
        }
    }
    Ok(())
}

/// Edits the fields of an answer. Pingora keeps the spelling of names beside them and lets nobody touch the map; names
/// leave in the usual spelling instead.
pub(super) fn edit_response(response: &mut ResponseHeader, edit: impl FnOnce(&mut HeaderMap)) {
    let mut parts: response::Parts = std::mem::replace(response, empty_response()).into();
    edit(&mut parts.headers);
    *response = parts.into();
}

fn empty_response() -> ResponseHeader {
    let (parts, ()) = response::Response::new(()).into_parts();
    parts.into()
}

/// Edits the fields of a request; its target stays byte for byte.
pub(super) fn edit_request(request: &mut RequestHeader, edit: impl FnOnce(&mut HeaderMap)) -> pingora::Result<()> {
    let (empty, ()) = request::Request::new(()).into_parts();
    let old = std::mem::replace(request, empty.into());
    let target = (old.uri.path_and_query().map(|target| target.as_str().as_bytes()) != Some(old.raw_path()))
        .then(|| old.raw_path().to_vec());
    let mut parts: request::Parts = old.into();
    edit(&mut parts.headers);
    *request = parts.into();
    if let Some(target) = target {
        request.set_raw_path(&target)?;
    }
    Ok(())
}

/// Whether an answer with this status never has a body (RFC 9110 §6.4.1).
pub(super) fn never_has_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}
