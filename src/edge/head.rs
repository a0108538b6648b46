//! One strict reader of every HTTP/1 request head. Two readers that disagree about where a request ends or whom it is
//! for are how requests are smuggled, so what is ambiguous is refused, each time with its rule.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, request};

use crate::answer::Reason;
use crate::config::model::HeadLimits;
use crate::http1;
use crate::route;

/// Most field lines that any configuration may admit: what Pingora's own parser takes.
pub const MAX_FIELDS: usize = 256;

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// `Content-Length`, bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What the gate needs to know of a head that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// How its body is framed.
    pub framing: Framing,
    /// Whether the client wants to use the connection again (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// A WebSocket handshake: what follows the head belongs to the tunnel once the upstream has agreed.
    pub upgrade: bool,
    /// An absolute-form target: the head is then written anew in origin-form.
    pub absolute: Option<Absolute>,
}

/// An absolute-form target (RFC 9112 §3.2.2), taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absolute {
    /// The method.
    pub method: Method,
    /// The minor version.
    pub version: u8,
    /// Host and port.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

/// Judges a complete head.
///
/// # Errors
/// The reason for which the request is refused.
pub fn judge(bytes: &[u8], limits: &HeadLimits) -> Result<Head, Reason> {
    read(bytes, None, limits).map(|(head, _)| head)
}

/// Judges a complete head and takes it apart. The parts share its bytes; `None`: it wants another protocol, or has a target
/// that the types have no room for.
///
/// # Errors
/// The reason for which the request is refused.
pub fn take_apart(bytes: &Bytes, limits: &HeadLimits) -> Result<(Head, Option<request::Parts>), Reason> {
    read(bytes, Some(bytes), limits)
}

/// `shared`: the same bytes, where the head is to be taken apart.
fn read(bytes: &[u8], shared: Option<&Bytes>, limits: &HeadLimits) -> Result<(Head, Option<request::Parts>), Reason> {
    // Uninitialised: clearing 10 KiB for every request would cost more than parsing it.
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Err(httparse::Error::Version) if names_version(bytes) => return Err(Reason::VersionNotSupported),
        Err(httparse::Error::TooManyHeaders) => return Err(Reason::HeadTooLarge),
        Ok(_) | Err(_) => return Err(Reason::BadRequest),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Reason::BadRequest);
    };
    if target.len() > limits.uri {
        return Err(Reason::UriTooLong);
    }
    let mut facts = Facts::default();
    let mut map = HeaderMap::with_capacity(if shared.is_some() { request.headers.len() } else { 0 });
    for field in request.headers.iter() {
        let name = http1::field_name(field.name.as_bytes()).map_err(|_| Reason::BadRequest)?;
        facts.look(&name, field.value, version)?;
        // NUL, CR and LF never stand in a value (RFC 9110 §5.5), nor does any other control byte but a tab.
        match shared {
            Some(shared) => {
                let value = HeaderValue::from_maybe_shared(shared.slice_ref(field.value));
                map.append(name, value.map_err(|_| Reason::BadRequest)?);
            }
            None if field.value.iter().fold(false, |found, &byte| found | is_control(byte)) => {
                return Err(Reason::BadRequest);
            }
            None => {}
        }
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Reason::BadRequest)?;
    // TRACE shows a client what proxies added (RFC 9110 §9.3.8); CONNECT would make the gateway a tunnel to anywhere.
    if method == Method::TRACE || method == Method::CONNECT {
        return Err(Reason::MethodNotAllowed);
    }
    let absolute = judge_target(&method, target, version)?;
    // RFC 9112 §3.2: exactly one Host, and it must be a host; HTTP/1.0 may leave it out.
    match (facts.hosts, facts.host) {
        (0, _) if version == 0 => {}
        (1, Some(host)) => drop(route::normalise_host(host).map_err(|_| Reason::BadRequest)?),
        _ => return Err(Reason::BadRequest),
    }
    let framing = facts.framing(version)?;
    if facts.unknown_expectation && version == 1 {
        return Err(Reason::ExpectationFailed);
    }
    let upgrade = facts.websocket && facts.connection_upgrade && version == 1;
    // A handshake with a body would leave open whose the bytes after the head are.
    if upgrade && (framing != Framing::None || method != Method::GET) {
        return Err(Reason::BadRequest);
    }
    let keep_alive = !facts.close && (version == 1 || facts.keep_alive);
    let uri = shared.filter(|_| !upgrade).and_then(|shared| match &absolute {
        Some(absolute) => Uri::try_from(&*absolute.path).ok(),
        None => Uri::from_maybe_shared(shared.slice_ref(target.as_bytes())).ok(),
    });
    if let Some(absolute) = &absolute {
        // Its authority counts, whatever stands in the field (RFC 9112 §3.2.2).
        let host = HeaderValue::try_from(&*absolute.authority).map_err(|_| Reason::BadRequest)?;
        map.insert(header::HOST, host);
    }
    let head = Head {
        framing,
        keep_alive,
        upgrade,
        absolute,
    };
    let parts = uri.map(|uri| {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        (parts.method, parts.uri, parts.headers) = (method, uri, map);
        parts.version = if version == 0 {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        };
        parts
    });
    Ok((head, parts))
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7f
}

