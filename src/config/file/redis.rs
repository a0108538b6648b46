//! `[redis]`

use crate::config::secret::{Secret, SecretText};
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, Written};
use crate::config::units::Timeout;

table! {
    /// A Redis that several gateways share, so that their limits count together.
    @planned pub struct Redis {
        /// Where it is: `redis://` or `rediss://`, with user and password if it wants them.
        required url: Secret<RedisUrl>,
        /// What one decision may wait for it; past it, `on_store_error` of the limit decides.
        default timeout: Written<Timeout> = "\"20ms\"",
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
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(fault("this is not the URL of a Redis: it names no host"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for text in [
            "redis://127.0.0.1:6379",
            "rediss://user:pass@redis.internal/0",
            "redis://[::1]:6379",
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
        ] {
            let fault = RedisUrl::check(text).expect_err(text);
            assert!(!fault.message.contains("u:p"), "{fault:?}");
        }
    }

    #[test]
    fn passwords_are_masked() {
        assert_eq!(RedisUrl::mask("redis://:p@ss@host:1/0"), "redis://***@host:1/0");
        assert_eq!(RedisUrl::mask("redis://host"), "redis://host");
    }
}
