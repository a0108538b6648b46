//! What a route asks of a request: host, path and further conditions.

use std::borrow::Cow;

use http::{Method, header};

use super::{HostPattern, PathPattern, Request, ValuePattern, escaped_byte};

/// One condition: a name and what its value must be.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Field name (lower case), parameter name or cookie name.
    pub name: Box<str>,
    /// What the value must be.
    pub value: ValuePattern,
}

/// Conditions beyond host and path; all must hold.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// Any of these methods; empty means every method. `GET` does not stand for `HEAD` too: write both.
    pub methods: Vec<Method>,
    /// Any of these extensions of the last path segment, lower case without the dot; empty means every path.
    pub extensions: Vec<Box<str>>,
    /// Header fields. A field line's whole value is compared; of several lines one must be taken.
    pub headers: Vec<Condition>,
    /// Query parameters, compared decoded (`+` is a space). Of several of one name one must be taken.
    pub query: Vec<Condition>,
    /// Cookies, compared as sent.
    pub cookies: Vec<Condition>,
}

/// What of a path makes no difference to the application: a route must not see one there either, or what it keeps closed
/// is reached by another name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Whether letters are upper or lower case, ASCII only: `/API` is `/api`. Paths of the matcher are in lower case
    /// then, see [`PathPattern::ignoring_case`].
    pub case: bool,
    /// A format behind the last segment: `/deals.json` is `/deals`.
    pub format: bool,
}

/// Everything a route asks of a request.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// Any of these hosts; empty means any host.
    pub hosts: Vec<HostPattern>,
    /// Any of these paths; never empty.
    pub paths: Vec<PathPattern>,
    /// What of a path is not looked at.
    pub ignored: Ignored,
    /// Further conditions.
    pub conditions: Conditions,
}

impl Matcher {
    /// The prefixes among its paths, the longest first.
    #[must_use]
    pub fn prefixes(&self) -> Vec<Box<str>> {
        let prefix = |path: &PathPattern| match path {
            PathPattern::Prefix(prefix) => Some(prefix.clone()),
            PathPattern::Exact(_) | PathPattern::Regex(_) => None,
        };
        let mut prefixes: Vec<Box<str>> = self.paths.iter().filter_map(prefix).collect();
        prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        prefixes
    }
}

impl Conditions {
    /// How many there are, for precedence: the methods count as one, so do the extensions.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(!self.methods.is_empty())
            + usize::from(!self.extensions.is_empty())
            + self.headers.len()
            + self.query.len()
            + self.cookies.len()
    }

    /// Whether all hold for this request.
    #[must_use]
    pub fn hold(&self, request: &Request<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(request.method))
            && (self.extensions.is_empty() || self.take_extension(request.path))
            && self.headers.iter().all(|condition| header_holds(condition, request))
            && self.query.iter().all(|condition| query_holds(condition, request))
            && self.cookies.iter().all(|condition| cookie_holds(condition, request))
    }

    fn take_extension(&self, path: &str) -> bool {
        extension(path).is_some_and(|found| self.extensions.iter().any(|wanted| wanted.eq_ignore_ascii_case(found)))
    }
}

/// The extension of the last segment: `gz` of `/a.tar.gz`, none of `/.js` and `/a.`.
fn extension(path: &str) -> Option<&str> {
    let (_, segment) = path.rsplit_once('/')?;
    let (stem, extension) = segment.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then_some(extension)
}

fn header_holds(condition: &Condition, request: &Request<'_>) -> bool {
    let mut values = request.headers.get_all(&*condition.name).iter();
    values.any(|value| condition.value.takes(value.as_bytes()))
}

fn query_holds(condition: &Condition, request: &Request<'_>) -> bool {
    let parameters = request.query.into_iter().flat_map(|query| query.split('&'));
    parameters.filter(|parameter| !parameter.is_empty()).any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        *decode(name) == *condition.name.as_bytes() && condition.value.takes(&decode(value))
    })
}

fn cookie_holds(condition: &Condition, request: &Request<'_>) -> bool {
    let lines = request.headers.get_all(header::COOKIE).iter();
    let mut cookies = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    cookies.any(|cookie| {
        let cookie = cookie.trim_ascii();
        let Some(at) = cookie.iter().position(|&byte| byte == b'=') else {
            return false;
        };
        cookie[..at] == *condition.name.as_bytes() && condition.value.takes(&cookie[at + 1..])
    })
}

