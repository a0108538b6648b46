//! `redirect`: another place, with captures.

mod placeholder;
mod template;

use http::StatusCode;
use regex::Captures;

use crate::client::Scheme;
use crate::route::{escaped_byte, normalise, normalise_host};

use placeholder::Piece;
pub use template::{Template, TemplateError};

/// `redirect = { to, status }`, compiled.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// Where to.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// The route's path expression, for captures.
    pub captures: Option<regex::Regex>,
}

/// What the placeholders stand for.
struct Values<'a> {
    scheme: Scheme,
    host: &'a str,
    path: &'a str,
    query: &'a str,
    captures: Option<Captures<'a>>,
}

impl Redirect {
    /// The `Location` of a request. `path` and `query` are the raw ones; bytes that do not belong into a field or URI are
    /// percent-encoded; a path that begins with `//` cannot become another host.
    ///
    /// `host` is the validated one of the request; without a port in it `https://${host}` means the default port. Where
    /// it is empty or no host, a target on `${host}` becomes one on the place itself: a path. Captures are taken of the
    /// normalised path, which the expression matched. Always ASCII without control bytes or spaces.
    #[must_use]
    pub fn location(&self, scheme: Scheme, host: &str, path: &str, query: Option<&str>) -> String {
        let normal = normalise(path);
        let values = Values {
            scheme,
            host: if normalise_host(host).is_ok() { host } else { "" },
            path,
            query: query.unwrap_or_default(),
            captures: self
                .captures
                .as_ref()
                .zip(normal.as_deref().ok())
                .and_then(|(regex, path)| regex.captures(path)),
        };
        let mut out = String::with_capacity(host.len() + path.len() + values.query.len() + 64);
        if !self.to.origin.contains(&Piece::Host) || !values.host.is_empty() {
            for piece in &self.to.origin {
                values.push(&mut out, piece, false);
            }
        }
        let origin = out.len();
        let mut in_query = false;
        for piece in &self.to.rest {
            values.push(&mut out, piece, in_query);
            if let Piece::Text(text) = piece {
                in_query |= text.contains('?');
            }
        }
        stay_below(&mut out, origin);
        out
    }
}

/// Sees to it that what follows the origin cannot change the origin: it begins with one slash. On an origin it may also
/// be nothing, a query or a fragment.
fn stay_below(out: &mut String, origin: usize) {
    let rest = &out[origin..];
    if origin > 0 && (rest.is_empty() || rest.starts_with(['?', '#'])) {
        return;
    }
    let slashes = rest.len() - rest.trim_start_matches('/').len();
    out.replace_range(origin..origin + slashes, "/");
}

impl Values<'_> {
    fn push(&self, out: &mut String, piece: &Piece, in_query: bool) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Scheme => out.push_str(self.scheme.as_str()),
            Piece::Host => out.push_str(self.host),
            Piece::Path => push_encoded(out, self.path, if in_query { IN_PARAMETER } else { IN_PATH }),
            Piece::Query if self.query.is_empty() => {
                // The mark before a query that is not there.
                if out.ends_with(['?', '&']) {
                    out.pop();
                }
            }
            Piece::Query => push_encoded(out, self.query, IN_QUERY),
            Piece::Capture(number) => {
                let group = self.captures.as_ref().and_then(|captures| captures.get(*number));
                let text = group.map_or("", |group| group.as_str());
                push_encoded(out, text, if in_query { IN_PARAMETER } else { IN_PATH });
            }
        }
    }
}

/// Bytes that are encoded although they may stand in a URI.
const IN_PATH: &[u8] = b"?#";
const IN_QUERY: &[u8] = b"#";
/// A path within a query must not end its parameter.
const IN_PARAMETER: &[u8] = b"?#&=+";

