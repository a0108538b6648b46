//! Whether an answer may be kept (RFC 9111 §3).

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, PROXY_AUTHENTICATE, SET_COOKIE, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, StatusCode};

use super::directives::{ResponseDirectives, Scope};
use super::freshness::{Exchanged, Source, Terms};
use super::list::elements;
use super::policy::Policy;
use super::vary;

/// The most bytes of fields that are kept of one answer.
const MOST_FIELD_BYTES: usize = 32 << 10;

/// Endings of paths that only files have.
const STATIC: &[&str] = &[
    "js", "mjs", "css", "png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "woff", "woff2", "ttf", "otf",
    "eot", "mp4", "webm", "mp3", "pdf", "zip", "gz", "wasm", "map", "csv", "txt",
];

/// Why an answer is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstorable {
    /// The request forbids it: `no-store`.
    Request,
    /// The answer forbids it: `no-store`.
    NoStore,
    /// It is for one user.
    Private,
    /// It was asked for with credentials, and does not say that it is for everybody.
    Authorization,
    /// It was asked for with cookies, and only the operator gives it a lifetime.
    Cookie,
    /// It sets cookies.
    SetCookie,
    /// It varies by more than the request: `Vary: *`.
    VaryStar,
    /// Its status is a part of an answer, or not final.
    Partial,
    /// Its status is not among those that are kept.
    Status,
    /// `must-understand`, and its status is not known.
    NotUnderstood,
    /// Nobody says how long it is good, or for no time at all and there is no way to ask.
    NoLifetime,
    /// Its body or head is larger than what is kept.
    TooLarge,
    /// The path is a file's and the answer a page or data: somebody may have made up the path.
    Deception,
    /// It was not asked for often enough.
    MinUses,
}

impl Unstorable {
    /// One word, for `Cache-Status` and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Request => "request-no-store",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::SetCookie => "set-cookie",
            Self::VaryStar => "vary-star",
            Self::Partial => "partial",
            Self::Status => "status",
            Self::NotUnderstood => "not-understood",
            Self::NoLifetime => "no-lifetime",
            Self::TooLarge => "too-large",
            Self::Deception => "not-what-the-path-says",
            Self::MinUses => "min-uses",
        }
    }

    /// Whether the next answer of the same URL is likely to be the same: such requests must not wait for one another.
    #[must_use]
    pub fn lasts(self) -> bool {
        !matches!(self, Self::Request | Self::MinUses)
    }
}

/// The request that an answer is for.
#[derive(Debug, Clone, Copy)]
pub struct For<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its fields.
    pub fields: &'a HeaderMap,
    /// It asks for nothing to be kept.
    pub no_store: bool,
}

/// Judges an answer to a GET.
///
/// # Errors
/// Why it is not kept.
pub fn storable(
    policy: &Policy,
    request: &For<'_>,
    status: StatusCode,
    answer: &HeaderMap,
    exchanged: Exchanged,
) -> Result<Terms, Unstorable> {
    let directives = ResponseDirectives::of(answer);
    if request.no_store {
        return Err(Unstorable::Request);
    }
    // RFC 9111 §3: final, and 206 and 304 are parts of something.
    if status.is_informational() || matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED) {
        return Err(Unstorable::Partial);
    }
    if directives.must_understand {
        // RFC 9111 §5.2.2.3: then `no-store` is for those who do not understand.
        if !understood(status) {
            return Err(Unstorable::NotUnderstood);
        }
    } else if directives.no_store {
        return Err(Unstorable::NoStore);
    }
    if directives.private == Scope::All {
        return Err(Unstorable::Private);
    }
    if vary::is_star(answer) {
        return Err(Unstorable::VaryStar);
    }
    if !policy.keeps(status) {
        return Err(Unstorable::Status);
    }
    let terms = Terms::new(policy, &directives, status, answer, exchanged);
    if request.fields.contains_key(AUTHORIZATION) && !terms.for_everybody {
        return Err(Unstorable::Authorization);
    }
    let by_operator = matches!(terms.source, Source::DefaultTtl | Source::Heuristic);
    if by_operator && request.fields.contains_key(COOKIE) && policy.key.cookies.is_empty() && !terms.for_everybody {
        return Err(Unstorable::Cookie);
    }
    if answer.contains_key(SET_COOKIE) && !policy.strip_cookies && !names(&directives.no_cache, &SET_COOKIE) {
        return Err(Unstorable::SetCookie);
    }
    if is_deception(request.path, status, answer) {
        return Err(Unstorable::Deception);
    }
    if content_length(answer).is_some_and(|length| length > policy.max_object) || size(answer) > MOST_FIELD_BYTES {
        return Err(Unstorable::TooLarge);
    }
    let can_be_asked_about =
        answer.contains_key(http::header::ETAG) || answer.contains_key(http::header::LAST_MODIFIED);
    let of_use = !terms.no_cache && terms.useful_for() > terms.initial_age;
    if terms.source == Source::Nobody || !(of_use || can_be_asked_about) {
        return Err(Unstorable::NoLifetime);
    }
    Ok(terms)
}

/// Takes out of an answer what must not be kept with it (RFC 9111 §3.1, RFC 9110 §7.6.1); the answer itself, as the
/// client that asked gets it, keeps what is `private` by name.
pub fn clean(policy: &Policy, answer: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = elements(answer, &CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    for name in nominated {
        answer.remove(name);
    }
    for name in [
        CONNECTION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        PROXY_AUTHENTICATE,
        http::header::PROXY_AUTHORIZATION,
        http::header::TRAILER,
    ] {
        answer.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authentication-info"] {
        answer.remove(name);
    }
    if let Scope::Fields(names) = ResponseDirectives::of(answer).private {
        for name in names {
            answer.remove(name);
        }
    }
    if policy.strip_cookies {
        answer.remove(SET_COOKIE);
    }
}

fn names(scope: &Scope, name: &HeaderName) -> bool {
    matches!(scope, Scope::Fields(fields) if fields.contains(name))
}

/// The statuses whose meaning for caches is known (RFC 9110 §15).
fn understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300..=303 | 307 | 308 | 400..=405 | 408 | 410 | 413 | 414 | 451 | 500..=505
    )
}

/// Whether somebody may have appended a made-up file name to a page of somebody else, to find it kept.
fn is_deception(path: &str, status: StatusCode, answer: &HeaderMap) -> bool {
    let Some((_, ending)) = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')) else {
        return false;
    };
    let is = |known: &&str| ending.eq_ignore_ascii_case(known);
    if !status.is_success() || !STATIC.iter().any(is) {
        return false;
    }
    let media = answer
        .get(CONTENT_TYPE)
        .map(|value| value.as_bytes())
        .unwrap_or_default();
    let media = media
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let json = media.eq_ignore_ascii_case(b"application/json") && !is(&"map");
    json || media.eq_ignore_ascii_case(b"text/html") || media.eq_ignore_ascii_case(b"application/xhtml+xml")
}

/// The announced length of a body.
pub(super) fn content_length(answer: &HeaderMap) -> Option<u64> {
    answer.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The bytes of all fields.
fn size(answer: &HeaderMap) -> usize {
    answer
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}

#[cfg(test)]
mod tests;
