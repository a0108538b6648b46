//! Lists that proxies append to, read from the right.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};

use super::Scheme;

/// Most elements looked at: more proxies than anyone has.
const MOST_ELEMENTS: usize = 64;

/// Most bytes looked at.
const MOST_BYTES: usize = 8 * 1024;

/// The elements of a list field from right to left, all its lines joined in order (RFC 9110 §5.3); empty elements are
/// left out. Ends early at its bounds.
pub(super) fn from_the_right<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).iter().rev();
    let mut bytes = 0;
    lines
        .flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','))
        .take_while(move |element| {
            bytes += element.len() + 1;
            bytes <= MOST_BYTES
        })
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .take(MOST_ELEMENTS)
}

/// The address that an element names: `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, each
/// also in quotes.
pub(super) fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| bracketed().map(IpAddr::V6))
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(address.to_canonical())
}

/// The scheme that an element names.
pub(super) fn scheme(element: &[u8]) -> Option<Scheme> {
    let is = |word: &str| element.eq_ignore_ascii_case(word.as_bytes());
    if is("https") || is("wss") {
        Some(Scheme::Https)
    } else if is("http") || is("ws") {
        Some(Scheme::Http)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_address() {
        for text in [
            "",
            "unknown",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.4:",
            "1.2.3.4:x",
            "1.2.3.4:99999",
            "[1.2.3.4]",
            "[::1",
            "::1]",
            "[::1]:",
            "fe80::1%eth0",
            "\"1.2.3.4",
            "\"\"",
            "1.2.3.4 5",
            "0x7f.1",
            "\u{661}.2.3.4",
        ] {
            assert_eq!(address(text.as_bytes()), None, "{text}");
        }
        assert_eq!(address(b"1.2.3.4\xff"), None);
    }

    proptest! {
        #[test]
        fn every_address_in_every_form(ip in any::<IpAddr>(), port in any::<u16>()) {
            let canonical = ip.to_canonical();
            let socket = SocketAddr::new(ip, port);
            let mut forms = vec![ip.to_string(), socket.to_string(), format!("\"{ip}\""), format!("\"{socket}\"")];
            if ip.is_ipv6() {
                forms.push(format!("[{ip}]"));
            }
            for form in forms {
                prop_assert_eq!(address(form.as_bytes()), Some(canonical), "{}", form);
            }
        }

        #[test]
        fn never_panics(element in any::<Vec<u8>>()) {
            let _ = (address(&element), scheme(&element));
        }
    }
}
