//! `cors`: which other sites' pages may read the answers (Fetch standard, "CORS protocol").

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::vary;

/// The longest list of requested fields that is echoed, bytes.
const MAX_ECHO: usize = 4096;

/// `[cors.NAME]`, compiled.
#[derive(Debug, Clone)]
pub struct Cors {
    /// Whose pages may read answers.
    pub origins: Origins,
    /// The methods, as the field lists them.
    pub methods: HeaderValue,
    /// The fields that a page may send.
    pub headers: RequestFields,
    /// The fields that a page may read, as the field lists them, beyond those that it always may.
    pub expose: Option<HeaderValue>,
    /// Whether pages may send cookies and read what comes back. Never together with [`Origins::Any`].
    pub credentials: bool,
    /// How long a preflight holds, seconds.
    pub max_age: HeaderValue,
    /// Whether pages of public sites may reach this one in a private network (Private Network Access).
    pub private_network: bool,
    /// Whether the application's own fields stay where it sends a sound set of them.
    pub keep_upstream: bool,
}

/// Whose pages may read answers.
#[derive(Debug, Clone)]
pub enum Origins {
    /// Everybody's. The answer is the same for all of them.
    Any,
    /// Those on the list.
    Listed(Vec<OriginPattern>),
}

/// An origin, or all those of the names below a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// This origin, as browsers write it: `https://deals247.online`, `http://localhost:5173`.
    Exact(Box<str>),
    /// Every name below a domain, by this scheme and at this port.
    Below {
        /// With its slashes: `https://`.
        scheme: Box<str>,
        /// Dot, domain and, where it is not the usual one, port: `.deals247.online:8443`.
        rest: Box<str>,
    },
}

/// The fields that a page may send.
#[derive(Debug, Clone)]
pub enum RequestFields {
    /// Those that it asks for, whatever they are.
    Any,
    /// These, as the field lists them; `None`: only those that it always may.
    Listed(Option<HeaderValue>),
}

/// The method of the request that a preflight announces; `None`: the request is no preflight.
#[must_use]
pub fn announced(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    let mut lines = headers.get_all(ACCESS_CONTROL_REQUEST_METHOD).iter();
    let announced = Method::from_bytes(lines.next()?.as_bytes()).ok()?;
    lines.next().is_none().then_some(announced)
}

impl Cors {
    /// The request fields that pages may send and that tell who a user is, by their names.
    pub fn identity_fields(&self) -> impl Iterator<Item = String> {
        let names = match &self.headers {
            RequestFields::Listed(Some(names)) => names.to_str().unwrap_or_default(),
            RequestFields::Listed(None) | RequestFields::Any => "",
        };
        names
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| {
                name == "authorization"
                    || ["-uid", "api-key", "token", "session", "user-id"]
                        .iter()
                        .any(|end| name.ends_with(end))
            })
    }

    /// Writes the fields of an answer, the application's or our own. `request`: the request's fields; `preflight`:
    /// whether it is one.
    pub fn apply(&self, request: &HeaderMap, preflight: bool, answer: &mut HeaderMap) {
        if self.keep_upstream && !preflight && is_sound(answer) {
            if answer
                .get(ACCESS_CONTROL_ALLOW_ORIGIN)
                .is_some_and(|value| value != "*")
            {
                vary::by(answer, "Origin");
            }
            return;
        }
        for field in &OURS {
            answer.remove(field);
        }
        let origin = match &self.origins {
            // The same for everybody, so that one cached answer serves everybody.
            Origins::Any => const { HeaderValue::from_static("*") },
            Origins::Listed(patterns) => {
                // Also where no origin was sent: a cache would hand that answer to one who sends one.
                vary::by(answer, "Origin");
                match listed(request, patterns) {
                    Some(origin) => origin.clone(),
                    None => return,
                }
            }
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if preflight {
            self.permit(request, answer);
        } else if let Some(expose) = &self.expose {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    /// What a preflight is told.
    fn permit(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        match &self.headers {
            RequestFields::Listed(None) => {}
            RequestFields::Listed(Some(headers)) => drop(answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone())),
            RequestFields::Any => {
                vary::by(answer, "Access-Control-Request-Headers");
                let asked = request.get(ACCESS_CONTROL_REQUEST_HEADERS);
                if let Some(asked) = asked.filter(|asked| is_list_of_names(asked.as_bytes())) {
                    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
                }
            }
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        if self.private_network
            && request
                .get(REQUEST_PRIVATE_NETWORK)
                .is_some_and(|asked| asked == "true")
        {
            answer.insert(ALLOW_PRIVATE_NETWORK, TRUE);
        }
    }
}

/// The request's origin, if it is on the list. Two of them are none: nobody knows which one the browser means.
fn listed<'a>(request: &'a HeaderMap, patterns: &[OriginPattern]) -> Option<&'a HeaderValue> {
    let mut lines = request.get_all(ORIGIN).iter();
    let origin = lines.next()?;
    let text = origin.to_str().ok()?;
    (lines.next().is_none() && patterns.iter().any(|pattern| pattern.matches(text))).then_some(origin)
}

impl OriginPattern {
    /// Whether this origin is meant. Byte by byte: browsers write origins in one way only (lower case, the usual port left
    /// out), and what is written otherwise is no browser's.
    #[must_use]
    pub fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *origin,
            Self::Below { scheme, rest } => origin
                .strip_prefix(&**scheme)
                .and_then(|host| host.strip_suffix(&**rest))
                .is_some_and(are_labels),
        }
    }
}

/// Whether this is one or more labels of a name, and nothing that would end a host or begin a port.
fn are_labels(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    text.split('.')
        .all(|label| !label.is_empty() && label.bytes().all(fits))
}

/// Whether the application says for itself who may read the answer: exactly once, or a browser believes nothing.
fn is_sound(answer: &HeaderMap) -> bool {
    answer.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter().count() == 1
}

fn is_list_of_names(text: &[u8]) -> bool {
    text.len() <= MAX_ECHO
        && text
            .split(|byte| *byte == b',')
            .all(|name| HeaderName::from_bytes(name.trim_ascii()).is_ok())
}

const TRUE: HeaderValue = HeaderValue::from_static("true");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// What an answer says about other sites: ours replaces it as a whole, or two halves would add up to more than either.
static OURS: [HeaderName; 7] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
    ALLOW_PRIVATE_NETWORK,
];

#[cfg(test)]
mod tests;
