//! What arrives in clear text is sent to https: `redirect_http`.

/// Paths that are served in clear text all the same: whoever checks the gateway's health need not speak TLS, and a
/// certificate authority must not have to (RFC 8555 §8.3).
const EXEMPT: [&str; 2] = ["/health", "/.well-known/acme-challenge"];

/// Sends clients to https.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToHttps {
    /// The port that is spoken TLS on, as clients see it.
    pub port: u16,
}

impl ToHttps {
    /// Where a request in clear text is sent; `None`: it is served. `host`: without port; `path`: normalised; `target`: path
    /// and query as they were sent.
    #[must_use]
    pub fn location(self, host: &str, path: &str, target: &str) -> Option<String> {
        let below = |prefix: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if EXEMPT.into_iter().any(below) {
            return None;
        }
        let target = if target.starts_with('/') { target } else { "/" }; // OPTIONS *
        Some(match self.port {
            443 => format!("https://{host}{target}"),
            port => format!("https://{host}:{port}{target}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_the_same_over_tls() {
        let (standard, other) = (ToHttps { port: 443 }, ToHttps { port: 8443 });
        let to = |to: ToHttps, host, path, target| to.location(host, path, target);
        let location = to(standard, "site.test", "/a", "/a?b=%2F");
        assert_eq!(location.as_deref(), Some("https://site.test/a?b=%2F"));
        let location = to(other, "[2001:db8::1]", "/", "/");
        assert_eq!(location.as_deref(), Some("https://[2001:db8::1]:8443/"));
        assert_eq!(to(standard, "a", "*", "*").as_deref(), Some("https://a/"));
        for served in ["/health", "/health/live", "/.well-known/acme-challenge/token"] {
            assert_eq!(to(standard, "a", served, served), None, "{served}");
        }
        for sent in ["/healthy", "/.well-known/acme-challenges", "/a/health"] {
            assert!(to(standard, "a", sent, sent).is_some(), "{sent}");
        }
    }
}
