//! The pages of the admin listener: which path is which, and what may be done with it. A new page is an entry here and a
//! line in `answer` of the module above.

use std::borrow::Cow;

use http::Method;

use super::orders::Order;

/// A page, with what its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// `/livez`: the process answers.
    Livez,
    /// `/readyz`: whether requests should be sent here.
    Readyz,
    /// `/metrics`
    Metrics,
    /// `/upstreams`, and `/api/v1/upstreams` for programs.
    Upstreams {
        /// Only this one.
        upstream: Option<String>,
        /// Who asks is a program, whatever it says that it accepts.
        api: bool,
    },
    /// `/api/v1/status`: the process.
    Status,
    /// `/api/v1/certificates`
    Certificates,
    /// `/api/v1/log`: how much the gateway's own log tells.
    Log,
    /// `/api/v1/openapi.json`
    OpenApi,
    /// `/api/v1/cache`: the caches.
    Caches,
    /// `/api/v1/cache/purge`
    Purge,
    /// `/api/v1/cache/explain`
    ExplainCache,
    /// `/api/v1/upstreams/{upstream}/servers/{server}/drain` and `…/undrain`
    Drain {
        /// The upstream.
        upstream: String,
        /// The server, as the file names it, or one of its addresses.
        server: String,
        /// Whether it is taken out or put back.
        out: bool,
    },
    /// `/api/v1/limits/report`
    LimitsReport,
    /// `/api/v1/limits/{limit}/keys/{part}`, with as many parts as the limit's key has
    LimitKey {
        /// The limit.
        limit: String,
        /// What identifies the client.
        parts: Vec<String>,
    },
    /// `/api/v1/bans`
    Bans,
    /// `/api/v1/bans/{client}`
    Ban {
        /// An address or a network.
        client: String,
    },
    /// `/api/v1/reload`, `rollback`, `confirm`, `history`, `upgrade`, `config`
    Order(Order),
}

const READ: &str = "GET, HEAD";
const SETTING: &str = "GET, HEAD, PUT";
const ORDER: &str = "POST";
const REMOVE: &str = "DELETE";
const READ_OR_REMOVE: &str = "GET, HEAD, DELETE";

impl Page {
    /// The page of a path. Names in it are percent-encoded: a server may have a `/` in its name.
    pub(super) fn find(path: &str) -> Option<Self> {
        let segments = segments(path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let upstreams = |upstream: Option<&str>, api| Self::Upstreams {
            upstream: upstream.map(str::to_owned),
            api,
        };
        Some(match *segments.as_slice() {
            ["livez"] => Self::Livez,
            ["readyz"] => Self::Readyz,
            ["metrics"] => Self::Metrics,
            ["upstreams"] => upstreams(None, false),
            ["upstreams", upstream] => upstreams(Some(upstream), false),
            ["api", "v1", "status"] => Self::Status,
            ["api", "v1", "certificates"] => Self::Certificates,
            ["api", "v1", "log"] => Self::Log,
            ["api", "v1", "openapi.json"] => Self::OpenApi,
            ["api", "v1", "config"] => Self::Order(Order::Config),
            ["api", "v1", "cache"] => Self::Caches,
            ["api", "v1", "cache", "purge"] => Self::Purge,
            ["api", "v1", "cache", "explain"] => Self::ExplainCache,
            ["api", "v1", "upstreams"] => upstreams(None, true),
            ["api", "v1", "upstreams", upstream] => upstreams(Some(upstream), true),
            [
                "api",
                "v1",
                "upstreams",
                upstream,
                "servers",
                server,
                order @ ("drain" | "undrain"),
            ] => Self::Drain {
                upstream: upstream.to_owned(),
                server: server.to_owned(),
                out: order == "drain",
            },
            ["api", "v1", "limits", "report"] => Self::LimitsReport,
            ["api", "v1", "limits", limit, "keys", ref parts @ ..] if !parts.is_empty() => Self::LimitKey {
                limit: limit.to_owned(),
                parts: parts.iter().map(|part| (*part).to_owned()).collect(),
            },
            ["api", "v1", "bans"] => Self::Bans,
            ["api", "v1", "bans", client] => Self::Ban {
                client: client.to_owned(),
            },
            ["api", "v1", "reload"] => Self::Order(Order::Reload),
            ["api", "v1", "rollback"] => Self::Order(Order::Rollback),
            ["api", "v1", "confirm"] => Self::Order(Order::Confirm),
            ["api", "v1", "upgrade"] => Self::Order(Order::Upgrade),
            ["api", "v1", "history"] => Self::Order(Order::History),
            _ => return None,
        })
    }

    /// The methods that it takes, as `Allow` lists them.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Livez
            | Self::Readyz
            | Self::Metrics
            | Self::Upstreams { .. }
            | Self::LimitsReport
            | Self::Bans
            | Self::Caches
            | Self::Status
            | Self::Certificates
            | Self::OpenApi
            | Self::Order(Order::History | Order::Config) => READ,
            Self::Log => SETTING,
            Self::Drain { .. } | Self::Purge | Self::ExplainCache | Self::Order(_) => ORDER,
            Self::Ban { .. } => REMOVE,
            Self::LimitKey { .. } => READ_OR_REMOVE,
        }
    }

    /// Whether it takes this method.
    pub(super) fn takes(&self, method: &Method) -> bool {
        self.methods().split(", ").any(|taken| taken == method.as_str())
    }

    /// Whether it answers without the token, where there is one: what a probe of the platform must be able to ask.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Livez | Self::Readyz)
    }
}

