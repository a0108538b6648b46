//! `[rate_limit.NAME]`

use ::http::{HeaderName, Method};
use ipnet::IpNet;

use super::http::FieldName;
use super::matching::{CookieName, ParameterName};
use crate::config::list::{List, OneOrMore};
use crate::config::named::Pairs;
use crate::config::shape::Kind;
use crate::config::suggest::{clip, did_you_mean};
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::units::{Rate, Timeout};
use crate::config::value::Integer;
use crate::config::words::words;
use crate::limit::{self, Announce, Count, Missing, Mode, Source};

table! {
    /// How often somebody may ask. Beyond it the answer is 429 with `Retry-After`.
    pub struct RateLimit {
        /// How many requests in which time: `10/s`, `5/min`, `100/h`, `1000/d`.
        required rate: Written<Rate>,
        /// How many requests may come at once beyond the first. Without it, as many as `rate` says may come at once: `5/min` is
        /// five at once, then one every 12 s.
        optional burst: Integer<0, 1_000_000_000> => "one less than the number in `rate`",
        /// How many of `burst` are admitted without waiting; the others wait for their turn, as with `delay` of nginx. `0`: all
        /// of them wait.
        optional delay: Integer<0, 1_000_000_000> => "nobody waits",
        /// The longest wait: who would wait longer is refused. With `delay` only.
        optional max_delay: Written<Timeout> => "`5s`",
        /// How many of `rate` and `burst` one request counts for. A route can name the limit with a cost of its own:
        /// `rate_limit = [{ name = "api", cost = 5 }]`.
        default cost: Integer<1, MAX_COST> = "1",
        /// What requests of these methods count for instead: `{ POST = 5, HEAD = 0 }`; `0`: they are not counted. The cost that
        /// a route names goes before this.
        default method_costs: Pairs<Method, Integer<0, MAX_COST>> = "{}",
        /// A header field in which the application tells what the request has cost after all, a whole number: what it is more
        /// than was counted is taken then, even if that leaves nothing, and the next request waits for it. Clients do not see
        /// the field.
        optional cost_header: Written<FieldName> => "nothing is added",
        /// What is counted.
        default count: Counted = "\"requests\"",
        /// Who is counted: `client-ip`, `route`, `host`, `header:NAME`, `cookie:NAME`, `query:NAME`,
        /// `jwt:CLAIM` (of whoever `auth` knows, by whatever way), or a list of these, which are counted by together.
        default key: OneOrMore<Written<Source>> = "\"client-ip\"",
        /// What is done with a request that has no such header field, cookie, parameter or claim.
        default missing: MissingKey = "\"client-ip\"",
        /// IPv6 clients of one network are one client: its prefix length.
        default ipv6_prefix: Integer<32, 128> = "64",
        /// Networks or addresses that are never counted.
        optional allow: List<Written<IpNet>> => "nobody",
        /// Which fields tell clients where they stand.
        default headers: LimitHeaders = "\"ietf\"",
        /// How many clients are kept in the process at a time; beyond it the ones that asked least are forgotten first.
        default capacity: Integer<1000, 100_000_000> = "1000000",
        /// What is decided while the shared store cannot be asked.
        default on_store_error: OnStoreError = "\"local\"",
        /// Every decision is made in the shared store: no gateway admits one too many, and each one costs a round trip.
        default exact: bool = "false",
        /// Gateways that share a store take from it ahead of time, and so together admit a few more than the limit for a
        /// moment. With `true` they never do; `burst` is a little smaller instead.
        default strict: bool = "false",
        /// Whether the limit refuses, or only tells what it would refuse.
        default mode: LimitMode = "\"enforce\"",
        /// Turns away whoever is refused again and again, from every route: `{ after = 100, within = "1min", for = "10min" }`.
        optional ban: Ban => "nobody",
    }
}

table! {
    /// Turns away whoever is refused again and again: an address, of IPv6 the network of `ipv6_prefix`. Until the ban is over
    /// every request of that client is answered with 429 at once, whatever its route, and is not counted.
    pub struct Ban {
        /// How many refusals by this limit.
        required after: Integer<1, 1_000_000>,
        /// In which time, from the first of them.
        required within: Written<Timeout>,
        /// For how long.
        required r#for: Written<Timeout>,
    }
}

/// The most that one request may count for.
pub(super) const MAX_COST: u64 = 1_000_000;

words! {
    /// What is counted.
    pub enum Counted {
        /// Every request.
        Requests = "requests",
        /// Every request that is answered with 4xx or 5xx, such as a wrong password.
        Failures = "failures",
    }
}

