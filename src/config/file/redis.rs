//! `[redis]`

use super::upstream_tls::ServerName;
use crate::config::list::OneOrMore;
use crate::config::secret::{Secret, SecretText};
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Any, Fault, FilePath, FromText, Written};
use crate::config::units::Timeout;
use crate::config::value::Integer;

table! {
    /// A Redis that several gateways share, so that their limits count together. Either `url` or `sentinel`.
    pub struct Redis {
        /// Where it is: `redis://` or `rediss://` (TLS), with user and password if it wants them. A list is some nodes of a
        /// Cluster; the others are learnt from them.
        optional url: OneOrMore<Secret<RedisUrl>>,
        /// Sentinels that know where it is.
        optional sentinel: Sentinel,
        /// The user, where no URL has one.
        optional username: Secret<Credential> => "the URL's",
        /// The password, where no URL has one.
        optional password: Secret<Credential> => "the URL's",
        /// Files for TLS, with `rediss://`.
        optional tls: RedisTls,
        /// What one decision may wait for it; past it, `on_store_error` of the limit decides.
        default timeout: Written<Timeout> = "\"20ms\"",
        /// How many connections are held open.
        default connections: Integer<1, 64> = "1",
        /// What every key begins with, where several applications share it.
        default prefix: Written<KeyPrefix> = "\"gw:\"",
    }
}

table! {
    /// TLS to Redis, to its sentinels and the nodes of its Cluster.
    pub struct RedisTls {
        /// The file with the certificates of the authorities that are believed, PEM.
        optional ca: Written<FilePath> => "those of the system",
        /// The file with the gateway's own certificate and those between it and its authority, PEM. Needs `key`.
        optional cert: Written<FilePath> => "none",
        /// The file with the key of `cert`, PEM.
        optional key: Written<FilePath> => "none",
        /// The name that the server's certificate must have.
        optional sni: Written<ServerName> => "the host of the URL",
    }
}

table! {
    /// Sentinels: they say which Redis is the master.
    pub struct Sentinel {
        /// What they call it.
        required master: Written<Any>,
        /// Where they are.
        required urls: OneOrMore<Secret<RedisUrl>>,
    }
}

/// The URL of a Redis.
#[derive(Debug, Clone)]
pub(crate) struct RedisUrl;

impl SecretText for RedisUrl {
    const EXAMPLE: &'static str = "redis://127.0.0.1:6379";

    fn check(text: &str) -> Result<(), Fault> {
        // The URL may hold a password: a message quotes the scheme only.
        let fault = |why: &str| Fault::new(why).help("write `\"redis://127.0.0.1:6379\"`");
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(fault("this is not the URL of a Redis: it has no scheme"));
        };
        if scheme != "redis" && scheme != "rediss" {
            return Err(fault(&format!("`{}` is not the scheme of a Redis", clip(scheme))));
        }
        if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(fault("this is not the URL of a Redis: it has white space"));
        }
        let parts = Parts::of(text);
        let (host, port) = match parts.address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (parts.address, None),
        };
        if host.is_empty() {
            return Err(fault("this is not the URL of a Redis: it names no host"));
        }
        if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
            return Err(fault("this is not the URL of a Redis: the port is not 1 to 65535"));
        }
        if !parts.database.is_empty() && parts.database.parse::<u16>().is_err() {
            return Err(
                Fault::new("this is not the URL of a Redis: behind the `/` stands the number of a database")
                    .help("write `\"redis://127.0.0.1:6379/0\"`"),
            );
        }
        Ok(())
    }

    /// Keeps everything but what stands before the `@`.
    fn mask(text: &str) -> String {
        match (text.split_once("://"), text.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
            _ => text.to_owned(),
        }
    }
}

/// The parts of the URL of a Redis.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts<'t> {
    pub(crate) tls: bool,
    /// Whether it has a user or a password.
    pub(crate) credentials: bool,
    /// Host and port.
    pub(crate) address: &'t str,
    pub(crate) database: &'t str,
}

impl<'t> Parts<'t> {
    /// The parts of a URL that was checked.
    pub(crate) fn of(url: &'t str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        // A password may hold anything but what ends the authority; the last `@` ends it.
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((_, address)) => (true, address),
            None => (false, authority),
        };
        let path = path.strip_prefix('/').unwrap_or_default();
        Self {
            tls: scheme == "rediss",
            credentials,
            address,
            database: path.split(['?', '#']).next().unwrap_or_default(),
        }
    }
}

/// A user or a password.
#[derive(Debug, Clone)]
pub(crate) struct Credential;

impl SecretText for Credential {
    const EXAMPLE: &'static str = "${REDIS_PASSWORD}";

    fn check(text: &str) -> Result<(), Fault> {
        if text.is_empty() {
            return Err(Fault::new("it is empty").help("leave the key out where the Redis wants none"));
        }
        Ok(())
    }

    fn mask(_: &str) -> String {
        "***".to_owned()
    }
}

/// What keys begin with.
#[derive(Debug, Clone)]
pub(crate) struct KeyPrefix;

impl FromText for KeyPrefix {
    const KIND: Kind = Kind {
        what: "the beginning of keys",
        pattern: Some("^[!-z|~]{0,64}$"),
        example: "gw:",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        const MAX: usize = 64;
        let fault = || Fault::new(format!("`{}` cannot begin a key", clip(text)));
        // What stands in braces decides on which node of a Cluster a key is: all of them would be on one.
        if text.contains(['{', '}']) {
            return Err(fault().help("leave the braces away: they would put every key on one node of a Cluster"));
        }
        if text.len() > MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(fault().help(format!("write up to {MAX} letters, digits and signs: `\"gw:\"`")));
        }
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for text in [
            "redis://127.0.0.1:6379",
            "rediss://user:pass@redis.internal/0",
            "redis://[::1]:6379",
            "redis://[::1]",
            "redis://u:p@ss@redis:6379/15?protocol=resp3",
        ] {
            assert_eq!(RedisUrl::check(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:6379",
            "http://x",
            "redis://",
            "redis://:6379",
            "redis://a b",
            "redis://u:p@",
            "redis://u:p@host:0",
            "redis://u:p@host:x",
            "redis://u:p@host/x",
        ] {
            let fault = RedisUrl::check(text).expect_err(text);
            assert!(!fault.message.contains("u:p"), "{fault:?}");
        }
    }

    #[test]
    fn parts() {
        assert_eq!(
            Parts::of("rediss://u:p@ss@host:1/2?x"),
            Parts {
                tls: true,
                credentials: true,
                address: "host:1",
                database: "2",
            }
        );
        assert_eq!(
            Parts::of("redis://host"),
            Parts {
                tls: false,
                credentials: false,
                address: "host",
                database: "",
            }
        );
    }

    #[test]
    fn passwords_are_masked() {
        assert_eq!(RedisUrl::mask("redis://:p@ss@host:1/0"), "redis://***@host:1/0");
        assert_eq!(RedisUrl::mask("redis://host"), "redis://host");
    }

    #[test]
    fn prefixes() {
        for text in ["", "gw:", "shop/gateway:"] {
            assert!(KeyPrefix::from_text(text).is_ok(), "{text}");
        }
        for text in ["{gw}", "a b", "é", "a\n", &"x".repeat(65)] {
            assert!(KeyPrefix::from_text(text).is_err(), "{text}");
        }
    }
}
