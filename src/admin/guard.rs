//! Who may ask the admin listener for what.
//!
//! Three kinds of strangers come by: other machines, where the listener is reachable from them; pages of other sites in
//! the browser of somebody who works on this machine; and the same pages under a name of their own that they let point
//! here (DNS rebinding). A token keeps out all of them. A certificate keeps out other machines, and the rebound pages, whose
//! name the listener's own certificate is not for; a browser shows it for other sites' pages, too. Without either the
//! listener is on loopback, and what browsers say of where a request comes from keeps out the pages.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, header};
use ring::hmac;

use super::Way;
use crate::route;

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// No token, or a wrong one.
    Token,
    /// No certificate.
    Certificate,
    /// The `Host` is a name.
    Host,
    /// A page of another site may have caused it.
    CrossSite,
}

/// What who asks has to show.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    /// The token; `None`: none.
    pub(super) token: Option<&'a str>,
    /// A certificate; `None`: none.
    pub(super) certificate: Option<Certificate>,
}

/// A certificate that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Certificate {
    /// Every connection must have one.
    pub(super) required: bool,
    /// This connection has one.
    pub(super) shown: bool,
}

impl Wanted<'_> {
    /// Whether all that is asked for was shown.
    pub(super) fn is_met(&self, headers: &HeaderMap) -> bool {
        self.lacking(headers).is_none()
    }

    fn lacking(&self, headers: &HeaderMap) -> Option<Refused> {
        let lacks_token = self.token.is_some_and(|token| !bears(headers, token));
        let lacks_certificate = self.certificate.is_some_and(|certificate| !certificate.shown);
        match self.certificate {
            // Either will do.
            Some(Certificate { required: false, .. }) if self.token.is_some() => {
                (lacks_token && lacks_certificate).then_some(Refused::Token)
            }
            _ if lacks_certificate => Some(Refused::Certificate),
            _ => lacks_token.then_some(Refused::Token),
        }
    }
}

/// Judges a request. `open`: it may be answered to who shows nothing.
pub(super) fn judge(
    way: Way,
    method: &Method,
    headers: &HeaderMap,
    wanted: Wanted<'_>,
    open: bool,
) -> Result<(), Refused> {
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    let refused = match wanted {
        Wanted {
            token: None,
            certificate: None,
        } => {
            // What no page can open needs no proof that none did.
            let is_here = way == Way::Local || has_address(headers);
            (!is_here).then_some(Refused::Host)
        }
        _ if open && !changes => None,
        wanted => wanted.lacking(headers),
    };
    if let Some(refused) = refused {
        return Err(refused);
    }
    if changes && way == Way::Network && (is_foreign(headers) || !is_deliberate(headers)) {
        return Err(Refused::CrossSite);
    }
    Ok(())
}

/// Whether the request bears the token, compared in constant time.
pub(super) fn bears(headers: &HeaderMap, token: &str) -> bool {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(one), None) = (given.next(), given.next()) else {
        return false;
    };
    let Some((scheme, given)) = one.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return false;
    };
    // What is compared are the codes: neither contents nor length of the token show in the time it takes.
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"admin token");
    let code = hmac::sign(&key, given.trim().as_bytes());
    scheme.eq_ignore_ascii_case("bearer") && hmac::verify(&key, token.as_bytes(), code.as_ref()).is_ok()
}

/// A page of another site can make its visitor's browser ask here under that site's name; a name is therefore no way in,
/// an address or `localhost` is.
fn has_address(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(HeaderValue::to_str);
    match host {
        None => true,
        Some(Ok(host)) => is_address(host),
        Some(Err(_)) => false,
    }
}

fn is_address(host: &str) -> bool {
    let Ok((host, _port)) = route::normalise_host(host) else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok()
}