impl From<Counted> for Count {
    fn from(counted: Counted) -> Self {
        match counted {
            Counted::Requests => Self::All,
            Counted::Failures => Self::Failures,
        }
    }
}

words! {
    /// What is done with a request without a part of the key.
    pub enum MissingKey {
        /// The client's address stands in.
        ClientIp = "client-ip",
        /// It is not counted.
        Skip = "skip",
        /// It is refused.
        Deny = "deny",
    }
}

impl From<MissingKey> for Missing {
    fn from(missing: MissingKey) -> Self {
        match missing {
            MissingKey::ClientIp => Self::ClientIp,
            MissingKey::Skip => Self::Skip,
            MissingKey::Deny => Self::Deny,
        }
    }
}

words! {
    /// Which fields tell clients where they stand. `Retry-After` is on every refusal.
    pub enum LimitHeaders {
        /// `RateLimit` and `RateLimit-Policy`, as the IETF has them now (draft 10).
        Ietf = "ietf",
        /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`, as express-rate-limit writes them.
        ExpressLegacy = "express-legacy",
        /// `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset` and `RateLimit-Policy` of draft 6.
        Draft6 = "draft-6",
        /// `RateLimit` and `RateLimit-Policy` of draft 7.
        Draft7 = "draft-7",
        /// `RateLimit` and `RateLimit-Policy` of draft 8.
        Draft8 = "draft-8",
        /// None.
        None = "none",
    }
}

impl From<LimitHeaders> for Announce {
    fn from(headers: LimitHeaders) -> Self {
        match headers {
            LimitHeaders::Ietf => Self::Draft10,
            LimitHeaders::ExpressLegacy => Self::Legacy,
            LimitHeaders::Draft6 => Self::Draft6,
            LimitHeaders::Draft7 => Self::Draft7,
            LimitHeaders::Draft8 => Self::Draft8,
            LimitHeaders::None => Self::Off,
        }
    }
}

words! {
    /// What is decided while the shared store cannot be asked.
    pub enum OnStoreError {
        /// This process counts by itself.
        Local = "local",
        /// Everything is admitted.
        Allow = "allow",
        /// Everything is refused.
        Deny = "deny",
    }
}

impl From<OnStoreError> for limit::OnStoreError {
    fn from(decision: OnStoreError) -> Self {
        match decision {
            OnStoreError::Local => Self::Local,
            OnStoreError::Allow => Self::Allow,
            OnStoreError::Deny => Self::Deny,
        }
    }
}

words! {
    /// Whether a limit refuses.
    pub enum LimitMode {
        /// It refuses.
        Enforce = "enforce",
        /// It counts and logs what it would refuse.
        Report = "report",
    }
}

impl From<LimitMode> for Mode {
    fn from(mode: LimitMode) -> Self {
        match mode {
            LimitMode::Enforce => Self::Enforce,
            LimitMode::Report => Self::Report,
        }
    }
}

impl FromText for Source {
    const KIND: Kind = Kind {
        what: "who is counted",
        pattern: Some("^(client-ip|route|host|(header|cookie|query|jwt):.+)$"),
        example: "client-ip",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        const FORMS: &[&str] = &[
            "client-ip",
            "route",
            "host",
            "header:NAME",
            "cookie:NAME",
            "query:NAME",
            "jwt:CLAIM",
        ];
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "client-ip" if kind == text => Ok(Self::ClientIp),
            "route" if kind == text => Ok(Self::Route),
            "host" if kind == text => Ok(Self::Host),
            "header" => HeaderName::from_text(name).map(Self::Header),
            "cookie" => CookieName::from_text(name).map(|_| Self::Cookie(name.into())),
            "query" => ParameterName::from_text(name).map(|_| Self::Query(name.into())),
            "jwt" if !name.is_empty() => Ok(Self::Claim(name.into())),
            "jwt" => Err(Fault::new("`jwt:` names no claim").help("write for example `\"jwt:sub\"`")),
            _ => Err(Fault {
                message: format!("`{}` cannot be counted by", clip(text)),
                help: did_you_mean(kind, FORMS, "there are"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for text in [
            "client-ip",
            "route",
            "host",
            "header:X-Api-Key",
            "jwt:sub",
            "cookie:session",
            "query:a:b",
        ] {
            assert!(Source::from_text(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "ip",
            "client-ip:x",
            "header:",
            "header:a b",
            "jwt:",
            "cookie:",
            "cookie:a=b",
            "query:",
        ] {
            assert!(Source::from_text(text).is_err(), "{text}");
        }
    }
}
