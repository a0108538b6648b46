//! Response header fields: a preset, and what is set, appended and removed on top of it. Each field leaves once.

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// A ready set of security fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// For pages.
    Web,
    /// For APIs.
    Api,
    /// For pages that embed nothing and are embedded nowhere.
    Strict,
    /// No fields.
    None,
}

/// What to do about `Content-Security-Policy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentSecurityPolicy {
    /// Keep the application's; where it sends none, none is added. Never two policies.
    Upstream,
    /// Replace the application's by this one.
    Set(HeaderValue),
}

/// `[headers.NAME]`, compiled.
///
/// The steps are taken in this order: the preset's fields replace the application's, the content security policy,
/// `remove` (it also takes out a field of the preset), `set`, `append`.
#[derive(Debug, Clone)]
pub struct HeaderPolicy {
    /// The ready set to begin with.
    pub preset: Preset,
    /// What to do about the content security policy; `None`: what the preset says.
    pub content_security_policy: Option<ContentSecurityPolicy>,
    /// Replaces every field of that name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Adds a further field line.
    pub append: Vec<(HeaderName, HeaderValue)>,
    /// Removes every field of that name that the upstream sent.
    pub remove: Vec<HeaderName>,
}

impl HeaderPolicy {
    /// Applies the policy to the fields of a final answer, the application's or our own.
    ///
    /// `tls`: the client came over TLS, as this listener or a trusted proxy knows it. Without it
    /// `Strict-Transport-Security` is taken out, whoever sent it (RFC 6797 §7.2), unless `set` or `append` names it.
    pub fn apply(&self, tls: bool, headers: &mut HeaderMap) {
        for (name, value) in self.preset.fields() {
            headers.insert(name, value.clone());
        }
        if !tls {
            headers.remove(STRICT_TRANSPORT_SECURITY);
        } else if self.preset != Preset::None {
            headers.insert(STRICT_TRANSPORT_SECURITY, ONE_YEAR);
        }
        match &self.content_security_policy {
            Some(ContentSecurityPolicy::Upstream) => {}
            Some(ContentSecurityPolicy::Set(policy)) => {
                headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
            }
            None => self.preset.content_security_policy(headers),
        }
        for name in self.remove.iter().filter(|name| !Self::is_reserved(name)) {
            headers.remove(name);
        }
        for (name, value) in self.set.iter().filter(|(name, _)| !Self::is_reserved(name)) {
            headers.insert(name, value.clone());
        }
        for (name, value) in self.append.iter().filter(|(name, _)| !Self::is_reserved(name)) {
            headers.append(name, value.clone());
        }
    }

    /// Whether a field belongs to the connection or to the framing of the message (RFC 9110 §7.6.1, RFC 9112 §6). No
    /// policy touches these: one that names them is passed over.
    #[must_use]
    pub fn is_reserved(name: &HeaderName) -> bool {
        RESERVED.contains(name)
    }
}

impl Preset {
    /// What replaces the application's fields, clear text or not.
    fn fields(self) -> &'static [(HeaderName, HeaderValue)] {
        match self {
            Self::Web => &WEB,
            Self::Api => &API,
            Self::Strict => &STRICT,
            Self::None => &[],
        }
    }

    fn content_security_policy(self, headers: &mut HeaderMap) {
        match self {
            Self::Api => {
                headers.entry(CONTENT_SECURITY_POLICY).or_insert(DENY_ALL);
            }
            Self::Strict => {
                headers.insert(CONTENT_SECURITY_POLICY, SELF_ONLY);
            }
            Self::Web | Self::None => {}
        }
    }
}