/// Whether the browser says that another site's page causes the request (Fetch Metadata, RFC 6454 §7).
fn is_foreign(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    if sites.any(|site| site != "same-origin" && site != "none") {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    headers.get_all(header::ORIGIN).iter().any(|origin| {
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        match (authority, host) {
            (Some((_, authority)), Some(host)) => !authority.eq_ignore_ascii_case(host),
            _ => true, // `null` among them: a page without an origin
        }
    })
}

/// Whether the request has something that a page of another site cannot give it without asking first (CORS protocol,
/// "simple requests"): for browsers that say nothing of where it comes from.
fn is_deliberate(headers: &HeaderMap) -> bool {
    let json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"));
    json || headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-requested-with")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    const BY_TOKEN: Wanted<'_> = Wanted {
        token: Some(TOKEN),
        certificate: None,
    };

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |&(name, value): &(&'static str, &str)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn only_addresses_are_a_way_in() {
        for good in [
            "127.0.0.1",
            "127.0.0.1:9900",
            "localhost:9900",
            "[::1]:9900",
            "10.0.0.7",
        ] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test:9900", ""] {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn a_token_is_needed_where_there_is_one() {
        let judge = |lines: &[_], open| judge(Way::Network, &Method::GET, &headers(lines), BY_TOKEN, open);
        for good in ["Bearer 0123456789abcdef", "bearer  0123456789abcdef "] {
            assert_eq!(judge(&[("authorization", good)], false), Ok(()), "{good}");
            let named = [("authorization", good), ("host", "gateway.internal:9900")];
            assert_eq!(judge(&named, false), Ok(()), "whoever has the token is no rebound page");
        }
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
        ] {
            assert_eq!(judge(&[("authorization", bad)], false), Err(Refused::Token), "{bad}");
        }
        let doubled = [
            ("authorization", "Bearer 0123456789abcdef"),
            ("authorization", "Bearer x"),
        ];
        let mut two = HeaderMap::new();
        for (name, value) in doubled {
            two.append(name, HeaderValue::from_static(value));
        }
        assert!(!bears(&two, TOKEN), "which one counts?");
        assert_eq!(judge(&[], false), Err(Refused::Token));
        assert_eq!(judge(&[], true), Ok(()), "an open page");
        assert_eq!(judge(&[("host", "gateway.internal")], true), Ok(()));
    }

    #[test]
    fn a_certificate_stands_for_the_token_or_beside_it() {
        let named = ("host", "gateway.internal:9900");
        let bearing = [named, ("authorization", "Bearer 0123456789abcdef")];
        let judge = |token, required, shown, bears, open| {
            let wanted = Wanted {
                token,
                certificate: Some(Certificate { required, shown }),
            };
            let lines = if bears { &bearing[..] } else { &bearing[..1] };
            judge(Way::Network, &Method::GET, &headers(lines), wanted, open)
        };
        let (alone, both) = (None, Some(TOKEN));
        for (token, required, shown, bears, verdict) in [
            (alone, true, true, false, Ok(())),
            (alone, true, false, false, Err(Refused::Certificate)),
            (alone, false, true, false, Ok(())),
            (alone, false, false, true, Err(Refused::Certificate)),
            (both, true, true, true, Ok(())),
            (both, true, true, false, Err(Refused::Token)),
            (both, true, false, true, Err(Refused::Certificate)),
            (both, false, true, false, Ok(())),
            (both, false, false, true, Ok(())),
            (both, false, false, false, Err(Refused::Token)),
        ] {
            let case = (token, required, shown, bears);
            assert_eq!(judge(token, required, shown, bears, false), verdict, "{case:?}");
            assert_eq!(
                judge(token, required, shown, bears, true),
                Ok(()),
                "an open page: {case:?}"
            );
        }
        // A browser shows its certificate for whichever page asks.
        let certificate = Some(Certificate {
            required: true,
            shown: true,
        });
        let wanted = Wanted {
            token: None,
            certificate,
        };
        let foreign = headers(&[named, ("content-type", "text/plain")]);
        let verdict = super::judge(Way::Network, &Method::POST, &foreign, wanted, false);
        assert_eq!(verdict, Err(Refused::CrossSite));
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let judge = |lines: &[_]| judge(Way::Network, &Method::POST, &headers(lines), Wanted::default(), false);
        let host = ("host", "127.0.0.1:9900");
        let json = ("content-type", "application/json; charset=utf-8");
        for good in [
            &[host, json][..],
            &[host, ("x-requested-with", "curl")],
            &[host, json, ("sec-fetch-site", "same-origin")],
            &[host, json, ("origin", "http://127.0.0.1:9900")],
        ] {
            assert_eq!(judge(good), Ok(()), "{good:?}");
        }
        for bad in [
            &[host][..],
            &[host, ("content-type", "text/plain")],
            &[host, ("content-type", "application/x-www-form-urlencoded")],
            &[host, json, ("sec-fetch-site", "cross-site")],
            &[host, json, ("sec-fetch-site", "same-site")],
            &[host, json, ("origin", "http://evil.test")],
            &[host, json, ("origin", "null")],
            &[host, json, ("origin", "http://127.0.0.1:3000")],
        ] {
            assert_eq!(judge(bad), Err(Refused::CrossSite), "{bad:?}");
        }
        assert_eq!(judge(&[("host", "evil.test:9900"), json]), Err(Refused::Host));
    }

    #[test]
    fn even_with_the_token_a_foreign_page_changes_nothing() {
        let lines = [
            ("authorization", "Bearer 0123456789abcdef"),
            ("sec-fetch-site", "cross-site"),
        ];
        let verdict = judge(Way::Network, &Method::POST, &headers(&lines), BY_TOKEN, false);
        assert_eq!(verdict, Err(Refused::CrossSite));
        assert_eq!(
            judge(Way::Network, &Method::POST, &headers(&[]), BY_TOKEN, true),
            Err(Refused::Token),
            "an open page is open for reading"
        );
    }
}
