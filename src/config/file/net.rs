//! Addresses: where the gateway listens, whom it believes, where upstreams are.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ::http::HeaderValue;
use ipnet::IpNet;

use crate::client::{PRESETS, Preset};
use crate::config::list::{OneOrMore, Several};
use crate::config::shape::Kind;
use crate::config::suggest::{clip, did_you_mean};
use crate::config::table::table;
use crate::config::text::{Fault, FilePath, FromText, Written};

/// An address to listen on.
impl FromText for SocketAddr {
    const KIND: Kind = Kind {
        what: "an address with a port",
        pattern: Some("^.+:[0-9]{1,5}$"),
        example: "0.0.0.0:8080",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let fault = Fault::new(format!("`{}` is not an address to listen on", clip(text)));
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        Err(if text.parse::<IpAddr>().is_ok() {
            let bracketed = if text.contains(':') {
                format!("[{text}]")
            } else {
                text.to_owned()
            };
            fault.help(format!("the port is missing: `\"{bracketed}:8080\"`"))
        } else if text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok() {
            fault.help(format!(
                "the address is missing: `\"0.0.0.0:{text}\"` is every IPv4 address of this machine"
            ))
        } else if host.is_empty() && port.parse::<u16>().is_ok() {
            fault.help(format!(
                "write `\"0.0.0.0:{port}\"` for every IPv4 address, `\"[::]:{port}\"` for IPv6 too"
            ))
        } else if host == "localhost" {
            fault.help(format!("names are not resolved here: `\"127.0.0.1:{}\"`", clip(port)))
        } else {
            fault.help("write an IP address and a port: `\"0.0.0.0:8080\"`, `\"[::1]:8080\"`")
        })
    }
}

/// A network, or one address.
impl FromText for IpNet {
    const KIND: Kind = Kind {
        what: "a network or an address",
        pattern: Some("^[0-9a-fA-F:.]+(/[0-9]{1,3})?$"),
        example: "10.0.0.0/8",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::from(address));
        }
        let Ok(network) = text.parse::<Self>() else {
            let fault = Fault::new(format!("`{}` is not a network", clip(text)));
            return Err(match text {
                "*" | "all" | "any" => fault.help("write `\"0.0.0.0/0\"` and `\"::/0\"` for every address"),
                _ => {
                    fault.help("write an address or a network: `\"192.0.2.7\"`, `\"10.0.0.0/8\"`, `\"2001:db8::/32\"`")
                }
            });
        };
        if network.addr() != network.network() {
            return Err(
                Fault::new(format!("`{}` is an address within a network", clip(text))).help(format!(
                    "write `\"{}\"` for the whole network, `\"{}\"` for the one address",
                    network.trunc(),
                    network.addr()
                )),
            );
        }
        Ok(network)
    }
}

/// Networks of proxies: one, or those of a provider.
#[derive(Debug, Clone)]
pub(crate) enum Proxies {
    Network(IpNet),
    Preset(Preset),
}

impl FromText for Proxies {
    const KIND: Kind = Kind {
        what: "a network, an address or the name of a provider",
        pattern: Some("^([0-9a-fA-F:.]+(/[0-9]{1,3})?|[a-z-]+)$"),
        example: "10.0.0.0/8",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if let Some(preset) = Preset::named(text) {
            return Ok(Self::Preset(preset));
        }
        let named = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        if named && !matches!(text, "all" | "any") {
            let names = PRESETS.map(|preset| preset.name);
            let help = did_you_mean(text, &names, "there are");
            return Err(Fault {
                message: format!("the networks of `{}` are not known", clip(text)),
                help: help.map(|help| format!("{help}; any others in a file: `{{ file = \"lists/{text}.txt\" }}`")),
            });
        }
        IpNet::from_text(text).map(Self::Network)
    }
}

table! {
    /// Networks in a file.
    pub struct NetworkFile {
        /// The file: a network or an address on each line, `#` begins a comment.
        required file: Written<FilePath>,
    }
}

table! {
    /// Whose connections begin with a header of the PROXY protocol.
    pub struct Announcers {
        /// The peers: networks, addresses, or names as in `trusted_proxies`.
        required from: OneOrMore<Written<Proxies>>,
        /// At which of the addresses in `listen`.
        optional listen: Several<Written<SocketAddr>> => "all of them",
    }
}

/// Where a server of an upstream is: a name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// A name in lower case, or an address without brackets.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

impl FromText for Endpoint {
    const KIND: Kind = Kind {
        what: "a name or address with a port",
        pattern: Some("^[^/ ]+:[0-9]{1,5}$"),
        example: "127.0.0.1:3000",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || Fault::new(format!("`{}` is not the address of a server", clip(text)));
        if let Some((scheme, rest)) = text.split_once("://") {
            let rest = rest.split('/').next().unwrap_or_default();
            return Err(match scheme {
                "http" => fault().help(format!(
                    "leave `http://` and the path away: `\"{}\"`",
                    clip(&with_port(rest, 80))
                )),
                "https" => fault().help(format!(
                    "write `\"{}\"`, and `tls = true` beside `servers`",
                    clip(&with_port(rest, 443))
                )),
                _ => fault().help("write a name or an address and a port: `\"127.0.0.1:3000\"`"),
            });
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(fault().help(format!("the port is missing: `\"{}\"`", clip(&with_port(text, 80)))));
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().map(|address| address.to_string()).ok(),
            None if is_host_name(host) => Some(host.to_ascii_lowercase()),
            None if text.parse::<Ipv6Addr>().is_ok() => {
                return Err(fault().help(format!("an IPv6 address stands in brackets: `\"[{text}]:3000\"`")));
            }
            None => None,
        };
        let Some(host) = host else {
            return Err(fault().help("write a name or an address and a port: `\"127.0.0.1:3000\"`, `\"api:5000\"`"));
        };
        match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Self {
                host: host.into(),
                port,
            }),
            _ => Err(fault().help(format!("`{}` is not a port: write 1 to 65535", clip(port)))),
        }
    }
}

fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:{port}")
    }
}

/// RFC 1123 §2.1, and the underscore that container networks use. An address that is only digits and dots must be one.
pub(crate) fn is_host_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if numeric {
        return host.parse::<IpAddr>().is_ok();
    }
    host.len() <= 253 && host.split('.').all(label)
}

/// What is sent as `Host`: a name or an address, with or without a port.
#[derive(Debug, Clone)]
pub(crate) struct Host(pub(crate) HeaderValue);

impl FromText for Host {
    const KIND: Kind = Kind {
        what: "a host",
        pattern: Some("^[^/ ]+$"),
        example: "localhost",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("`{}` is not a host", clip(text)))
                .help("write what the `Host` field says: a name, and a port where it is not the usual one")
        };
        let with_port = match text.rsplit_once(':') {
            Some((_, port)) if !text.ends_with(']') && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
                text.to_owned()
            }
            _ => format!("{text}:80"),
        };
        Endpoint::from_text(&with_port).map_err(|_| fault())?;
        HeaderValue::from_str(text).map(Self).map_err(|_| fault())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        assert!(SocketAddr::from_text("[::]:443").is_ok());
        for (text, help) in [
            (":80", "`\"0.0.0.0:80\"`"),
            ("80", "`\"0.0.0.0:80\"`"),
            ("127.0.0.1", "`\"127.0.0.1:8080\"`"),
            ("::1", "`\"[::1]:8080\"`"),
            ("localhost:80", "`\"127.0.0.1:80\"`"),
            ("example.net:80", "an IP address"),
            ("0.0.0.0:99999", "an IP address"),
            ("", "an IP address"),
        ] {
            let fault = SocketAddr::from_text(text).expect_err(text);
            assert!(
                fault.help.as_deref().is_some_and(|has| has.contains(help)),
                "{text}: {fault:?}"
            );
        }
    }

    #[test]
    fn networks() {
        for text in ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "0.0.0.0/0"] {
            assert!(IpNet::from_text(text).is_ok(), "{text}");
        }
        for (text, help) in [
            ("10.1.2.3/8", "`\"10.0.0.0/8\"`"),
            ("10.0.0.0/33", "write an address"),
            ("*", "0.0.0.0/0"),
        ] {
            let fault = IpNet::from_text(text).expect_err(text);
            assert!(
                fault.help.as_deref().is_some_and(|has| has.contains(help)),
                "{text}: {fault:?}"
            );
        }
    }

    #[test]
    fn proxies() {
        for text in ["cloudflare", "cloudfront", "fastly", "private", "10.0.0.0/8", "::1"] {
            assert!(Proxies::from_text(text).is_ok(), "{text}");
        }
        for (text, help) in [
            ("azure", "lists/azure.txt"),
            ("cloudflair", "`cloudflare`"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("all", "0.0.0.0/0"),
        ] {
            let fault = Proxies::from_text(text).expect_err(text);
            assert!(
                fault.help.as_deref().is_some_and(|has| has.contains(help)),
                "{text}: {fault:?}"
            );
        }
    }

    #[test]
    fn endpoints() {
        for (text, host, port) in [
            ("127.0.0.1:3000", "127.0.0.1", 3000),
            ("API_1.internal:80", "api_1.internal", 80),
            ("[::1]:5000", "::1", 5000),
        ] {
            let endpoint = Endpoint::from_text(text).expect(text);
            assert_eq!((&*endpoint.host, endpoint.port), (host, port));
        }
        for (text, help) in [
            ("http://api:5000/x", "`\"api:5000\"`"),
            ("https://api/x", "`\"api:443\"`, and `tls = true`"),
            ("https://api:8443", "`\"api:8443\"`"),
            ("api", "`\"api:80\"`"),
            ("::1", "`\"[::1]:3000\"`"),
            ("api:0", "1 to 65535"),
            ("api:http", "1 to 65535"),
            ("a b:80", "a name or an address"),
            ("999.1.1.1:80", "a name or an address"),
            ("-a:80", "a name or an address"),
            ("", "port is missing"),
        ] {
            let fault = Endpoint::from_text(text).expect_err(text);
            assert!(
                fault.help.as_deref().is_some_and(|has| has.contains(help)),
                "{text}: {fault:?}"
            );
        }
    }

    #[test]
    fn hosts() {
        for text in ["localhost", "localhost:3000", "[::1]", "[::1]:80", "deals247.online"] {
            assert!(Host::from_text(text).is_ok(), "{text}");
        }
        for text in ["", "http://localhost", "a b", "a/b", "a\r\nX: y", "a:", "a:0"] {
            assert!(Host::from_text(text).is_err(), "{text}");
        }
    }
}