// A `static` of fields is copied by reference count only; the names of `http` are constants already.
const NOSNIFF: (HeaderName, HeaderValue) = (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
const NO_REFERRER: (HeaderName, HeaderValue) = (REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
// The filter of old browsers opened holes of its own; an application's `1; mode=block` must not switch it on.
const NO_XSS_FILTER: (HeaderName, HeaderValue) = (X_XSS_PROTECTION, HeaderValue::from_static("0"));
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

static WEB: [(HeaderName, HeaderValue); 5] = [
    NOSNIFF,
    (X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN")),
    (
        REFERRER_POLICY,
        HeaderValue::from_static("strict-origin-when-cross-origin"),
    ),
    NO_XSS_FILTER,
    // Devices that a shop has no use for. Location, payment and full screen keep the browser's rule: this site only.
    (
        PERMISSIONS_POLICY,
        HeaderValue::from_static(
            "camera=(), microphone=(), display-capture=(), midi=(), usb=(), serial=(), hid=(), bluetooth=()",
        ),
    ),
];

static API: [(HeaderName, HeaderValue); 2] = [NOSNIFF, NO_REFERRER];

static STRICT: [(HeaderName, HeaderValue); 7] = [
    NOSNIFF,
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    NO_REFERRER,
    NO_XSS_FILTER,
    (
        PERMISSIONS_POLICY,
        HeaderValue::from_static(
            "camera=(), microphone=(), display-capture=(), midi=(), usb=(), serial=(), hid=(), bluetooth=(), \
             geolocation=(), payment=()",
        ),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

const ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");
const DENY_ALL: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const SELF_ONLY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
);

static RESERVED: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
    TRAILER,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(preset: Preset) -> HeaderPolicy {
        HeaderPolicy {
            preset,
            content_security_policy: None,
            set: Vec::new(),
            append: Vec::new(),
            remove: Vec::new(),
        }
    }

    fn fields(pairs: &[(&'static str, &'static str)]) -> Vec<(HeaderName, HeaderValue)> {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields(pairs) {
            headers.append(name, value);
        }
        headers
    }

    fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
        headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect()
    }

    /// What helmet 7 sends by default, as observed.
    fn helmet() -> HeaderMap {
        map(&[
            (
                "content-security-policy",
                "default-src 'self';connect-src https://x.googleapis.com",
            ),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("origin-agent-cluster", "?1"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=15552000; includeSubDomains"),
            ("x-content-type-options", "nosniff"),
            ("x-dns-prefetch-control", "off"),
            ("x-download-options", "noopen"),
            ("x-frame-options", "SAMEORIGIN"),
            ("x-permitted-cross-domain-policies", "none"),
            ("x-xss-protection", "0"),
        ])
    }

    #[test]
    fn no_field_of_the_application_is_doubled() {
        for preset in [Preset::Web, Preset::Api, Preset::Strict, Preset::None] {
            for tls in [false, true] {
                let mut headers = helmet();
                policy(preset).apply(tls, &mut headers);
                for name in headers.keys() {
                    assert_eq!(headers.get_all(name).iter().count(), 1, "{preset:?} {name}");
                }
            }
        }
    }

    #[test]
    fn presets_say_what_they_promise() {
        for (preset, name, expected) in [
            (Preset::Web, "x-content-type-options", Some("nosniff")),
            (Preset::Web, "x-frame-options", Some("SAMEORIGIN")),
            (Preset::Web, "referrer-policy", Some("strict-origin-when-cross-origin")),
            (Preset::Web, "x-xss-protection", Some("0")),
            (Preset::Web, "content-security-policy", None),
            (Preset::Api, "referrer-policy", Some("no-referrer")),
            (
                Preset::Api,
                "content-security-policy",
                Some("default-src 'none'; frame-ancestors 'none'"),
            ),
            (Preset::Api, "x-frame-options", None),
            (Preset::Strict, "x-frame-options", Some("DENY")),
            (Preset::Strict, "cross-origin-opener-policy", Some("same-origin")),
            (Preset::Strict, "cross-origin-resource-policy", Some("same-origin")),
            (Preset::None, "x-content-type-options", None),
        ] {
            let mut headers = HeaderMap::new();
            policy(preset).apply(true, &mut headers);
            assert_eq!(
                headers.get(name).map(|value| value.to_str().unwrap()),
                expected,
                "{preset:?} {name}"
            );
        }
        let mut headers = HeaderMap::new();
        policy(Preset::Web).apply(true, &mut headers);
        for kept in ["geolocation", "payment"] {
            assert!(!all(&headers, "permissions-policy")[0].contains(kept));
        }
    }

    #[test]
    fn hsts_only_leaves_over_tls() {
        for preset in [Preset::Web, Preset::Api, Preset::Strict] {
            let mut headers = helmet();
            policy(preset).apply(true, &mut headers);
            assert_eq!(
                all(&headers, "strict-transport-security"),
                ["max-age=31536000; includeSubDomains"]
            );
            policy(preset).apply(false, &mut headers);
            assert!(all(&headers, "strict-transport-security").is_empty());
        }
        let mut headers = helmet();
        policy(Preset::None).apply(true, &mut headers);
        assert_eq!(
            all(&headers, "strict-transport-security"),
            ["max-age=15552000; includeSubDomains"]
        );
        policy(Preset::None).apply(false, &mut headers);
        assert!(all(&headers, "strict-transport-security").is_empty());
    }

    #[test]
    fn there_are_never_two_content_security_policies() {
        let own = "default-src 'self';connect-src https://x.googleapis.com";
        let set = ContentSecurityPolicy::Set(HeaderValue::from_static("default-src https:"));
        let strict = SELF_ONLY.to_str().unwrap().to_owned();
        let deny = DENY_ALL.to_str().unwrap().to_owned();
        let upstream = || Some(ContentSecurityPolicy::Upstream);
        for (preset, rule, with, without) in [
            (Preset::Web, None, Some(own), None),
            (Preset::Web, upstream(), Some(own), None),
            (
                Preset::Web,
                Some(set.clone()),
                Some("default-src https:"),
                Some("default-src https:"),
            ),
            (Preset::Api, None, Some(own), Some(deny.as_str())),
            (Preset::Api, upstream(), Some(own), None),
            (Preset::Strict, None, Some(strict.as_str()), Some(strict.as_str())),
            (Preset::Strict, upstream(), Some(own), None),
            (
                Preset::None,
                Some(set),
                Some("default-src https:"),
                Some("default-src https:"),
            ),
        ] {
            let mut policy = policy(preset);
            policy.content_security_policy = rule;
            for (mut headers, expected) in [(helmet(), with), (HeaderMap::new(), without)] {
                policy.apply(false, &mut headers);
                assert_eq!(
                    all(&headers, "content-security-policy"),
                    Vec::from_iter(expected),
                    "{policy:?}"
                );
            }
        }
    }

    #[test]
    fn removes_then_sets_then_appends() {
        let mut policy = policy(Preset::Web);
        policy.remove = vec![
            HeaderName::from_static("x-powered-by"),
            HeaderName::from_static("x-frame-options"),
            HeaderName::from_static("x-both"),
            HeaderName::from_static("link"),
        ];
        policy.set = fields(&[("x-both", "set"), ("x-three", "one")]);
        policy.append = fields(&[("link", "</a>"), ("link", "</b>"), ("x-both", "appended")]);
        let mut headers = map(&[
            ("x-powered-by", "Express"),
            ("x-powered-by", "again"),
            ("x-both", "upstream"),
            ("x-three", "two"),
            ("x-three", "three"),
            ("link", "</upstream>"),
            ("server", "app"),
        ]);
        policy.apply(false, &mut headers);
        for (name, expected) in [
            ("x-powered-by", &[][..]),
            ("x-frame-options", &[]),
            ("x-both", &["set", "appended"]),
            ("x-three", &["one"]),
            ("link", &["</a>", "</b>"]),
            ("server", &["app"]),
            ("x-content-type-options", &["nosniff"]),
        ] {
            assert_eq!(all(&headers, name), expected, "{name}");
        }
    }

    #[test]
    fn framing_and_connection_fields_are_nobodys_business() {
        let mut policy = policy(Preset::None);
        policy.remove = vec![CONTENT_LENGTH, CONNECTION];
        policy.set = fields(&[("transfer-encoding", "chunked"), ("connection", "close")]);
        policy.append = fields(&[("content-length", "7"), ("keep-alive", "timeout=5")]);
        let mut headers = map(&[("content-length", "5"), ("connection", "keep-alive")]);
        let before = headers.clone();
        policy.apply(true, &mut headers);
        assert_eq!(headers, before);
    }
}