/// Appends text, percent-encoding what cannot stand in a URI (RFC 3986 appendix A) and these bytes. Escapes stay.
fn push_encoded(out: &mut String, text: &str, also: &[u8]) {
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        let stays = match byte {
            b'%' => escaped_byte(bytes, at).is_some(),
            0..=b' ' | 0x7F.. | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
            _ => !also.contains(&byte),
        };
        if stays {
            out.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn location(to: &str, captures: Option<&str>, host: &str, path: &str, query: Option<&str>) -> String {
        let captures = captures.map(|regex| regex::Regex::new(regex).unwrap());
        let redirect = Redirect {
            to: Template::parse(to, captures.as_ref()).expect(to),
            status: StatusCode::MOVED_PERMANENTLY,
            captures,
        };
        redirect.location(Scheme::Http, host, path, query)
    }

    #[test]
    fn targets() {
        let table = [
            (
                "https://${host}${path}?${query}",
                "/a/%7Eb",
                Some("x=1&y"),
                "https://example.com/a/%7Eb?x=1&y",
            ),
            ("https://${host}${path}?${query}", "/a", None, "https://example.com/a"),
            (
                "https://${host}${path}?${query}",
                "/a",
                Some(""),
                "https://example.com/a",
            ),
            (
                "https://${host}${path}?v=2&${query}",
                "/a",
                None,
                "https://example.com/a?v=2",
            ),
            (
                "https://${host}${path}?v=2&${query}",
                "/a",
                Some("x"),
                "https://example.com/a?v=2&x",
            ),
            (
                "https://${host}:8443${path}",
                "/a",
                Some("x"),
                "https://example.com:8443/a",
            ),
            ("${scheme}://www.${host}${path}", "/a", None, "http://www.example.com/a"),
            ("https://new.example", "/a", None, "https://new.example"),
            ("https://new.example?${query}", "/a", Some("q"), "https://new.example?q"),
            ("https://new.example#top", "/a", None, "https://new.example#top"),
            ("/new${path}", "/a", None, "/new/a"),
            ("${path}/", "/a", None, "/a/"),
            ("/login?next=${path}", "/a&b=c+d", None, "/login?next=/a%26b%3Dc%2Bd"),
            ("/price/$$5", "/a", None, "/price/$5"),
        ];
        for (to, path, query, wanted) in table {
            assert_eq!(location(to, None, "example.com", path, query), wanted, "{to} {path}");
        }
    }

    #[test]
    fn captures() {
        let regex = Some(r"^/deal/(\d+)(?<rest>/.*)?$");
        let table = [
            ("/deals/$1", "/deal/7", "/deals/7"),
            ("/deals/${1}${rest}", "/deal/7/x", "/deals/7/x"),
            ("/deals/${1}${rest}", "/deal/7", "/deals/7"),
            ("/deals/$1", "/%64eal/7", "/deals/7"),
            ("https://new.example${rest}", "/deal/7/x", "https://new.example/x"),
            ("https://new.example${rest}", "/deal/7", "https://new.example"),
            ("https://new.example$1", "/deal/7", "https://new.example/7"),
            ("$1", "/deal/7", "/7"),
            ("/deals/$1", "/other", "/deals/"),
            ("/d?id=$1", "/deal/7", "/d?id=7"),
        ];
        for (to, path, wanted) in table {
            assert_eq!(location(to, regex, "example.com", path, None), wanted, "{to} {path}");
        }
    }

    #[test]
    fn no_request_names_another_host() {
        let any = Some("^/(.*)$");
        let table = [
            ("${path}", None, "//evil.example/x", "/evil.example/x"),
            ("${path}", None, "///evil.example", "/evil.example"),
            ("${path}", None, "/\\evil.example", "/%5Cevil.example"),
            ("${path}", None, "\\\\evil.example", "/%5C%5Cevil.example"),
            ("${path}", None, "/\t/evil.example", "/%09/evil.example"),
            ("${path}", None, "/\r\nSet-Cookie: a=b", "/%0D%0ASet-Cookie:%20a=b"),
            ("${path}", None, "https://evil.example", "/https://evil.example"),
            ("${path}", None, "", "/"),
            ("${path}", None, "/a\u{e9}\"<>?#", "/a%C3%A9%22%3C%3E%3F%23"),
            ("${path}", None, "/100%/%4", "/100%25/%254"),
            ("/${path}", None, "/evil.example", "/evil.example"),
            ("/$1", Some("^(.*)$"), "/evil.example", "/evil.example"),
            ("$1", any, "/https://evil.example", "/https:/evil.example"),
            (
                "https://good.example$1",
                any,
                "/.evil.example",
                "https://good.example/.evil.example",
            ),
            (
                "https://good.example$1",
                any,
                "/@evil.example",
                "https://good.example/@evil.example",
            ),
            (
                "https://good.example${path}",
                None,
                "@evil.example",
                "https://good.example/@evil.example",
            ),
            (
                "https://good.example${path}",
                None,
                "//evil.example",
                "https://good.example/evil.example",
            ),
        ];
        for (to, regex, path, wanted) in table {
            assert_eq!(location(to, regex, "example.com", path, None), wanted, "{to} {path}");
        }
        assert_eq!(
            location("/x?${query}", None, "h", "/", Some("a\r\nb c#d%")),
            "/x?a%0D%0Ab%20c%23d%25"
        );
    }

    #[test]
    fn without_a_host_the_target_is_a_path() {
        for host in ["", "evil.example/x", "a b", "user@evil.example", "a\r\nb"] {
            assert_eq!(
                location("https://${host}${path}", None, host, "/evil.example", None),
                "/evil.example",
                "{host}"
            );
        }
        assert_eq!(location("https://${host}", None, "", "/a", None), "/");
        assert_eq!(location("https://${host}?${query}", None, "", "/a", Some("q")), "/?q");
        assert_eq!(location("/x?h=${host}", None, "a b", "/", None), "/x?h=");
    }

    proptest! {
        #[test]
        fn a_location_is_clean_and_stays(
            to in prop::sample::select(vec![
                "${path}", "/x${path}?${query}", "$1", "/$1$2", "https://${host}${path}?${query}", "https://h.example$1", "${scheme}://${host}$2",
            ]),
            host in prop_oneof![Just("h.example".to_owned()), any::<String>()],
            path in prop_oneof!["/{0,3}[ -~]{0,20}", "[/\\\\a.%:@]{0,12}", any::<String>()],
            query in prop::option::of(any::<String>()),
        ) {
            let regex = Some("^(/?[a-z]*)(.*)$");
            let location = location(to, regex, &host, &path, query.as_deref());
            prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{location}");
            if let Some((_, after)) = location.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme)) {
                let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
                prop_assert!(authority == "h.example" || authority == host, "{location}");
            } else {
                prop_assert!(location.starts_with('/') && !location.starts_with("//"), "{location}");
            }
        }
    }
}