/// Decodes a part of a query; borrows where nothing is encoded. A bad escape stands for itself.
fn decode(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match escaped_byte(bytes, at) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(if byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn condition(name: &str, value: &str) -> Condition {
        Condition {
            name: name.into(),
            value: ValuePattern::parse(value).unwrap(),
        }
    }

    fn holds(conditions: &Conditions, path: &str, query: Option<&str>, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        conditions.hold(&Request {
            method: &Method::GET,
            host: "h",
            path,
            query,
            headers: &map,
        })
    }

    #[test]
    fn extensions_are_of_the_last_segment() {
        let table = [
            ("/a.js", Some("js")),
            ("/a.JS", Some("JS")),
            ("/x.d/a.tar.gz", Some("gz")),
            ("/.js", None),
            ("/x/.js", None),
            ("/a.", None),
            ("/a.js/", None),
            ("/a.js/b", None),
            ("/", None),
        ];
        for (path, wanted) in table {
            assert_eq!(extension(path), wanted, "{path}");
        }
        let conditions = Conditions {
            extensions: vec!["js".into(), "css".into()],
            ..Conditions::default()
        };
        assert!(holds(&conditions, "/a.JS", None, &[]) && !holds(&conditions, "/a.jsx", None, &[]));
    }

    #[test]
    fn methods_do_not_imply_each_other() {
        let conditions = |methods: &[Method]| Conditions {
            methods: methods.to_vec(),
            ..Conditions::default()
        };
        assert!(holds(&conditions(&[Method::POST, Method::GET]), "/", None, &[]));
        assert!(!holds(&conditions(&[Method::HEAD]), "/", None, &[]));
    }

    #[test]
    fn header_fields() {
        let conditions = Conditions {
            headers: vec![condition("x-canary", "~^(1|yes)$")],
            ..Conditions::default()
        };
        assert!(holds(
            &conditions,
            "/",
            None,
            &[("x-canary", "no"), ("x-canary", "yes")]
        ));
        assert!(!holds(&conditions, "/", None, &[("x-canary", "no")]));
        assert!(!holds(&conditions, "/", None, &[]));
    }

    #[test]
    fn query_parameters_are_compared_decoded() {
        let conditions = Conditions {
            query: vec![condition("firebase_uid", "*"), condition("q", "a b")],
            ..Conditions::default()
        };
        for query in [
            "firebase_uid=u&q=a+b",
            "q=a%20b&firebase%5Fuid",
            "&&q=x&q=a b&firebase_uid=",
        ] {
            assert!(holds(&conditions, "/", Some(query), &[]), "{query}");
        }
        for query in [
            "",
            "firebase_uid=u",
            "firebase_uid=u&q=a%2Bb",
            "xfirebase_uid=u&q=a b",
            "firebase_uid&q=%zz",
        ] {
            assert!(!holds(&conditions, "/", Some(query), &[]), "{query}");
        }
        assert!(!holds(&conditions, "/", None, &[]));
    }

    #[test]
    fn cookies_over_several_lines() {
        let conditions = Conditions {
            cookies: vec![condition("sid", "*"), condition("ab", "b=1")],
            ..Conditions::default()
        };
        assert!(holds(
            &conditions,
            "/",
            None,
            &[("cookie", "x=1; sid="), ("cookie", "ab=b=1")]
        ));
        assert!(!holds(&conditions, "/", None, &[("cookie", "xsid=1; ab=b=1")]));
        assert!(!holds(&conditions, "/", None, &[("cookie", "sid; ab=b=1")]));
    }

    #[test]
    fn kinds_are_counted() {
        let conditions = Conditions {
            methods: vec![Method::GET, Method::HEAD],
            extensions: vec!["js".into(), "css".into()],
            headers: vec![condition("a", "*"), condition("b", "*")],
            query: vec![condition("a", "*")],
            cookies: vec![condition("a", "*")],
        };
        assert_eq!(conditions.count(), 6);
        assert_eq!(Conditions::default().count(), 0);
    }
}