/// Whether the request line is well-formed and only its version is not ours.
fn names_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let (version, more) = (words.nth(2).unwrap_or_default(), words.next());
    more.is_none() && version.len() == 8 && version.starts_with(b"HTTP/")
}

/// What the fields say, each looked at once.
#[derive(Default)]
struct Facts<'a> {
    hosts: usize,
    host: Option<&'a str>,
    lengths: usize,
    length: Option<&'a [u8]>,
    codings: usize,
    coding: Option<&'a [u8]>,
    close: bool,
    keep_alive: bool,
    connection_upgrade: bool,
    websocket: bool,
    unknown_expectation: bool,
}

impl<'a> Facts<'a> {
    fn look(&mut self, name: &HeaderName, value: &'a [u8], version: u8) -> Result<(), Reason> {
        match *name {
            header::HOST => {
                self.hosts += 1;
                self.host = Some(std::str::from_utf8(value).map_err(|_| Reason::BadRequest)?);
            }
            header::CONTENT_LENGTH => {
                self.lengths += 1;
                self.length = Some(value);
            }
            header::TRANSFER_ENCODING => {
                self.codings += 1;
                self.coding = Some(value);
            }
            header::CONNECTION => self.connection(value, version),
            header::UPGRADE => self.websocket |= value.trim_ascii().eq_ignore_ascii_case(b"websocket"),
            header::EXPECT => self.unknown_expectation |= !value.trim_ascii().eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8], version: u8) {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= version == 0 && option.eq_ignore_ascii_case(b"keep-alive");
            self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    /// RFC 9112 §6.3, without its leniencies.
    fn framing(&self, version: u8) -> Result<Framing, Reason> {
        match (self.lengths, self.codings) {
            (0, 0) => Ok(Framing::None),
            (1, 0) => {
                let digits = self.length.unwrap_or_default().trim_ascii();
                // 18 digits stay far below 2^63, beyond which readers disagree.
                if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
                    return Err(Reason::BadRequest);
                }
                let length = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
                Ok(if length == 0 {
                    Framing::None
                } else {
                    Framing::Length(length)
                })
            }
            // §6.1: HTTP/1.0 knows no transfer codings; `chunked` is the only one that a server must know.
            (0, 1) if version == 1 => {
                let coding = self.coding.unwrap_or_default().trim_ascii();
                if coding.eq_ignore_ascii_case(b"chunked") {
                    Ok(Framing::Chunked)
                } else if coding
                    .iter()
                    .all(|&byte| byte.is_ascii_alphanumeric() || b", -".contains(&byte))
                    && coding.to_ascii_lowercase().ends_with(b", chunked")
                {
                    Err(Reason::NotImplemented)
                } else {
                    Err(Reason::BadRequest)
                }
            }
            // Several lengths, several codings, or both (§6.1, §6.3): always an attempt at disagreement.
            _ => Err(Reason::BadRequest),
        }
    }
}

/// RFC 9112 §3.2: origin-form, absolute-form, or `*` with OPTIONS.
pub(super) fn judge_target(method: &Method, target: &str, version: u8) -> Result<Option<Absolute>, Reason> {
    // RFC 3986 knows neither control bytes, spaces, bytes beyond ASCII nor a fragment in a target.
    if !target.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'#') {
        return Err(Reason::BadRequest);
    }
    if target.starts_with('/') || target == "*" && *method == Method::OPTIONS {
        return Ok(None);
    }
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        target
            .get(..scheme.len())?
            .eq_ignore_ascii_case(scheme)
            .then(|| &target[scheme.len()..])
    });
    let rest = rest.ok_or(Reason::BadRequest)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    route::normalise_host(authority).map_err(|_| Reason::BadRequest)?;
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    Ok(Some(Absolute {
        method: method.clone(),
        version,
        authority: authority.to_owned(),
        path,
    }))
}

/// A head as Pingora is to read it.
pub(crate) fn for_pingora(bytes: Bytes, absolute: Option<&Absolute>) -> BytesMut {
    let Some(absolute) = absolute else {
        return BytesMut::from(bytes);
    };
    let mut origin_form = BytesMut::with_capacity(bytes.len() + absolute.authority.len() + 8);
    to_origin_form(&bytes, absolute, &mut origin_form);
    origin_form
}

/// Writes a head with an absolute-form target anew in origin-form; its authority replaces `Host` (RFC 9112 §3.2.2).
fn to_origin_form(head: &[u8], absolute: &Absolute, into: &mut impl Extend<u8>) {
    let version: &[u8] = if absolute.version == 0 { b"1.0" } else { b"1.1" };
    let first = [
        absolute.method.as_str().as_bytes(),
        b" ",
        absolute.path.as_bytes(),
        b" HTTP/",
        version,
        b"\r\nHost: ",
    ];
    into.extend(first.concat());
    into.extend(absolute.authority.bytes().chain(*b"\r\n"));
    for line in head.split_inclusive(|&byte| byte == b'\n').skip(1) {
        if !line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"host:")) {
            into.extend(line.iter().copied());
        }
    }
}

#[cfg(test)]
mod tests;