/// The segments of a path, decoded; `None`: one of them is empty or no text. One slash at the end counts as none.
fn segments(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').map(decode).collect()
}

fn decode(segment: &str) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                digit(*high)? << 4 | digit(*low)?
            }
            (b'%', _) => return None,
            _ => byte,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

/// A path as logs show it: without what clients are told apart by, which may be a secret of theirs.
pub(super) fn for_log(path: &str) -> Cow<'_, str> {
    match Page::find(path) {
        Some(Page::LimitKey { limit, .. }) => format!("/api/v1/limits/{limit}/keys/…").into(),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths() {
        let drain = |server: &str, out| {
            Some(Page::Drain {
                upstream: "api".to_owned(),
                server: server.to_owned(),
                out,
            })
        };
        for (path, page) in [
            ("/livez", Some(Page::Livez)),
            ("/readyz/", Some(Page::Readyz)),
            ("/api/v1/cache/purge", Some(Page::Purge)),
            ("/api/v1/cache/explain", Some(Page::ExplainCache)),
            (
                "/api/v1/upstreams/api/servers/127.0.0.1:5000/drain",
                drain("127.0.0.1:5000", true),
            ),
            (
                "/api/v1/upstreams/api/servers/%5B%3A%3A1%5D%3A5000/undrain",
                drain("[::1]:5000", false),
            ),
            (
                "/api/v1/upstreams/api/servers/unix:%2Frun%2fapp.sock/drain",
                drain("unix:/run/app.sock", true),
            ),
            (
                "/api/v1/upstreams/api/servers/app:80@10.0.0.1:80/drain",
                drain("app:80@10.0.0.1:80", true),
            ),
            (
                "/api/v1/bans/2001:db8::%2F64",
                Some(Page::Ban {
                    client: "2001:db8::/64".to_owned(),
                }),
            ),
            (
                "/api/v1/limits/api/keys/192.0.2.1/a%2Fb",
                Some(Page::LimitKey {
                    limit: "api".to_owned(),
                    parts: vec!["192.0.2.1".to_owned(), "a/b".to_owned()],
                }),
            ),
            ("/api/v1/limits/api/keys", None),
            ("/api/v1/limits/api/keys//b", None),
            ("/api/v1/upstreams/api/servers//drain", None),
            ("/api/v1/upstreams/api/servers/a%2/drain", None),
            ("/api/v1/upstreams/api/servers/a%zz/drain", None),
            ("/api/v1/upstreams/api/servers/%ff/drain", None),
            ("/api/v1/upstreams/api/servers/a%0a/drain", None),
            ("/api/v1/upstreams/api/servers/a/b/drain", None),
            ("/api/v1/upstreams/api/servers/a/destroy", None),
            ("/LIVEZ", None),
            ("/", None),
            ("", None),
            ("*", None),
        ] {
            assert_eq!(Page::find(path), page, "{path}");
        }
    }

    #[test]
    fn methods() {
        assert!(Page::Livez.takes(&Method::HEAD) && !Page::Livez.takes(&Method::POST));
        let drain = Page::find("/api/v1/upstreams/a/servers/b/drain").unwrap();
        assert!(drain.takes(&Method::POST) && !drain.takes(&Method::GET) && !drain.is_open());
    }

    proptest! {
        #[test]
        fn never_panics(path in "\\PC{0,100}") {
            let _ = Page::find(&path);
        }
    }
}
