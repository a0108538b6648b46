//! `[cache.NAME]`

use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Method};

use super::action::Directory;
use super::matching::{CookieName, ParameterName};
use crate::cache::Part;
use crate::config::list::List;
use crate::config::shape::Kind;
use crate::config::suggest::{clip, did_you_mean};
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::units::{Size, Timeout};
use crate::config::value::Integer;

table! {
    /// What is kept of an application's answers, and for how long: as RFC 9111 has it, and as said here. Answers to GET are
    /// kept; HEAD and ranges are answered from them. Answers that set cookies, are private or forbidden to be kept, are not.
    pub struct Cache {
        /// How long answers are fresh, whatever the application says. Of the statuses 200, 203, 204, 300, 301 and 308, or those
        /// of `statuses`; `no-store` and `private` are obeyed nevertheless.
        optional ttl: Written<Timeout> => "what the application says",
        /// How long answers are fresh where the application says nothing, of the same statuses. Who has a cookie or
        /// `Authorization` neither gets such an answer nor leaves one, unless `key` names the cookies that matter.
        optional default_ttl: Written<Timeout> => "such answers are not kept",
        /// How long 404 and 410 are fresh where the application says nothing.
        optional negative_ttl: Written<Timeout> => "such answers are not kept",
        /// Where the application gives `Last-Modified` and no lifetime, a tenth of the time since then is guessed (RFC 9111
        /// §4.2.2), but no more than this. `0s`: nothing is guessed.
        default heuristic: Written<Duration> = "\"1h\"",
        /// The `Cache-Control` that browsers are sent with answers of status 2xx.
        optional browser: Written<HeaderValue> => "the application's",
        /// How long an answer may be used beyond its time while a new one is fetched. The application may say more
        /// (`stale-while-revalidate`), or forbid it (`must-revalidate`, `s-maxage`).
        default stale_while_revalidate: Written<Duration> = "\"0s\"",
        /// How long an answer may be used beyond its time while the application fails: is not reached, or answers 500, 502, 503
        /// or 504.
        optional stale_if_error: Written<Duration> => "1 min while the application is not reached, or what it says",
        /// Requests that the cache neither answers nor keeps: `header:NAME`, `query:NAME`, `cookie:NAME`, `cookie:*`.
        default bypass: List<Written<Part>> = "[]",
        /// Which parts of a request tell answers apart, beside route, scheme, host and path.
        default key: Key = "{}",
        /// The request fields that answers vary by, whatever the application's `Vary` says.
        optional vary: List<Written<HeaderName>> => "what `Vary` says",
        /// Whether `Set-Cookie` is taken out of answers that could be kept but for it. Otherwise they are not kept.
        default strip_cookies: bool = "false",
        /// The only statuses that are kept.
        optional statuses: List<Integer<200, 599>> => "those that RFC 9111 allows",
        /// Methods that are answered from the cache: `GET`, and `HEAD` if it is here.
        default methods: List<Written<Method>> = "[\"GET\", \"HEAD\"]",
        /// The largest body that is kept. A larger one passes through.
        default max_object: Written<Size> = "\"32MB\"",
        /// How often an answer is asked for before it is kept.
        default min_uses: Integer<1, 100> = "1",
        /// Fields of answers that name their tags, to purge by; `Cache-Groups` (RFC 9875) always does.
        default tags: List<Written<HeaderName>> = "[\"Surrogate-Key\", \"Cache-Tag\"]",
        /// How long an answer of status 200 is kept for the time when the application answers 404 or 410 instead: the files of
        /// the previous build, for pages that are open yet.
        optional keep: Written<Timeout> => "it is gone when it is gone",
        /// Whether `Cache-Control` of requests is obeyed: `no-cache` of a reload button makes the gateway ask the application.
        default client_control: bool = "true",
        /// Whether `PURGE` takes the answer of its URL out. Let only those near use such a route: `allow`.
        default purge: bool = "false",
        /// The memory that answers may take. Routes that name the same cache share it.
        default size: Written<Size> = "\"256MB\"",
        /// Where answers are kept beside memory: `{ path = "/var/cache/gateway/pages", size = "10GB" }`. They are there after a
        /// restart, and there may be more of them than memory holds.
        optional disk: Disk => "in memory only",
        /// Small answers are kept in the Redis of `[cache_redis]`, too: what one gateway has fetched, the others need not. An
        /// empty table is enough: `redis = {}`.
        optional redis: Shared => "each gateway has its own",
    }
}

table! {
    /// Which parts of a request tell answers apart. What does not count is not sent to the application either.
    pub struct Key {
        /// The only query parameters that count; a name may end in `*`.
        optional query: List<Written<ParameterName>> => "all of them",
        /// Query parameters that do not count: `["utm_*", "gclid"]`.
        default ignore: List<Written<ParameterName>> = "[]",
        /// Whether the order of parameters does not count.
        default sort: bool = "false",
        /// Header fields.
        default headers: List<Written<HeaderName>> = "[]",
        /// Cookies.
        default cookies: List<Written<CookieName>> = "[]",
    }
}

table! {
    /// Answers on disk.
    pub struct Disk {
        /// A directory for this cache of this gateway alone; it is made where there is none.
        required path: Written<Directory>,
        /// The most that its files take together, each rounded up to 4 KiB.
        required size: Written<Size>,
    }
}

table! {
    /// Answers that gateways share.
    pub struct Shared {
        /// The largest body that is shared, at most `1MB`: while one is on its way, the answers behind it wait.
        default max_object: Written<Size> = "\"64KB\"",
    }
}

impl FromText for Part {
    const KIND: Kind = Kind {
        what: "what bypasses the cache",
        pattern: Some("^(header|query|cookie):.+$"),
        example: "header:authorization",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        const FORMS: &[&str] = &["header:NAME", "query:NAME", "cookie:NAME", "cookie:*"];
        let fault = |kind: &str| Fault {
            message: format!("`{}` is not part of a request", clip(text)),
            help: did_you_mean(kind, FORMS, "there are"),
        };
        let (kind, name) = text.split_once(':').ok_or_else(|| fault(text))?;
        match kind {
            "header" => HeaderName::from_text(name).map(Self::Header),
            "cookie" if name == "*" => Ok(Self::AnyCookie),
            "cookie" => HeaderName::from_bytes(name.as_bytes())
                .map(|_| Self::Cookie(name.into()))
                .map_err(|_| fault(text)),
            "query" if !name.is_empty() => Ok(Self::Query(name.into())),
            _ => Err(fault(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bypasses() {
        for text in [
            "header:authorization",
            "query:firebase_uid",
            "cookie:*",
            "cookie:session",
        ] {
            assert!(Part::from_text(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "authorization",
            "header:",
            "query:",
            "cookie:",
            "header:a b",
            "body:x",
        ] {
            assert!(Part::from_text(text).is_err(), "{text}");
        }
    }
}
