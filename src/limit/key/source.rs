//! Where the parts of a key come from.

use std::fmt;

use http::HeaderName;
use http::header::COOKIE;

use super::Asker;

/// Kind of the part that holds a client's address.
pub(super) const CLIENT: u8 = 1;
/// Kind of the part that holds a network of clients.
pub(super) const NETWORK: u8 = 7;

/// What a part of a key is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The client's address; IPv4-mapped IPv6 is IPv4.
    ClientIp,
    /// A header field. The client chooses it: a limit by it alone holds nobody who invents values.
    Header(HeaderName),
    /// A cookie, by its name.
    Cookie(Box<str>),
    /// A query parameter, by its name; name and value are compared decoded (`+` is a space).
    Query(Box<str>),
    /// The name of the route.
    Route,
    /// The host.
    Host,
    /// A claim of a verified token, or of whatever else tells who asks. Two ways of `auth` know different people.
    Claim(Box<str>),
}

/// What a request has of a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// The client's address.
    Client,
    /// These bytes.
    Plain(&'a [u8]),
    /// This text, made for the purpose.
    Owned(String),
    /// This text, percent-encoded.
    Escaped(&'a str),
    /// Nothing, or more than one.
    Missing,
}

impl fmt::Display for Source {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client-ip"),
            Self::Route => f.write_str("route"),
            Self::Host => f.write_str("host"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Claim(name) => write!(f, "jwt:{name}"),
        }
    }
}

impl Source {
    /// The kind of the part; part of the format of shared keys.
    pub(super) fn tag(&self) -> u8 {
        match self {
            Self::ClientIp => CLIENT,
            Self::Header(_) => 2,
            Self::Cookie(_) => 3,
            Self::Query(_) => 4,
            Self::Route => 5,
            Self::Host => 6,
            Self::Claim(_) => 8, // 7 is a network
        }
    }

    pub(super) fn value<'a>(&self, asker: &Asker<'a>) -> Value<'a> {
        match self {
            Self::ClientIp => Value::Client,
            Self::Header(name) => plain(only(asker.headers.get_all(name).iter().map(|line| line.as_bytes()))),
            Self::Cookie(name) => plain(only(cookies(asker, name.as_bytes()))),
            Self::Query(name) => match only(parameters(asker, name.as_bytes())) {
                Some(value) if !value.is_empty() => Value::Escaped(value),
                _ => Value::Missing,
            },
            Self::Route => plain(Some(asker.route.as_bytes())),
            Self::Host => plain(Some(asker.host.as_bytes())),
            Self::Claim(name) => match asker.subject.and_then(|subject| Some((subject, subject.claim(name)?))) {
                Some((subject, claim)) => Value::Owned(format!("{}:{claim}", subject.method)),
                None => Value::Missing,
            },
        }
    }
}

fn plain(value: Option<&[u8]>) -> Value<'_> {
    match value.map(<[u8]>::trim_ascii) {
        Some(value) if !value.is_empty() => Value::Plain(value),
        _ => Value::Missing,
    }
}

/// The only one; `None` if there is none or another.
fn only<T>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// The values of a cookie (RFC 6265 §5.4), of all lines.
fn cookies<'a>(asker: &Asker<'a>, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let lines = asker.headers.get_all(COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    pairs.filter_map(move |pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        (pair[..equals].trim_ascii() == name).then(|| &pair[equals + 1..])
    })
}

/// The values of a query parameter, still encoded.
fn parameters<'a>(asker: &Asker<'a>, name: &[u8]) -> impl Iterator<Item = &'a str> {
    let pairs = asker.query.into_iter().flat_map(|query| query.split('&'));
    pairs.filter_map(move |pair| {
        let (own, value) = pair.split_once('=').unwrap_or((pair, ""));
        decoded(own).eq(name.iter().copied()).then_some(value)
    })
}

/// The bytes of a text of a query: `%XX` is one byte, `+` a space, and what is no escape stands for itself.
pub(super) fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&first, behind) = rest.split_first()?;
        rest = behind;
        match (first, behind) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    Some(high << 4 | low)
                }
                _ => Some(b'%'),
            },
            _ => Some(first),
        }
    })
}

fn digit(character: u8) -> Option<u8> {
    let value = char::from(character).to_digit(16)?;
    u8::try_from(value).ok()
}
