//! One strict reader of every HTTP/1 request head. Two readers that disagree about where a request ends or whom it is
//! for are how requests are smuggled, so what is ambiguous is refused, each time with its rule.

use std::mem::MaybeUninit;

use http::Method;

use crate::answer::Reason;
use crate::config::model::HeadLimits;
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
pub(crate) struct Head {
    pub(crate) framing: Framing,
    /// Whether the client wants to use the connection again (RFC 9112 §9.3).
    pub(crate) keep_alive: bool,
    /// A WebSocket handshake: what follows the head belongs to the tunnel once the upstream has agreed.
    pub(crate) upgrade: bool,
    /// An absolute-form target: the head is then written anew in origin-form.
    pub(crate) absolute: Option<Absolute>,
}

/// An absolute-form target (RFC 9112 §3.2.2), taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Absolute {
    pub(crate) method: Method,
    /// The minor version.
    pub(crate) version: u8,
    pub(crate) authority: String,
    pub(crate) path: String,
}

/// Judges a complete head.
///
/// # Errors
/// The reason for which the request is refused.
pub(crate) fn judge(bytes: &[u8], limits: &HeadLimits) -> Result<Head, Reason> {
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
    let facts = Facts::collect(request.headers, version)?;
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
    Ok(Head {
        framing,
        keep_alive,
        upgrade,
        absolute,
    })
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
    fn collect(fields: &[httparse::Header<'a>], version: u8) -> Result<Self, Reason> {
        let mut facts = Self::default();
        for field in fields {
            let (name, value) = (field.name, field.value);
            // NUL, CR and LF never stand in a value (RFC 9110 §5.5); httparse lets no other control byte pass either.
            if value.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
                return Err(Reason::BadRequest);
            }
            if name.eq_ignore_ascii_case("host") {
                facts.hosts += 1;
                facts.host = Some(std::str::from_utf8(value).map_err(|_| Reason::BadRequest)?);
            } else if name.eq_ignore_ascii_case("content-length") {
                facts.lengths += 1;
                facts.length = Some(value);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                facts.codings += 1;
                facts.coding = Some(value);
            } else if name.eq_ignore_ascii_case("connection") {
                facts.connection(value, version);
            } else if name.eq_ignore_ascii_case("upgrade") {
                facts.websocket |= value.trim_ascii().eq_ignore_ascii_case(b"websocket");
            } else if name.eq_ignore_ascii_case("expect") {
                facts.unknown_expectation |= !value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
            }
        }
        Ok(facts)
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
fn judge_target(method: &Method, target: &str, version: u8) -> Result<Option<Absolute>, Reason> {
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

/// Writes a head with an absolute-form target anew in origin-form; its authority replaces `Host` (RFC 9112 §3.2.2).
pub(crate) fn to_origin_form(head: &[u8], absolute: &Absolute, into: &mut impl Extend<u8>) {
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
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        size: 2048,
        fields: 20,
        uri: 256,
    };

    fn judged(head: &str) -> Result<Head, Reason> {
        judge(head.as_bytes(), &LIMITS)
    }

    #[test]
    fn good_heads() {
        let head = judged("GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("good");
        assert_eq!(
            head,
            Head {
                framing: Framing::None,
                keep_alive: true,
                upgrade: false,
                absolute: None
            }
        );
        let head = judged("POST /x?y HTTP/1.1\r\nHost: a:80\r\nContent-Length: 12\r\nConnection: Close\r\n\r\n")
            .expect("good");
        assert_eq!((head.framing, head.keep_alive), (Framing::Length(12), false));
        let head = judged("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n").expect("good");
        assert_eq!(head.framing, Framing::Chunked);
        assert!(!judged("GET / HTTP/1.0\r\n\r\n").expect("no Host in 1.0").keep_alive);
        assert!(
            judged("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                .expect("good")
                .keep_alive
        );
        assert!(judged("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
        let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert!(judged(upgrade).expect("good").upgrade);
        assert!(judged("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-Continue\r\n\r\n").is_ok());
    }

    #[test]
    fn bad_heads_each_with_its_reason() {
        use Reason::*;
        let cases = [
            ("GET / HTTP/1.1\r\n\r\n", BadRequest),                          // no Host
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", BadRequest),                 // empty Host
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", BadRequest),    // two Hosts
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", BadRequest),             // Host with a path
            ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", BadRequest),            // Host list
            ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", BadRequest),         // bad port
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", BadRequest),              // space before colon
            ("GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n", BadRequest), // obs-fold
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),              // two spaces
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),            // space in target
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),            // fragment
            ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),         // beyond ASCII
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),               // relative target
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),               // asterisk without OPTIONS
            ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),        // another scheme
            ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),     // userinfo
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n", BadRequest), // NUL
            ("GET / HTTP/1.1\r\nHost: a\r\nX\u{b}: b\r\n\r\n", BadRequest),  // bad name
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                BadRequest,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                BadRequest,
            ),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", BadRequest),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n",
                BadRequest,
            ),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", BadRequest),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\nTransfer-Encoding: x\r\n\r\n",
                BadRequest,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
                BadRequest,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                NotImplemented,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
                BadRequest,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n",
                BadRequest,
            ),
            (
                "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                BadRequest,
            ),
            ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", MethodNotAllowed),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", MethodNotAllowed),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", VersionNotSupported),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", ExpectationFailed),
        ];
        for (head, reason) in cases {
            assert_eq!(judged(head), Err(reason), "{head:?}");
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(300));
        assert_eq!(judged(&long), Err(UriTooLong));
    }

    #[test]
    fn absolute_form_becomes_origin_form_with_its_own_host() {
        let head = b"GET http://b.test/x?y HTTP/1.1\r\nhost: a\r\nX: 1\r\n\r\n";
        let absolute = judge(head, &LIMITS).expect("good").absolute.expect("absolute");
        let mut out = Vec::new();
        to_origin_form(head, &absolute, &mut out);
        assert_eq!(out, b"GET /x?y HTTP/1.1\r\nHost: b.test\r\nX: 1\r\n\r\n");
        let bare = judged("GET http://b.test?q HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("good")
            .absolute
            .expect("absolute");
        assert_eq!(bare.path, "/?q");
    }
}
