//! The value of a cookie that brings a client back to its server: signed, so that nobody chooses one for himself.
//!
//! `hex(server).expiry.hex(mac)`, the expiry in hexadecimal seconds since 1970, the mac HMAC-SHA-256 over upstream, server
//! and expiry. It binds to the server's name and not to its place in a list. What is signed is not secret: whoever decodes
//! the value can read the name that the file gives the server.

use std::fmt;

use ring::hmac;

/// Shortest secret, bytes.
pub const SECRET_MIN: usize = 16;
/// Longest value that is looked at, bytes; and the longest server name that fits.
const COOKIE_MAX: usize = 1024;
const SERVER_MAX: usize = 400;

/// Issues and verifies the values for one upstream.
pub struct Sticky {
    key: hmac::Key,
    upstream: Box<str>,
    lifetime: u64,
}

/// A secret that could be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretTooShort;

impl fmt::Display for SecretTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a secret has at least {SECRET_MIN} bytes")
    }
}

impl std::error::Error for SecretTooShort {}

impl Sticky {
    /// For an upstream, with a secret that all gateways share; values expire after `lifetime` seconds.
    ///
    /// # Errors
    /// The secret has fewer than [`SECRET_MIN`] bytes.
    pub fn new(secret: &[u8], upstream: &str, lifetime: u64) -> Result<Self, SecretTooShort> {
        if secret.len() < SECRET_MIN {
            return Err(SecretTooShort);
        }
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            upstream: upstream.into(),
            lifetime,
        })
    }

    /// A value for this server, [`Endpoint::session`](super::Endpoint::session); `now`: seconds since 1970. A name of more
    /// than 400 bytes gets a value that will not be accepted.
    #[must_use]
    pub fn issue(&self, server: &str, now: u64) -> String {
        let expiry = now.saturating_add(self.lifetime);
        let mac = hmac::sign(&self.key, &self.message(server, expiry));
        let mut value = String::with_capacity(2 * server.len() + 84);
        push_hex(&mut value, server.as_bytes());
        value.push_str(&format!(".{expiry:x}."));
        push_hex(&mut value, mac.as_ref());
        value
    }

    /// The server that a value names, if we issued it, for this upstream, and it has not expired; `now`: seconds since
    /// 1970. Compares in constant time.
    #[must_use]
    pub fn verify(&self, cookie: &str, now: u64) -> Option<String> {
        if cookie.len() > COOKIE_MAX {
            return None;
        }
        let mut parts = cookie.split('.');
        let (server, expiry, mac) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || server.len() > 2 * SERVER_MAX {
            return None;
        }
        let server = String::from_utf8(bytes(server)?).ok()?;
        let spelling = expiry;
        let expiry = u64::from_str_radix(spelling, 16).ok()?;
        if format!("{expiry:x}") != spelling {
            return None; // one value, one spelling
        }
        hmac::verify(&self.key, &self.message(&server, expiry), &bytes(mac)?).ok()?;
        (now < expiry).then_some(server)
    }

    /// What is signed: with the lengths, so that no two triples have the same bytes.
    fn message(&self, server: &str, expiry: u64) -> Vec<u8> {
        let mut message = Vec::with_capacity(64 + self.upstream.len() + server.len());
        message.extend_from_slice(b"sticky session 1\0");
        for text in [&*self.upstream, server] {
            message.extend_from_slice(&(text.len() as u64).to_be_bytes());
            message.extend_from_slice(text.as_bytes());
        }
        message.extend_from_slice(&expiry.to_be_bytes());
        message
    }
}

impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sticky")
            .field("upstream", &self.upstream)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Lower case only.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef";
    const NOW: u64 = 1_800_000_000;

    fn sticky(secret: &[u8], upstream: &str) -> Sticky {
        Sticky::new(secret, upstream, 3600).unwrap()
    }

    #[test]
    fn comes_back_until_it_expires() {
        let api = sticky(SECRET, "api");
        let cookie = api.issue("app-1:5000", NOW);
        assert_eq!(api.verify(&cookie, NOW).as_deref(), Some("app-1:5000"));
        assert_eq!(api.verify(&cookie, NOW + 3599).as_deref(), Some("app-1:5000"));
        assert_eq!(api.verify(&cookie, NOW + 3600), None);
        assert!(
            cookie.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'),
            "{cookie}"
        );
    }

    #[test]
    fn nobody_elses_is_accepted() {
        let api = sticky(SECRET, "api");
        let cookie = api.issue("app-1:5000", NOW);
        assert_eq!(sticky(SECRET, "web").verify(&cookie, NOW), None);
        assert_eq!(sticky(b"another secret of ours", "api").verify(&cookie, NOW), None);
        let (server, rest) = cookie.split_once('.').unwrap();
        let (expiry, mac) = rest.split_once('.').unwrap();
        let other = api.issue("app-2:5000", NOW);
        let other_server = other.split('.').next().unwrap();
        for forged in [
            format!("{other_server}.{expiry}.{mac}"),
            format!("{server}.{}.{mac}", "ffffffffffff"),
            format!("{server}.+{expiry}.{mac}"),
            format!("{server}.0{expiry}.{mac}"),
            format!("{server}.{expiry}.{}", &mac[..62]),
            format!("{server}.{expiry}."),
            format!("{server}.{expiry}.{mac}.x"),
            format!("{server}.{expiry}.{}", mac.to_uppercase()),
            format!("{server}.{expiry}.{mac}00"),
            "..".to_owned(),
            String::new(),
        ] {
            assert_eq!(api.verify(&forged, NOW), None, "{forged}");
        }
        assert_eq!(Sticky::new(b"short", "api", 1).unwrap_err(), SecretTooShort);
    }

    #[test]
    fn long_ones_are_not_looked_at() {
        let api = sticky(SECRET, "api");
        let longest = "x".repeat(SERVER_MAX);
        assert_eq!(api.verify(&api.issue(&longest, NOW), NOW), Some(longest));
        assert_eq!(api.verify(&api.issue(&"x".repeat(SERVER_MAX + 1), NOW), NOW), None);
        assert_eq!(api.verify(&"0".repeat(1 << 20), NOW), None);
    }

    proptest! {
        #[test]
        fn any_change_is_noticed(place in 0usize..100, byte in 0x20u8..0x7f) {
            let api = sticky(SECRET, "api");
            let cookie = api.issue("app-1:5000", NOW);
            let mut changed = cookie.clone().into_bytes();
            let place = place % changed.len();
            changed[place] = byte;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert_eq!(api.verify(&changed, NOW).is_some(), changed == cookie);
        }

        #[test]
        fn never_panics(cookie in "\\PC{0,200}", hex in "[0-9a-f.+-]{0,200}") {
            let api = sticky(SECRET, "api");
            prop_assert_eq!(api.verify(&cookie, NOW), None);
            prop_assert_eq!(api.verify(&hex, NOW), None);
        }
    }
}
