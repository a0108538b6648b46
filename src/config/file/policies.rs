//! The policy keys of a route, which `[defaults]` has too.

use ipnet::IpNet;

use super::access::Maintenance;
use super::auth::AuthRule;
use super::rate_limit::MAX_COST;
use crate::config::list::{List, OneOrMore, Several};
use crate::config::model;
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Reference, Written};
use crate::config::units::{Size, Timeout};
use crate::config::value::{Either, Element, False, Field, Integer};
use crate::config::words::words;
use crate::policy;

/// The name of a policy, or `false` for none.
pub(crate) type Choice = Either<False, Written<Reference>>;

table! {
    /// What is asked of requests and done to answers where a route says nothing. A key that a route sets replaces the
    /// one here, nothing is merged.
    pub struct Policies {
        /// What of a path makes no difference to the application, so that a route takes a request in every spelling of its
        /// `path`: a protected `/admin/*` is not reached as `/ADMIN` or `/admin.json`. An exact spelling of another route
        /// goes before.
        optional path_ignores: List<PathPart> => "nothing",
        /// The headers policy: a name from `[headers.NAME]`, or `false` for none.
        optional headers: Choice => "none",
        /// The limits that a request is counted by: names from `[rate_limit.NAME]`, or `{ name = "NAME", cost = 5 }` where a
        /// request counts for more here.
        optional rate_limit: List<Either<Written<Reference>, CostedLimit>> => "none",
        /// How fast bodies may flow: names from `[bandwidth.NAME]`. The slowest of them counts.
        optional bandwidth: List<Written<Reference>> => "any speed",
        /// Who may call from other sites: a name from `[cors.NAME]`, or `false` for nobody.
        optional cors: Choice => "nobody",
        /// Who may use the route: a name from `[auth.NAME]`, or a list of names, of which any will do; or
        /// `{ by = "NAME", require = { role = "admin" } }`; `false` for everybody.
        optional auth: Either<False, Either<OneOrMore<Written<Reference>>, AuthRule>> => "everybody",
        /// What is kept of answers: a name from `[cache.NAME]`, or `false` for nothing.
        optional cache: Choice => "nothing",
        /// Whether answers are compressed for clients that can read it, or how: `{ types = […], min_length = "1KB" }`.
        optional compress: Either<bool, Compress> => "`false`",
        /// How many requests the route works on at a time, or also how many wait: `{ limit = 4, queue = 100, wait = "500ms" }`;
        /// `false` for any number. In `[defaults]` it is a limit for each route, not for all of them together. Beyond it the
        /// answer is 503.
        optional concurrency: Either<False, Either<Integer<1, MAX_CONCURRENCY>, Concurrency>> => "any number",
        /// Which requests are refused first, and served last, where every server of an upstream has as many as it takes
        /// (`max_requests`, `adaptive_limit`).
        optional priority: Priority => "`normal`",
        /// The only networks or addresses that may use the route. Answered with 403.
        optional allow: List<Written<IpNet>> => "everybody",
        /// Who may use the route, and with what: a name from `[access.NAME]`, or several, of which all must agree; `false` for
        /// everybody.
        optional access: Either<False, OneOrMore<Written<Reference>>> => "everybody",
        /// Whether the route is closed for a while, or how: `{ allow = ["10.0.0.0/8"], retry_after = "10min" }`. Everybody is
        /// answered with 503. What `serve` gives is never closed.
        optional maintenance: Either<bool, Maintenance> => "`false`",
        /// Whether requests are written to the access log.
        optional access_log: bool => "`true`",
        /// The largest request body. Answered with 413.
        optional max_body: Written<Size> => "`max_body` of `[server]`",
    }
}

impl Policies {
    /// Takes over what is not set here. A value replaces the whole default, nothing is merged.
    pub(crate) fn or(&self, defaults: &Self) -> Self {
        let Self {
            path_ignores,
            headers,
            rate_limit,
            bandwidth,
            cors,
            auth,
            cache,
            compress,
            concurrency,
            priority,
            allow,
            access,
            maintenance,
            access_log,
            max_body,
        } = self;
        Self {
            path_ignores: either(path_ignores, &defaults.path_ignores),
            headers: either(headers, &defaults.headers),
            rate_limit: either(rate_limit, &defaults.rate_limit),
            bandwidth: either(bandwidth, &defaults.bandwidth),
            cors: either(cors, &defaults.cors),
            auth: either(auth, &defaults.auth),
            cache: either(cache, &defaults.cache),
            compress: either(compress, &defaults.compress),
            concurrency: either(concurrency, &defaults.concurrency),
            priority: either(priority, &defaults.priority),
            allow: either(allow, &defaults.allow),
            access: either(access, &defaults.access),
            maintenance: either(maintenance, &defaults.maintenance),
            access_log: either(access_log, &defaults.access_log),
            max_body: either(max_body, &defaults.max_body),
        }
    }
}

fn either<T: Element + Clone>(own: &Field<T>, default: &Field<T>) -> Field<T> {
    match (own, default) {
        (Field::Absent, Field::Given(value)) => Field::Given(crate::config::value::Spanned {
            given: false,
            ..value.clone()
        }),
        (Field::Absent, default) => default.clone(),
        (own, _) => own.clone(),
    }
}

words! {
    /// What of a path may make no difference.
    pub enum PathPart {
        /// Upper and lower case of ASCII letters: `/API` is `/api`, as in Express.
        Case = "case",
        /// A format behind the last segment: `/deals.json` is `/deals`, as in Rails. Regular expressions are taken as they are.
        Format = "format",
    }
}

table! {
    /// A limit, and what a request of this route counts for.
    pub struct CostedLimit {
        /// A name from `[rate_limit.NAME]`.
        required name: Written<Reference>,
        /// How many of its `rate` and `burst` a request counts for, whatever its method.
        required cost: Integer<1, MAX_COST>,
    }
}

/// More requests at a time than a process has memory for.
const MAX_CONCURRENCY: u64 = 1_000_000;

table! {
    /// How many requests a route works on at a time.
    pub struct Concurrency {
        /// How many requests at a time.
        required limit: Integer<1, MAX_CONCURRENCY>,
        /// How many more may wait; `0`: none.
        default queue: Integer<0, 100_000> = "100",
        /// The longest that a request waits.
        default wait: Written<Timeout> = "\"500ms\"",
    }
}

words! {
    /// Which requests are refused first.
    pub enum Priority {
        /// Before all others.
        Low = "low",
        /// In between.
        Normal = "normal",
        /// After all others.
        High = "high",
    }
}

impl From<Priority> for model::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
        }
    }
}

table! {
    /// How answers are compressed.
    pub struct Compress {
        /// Media types that are compressed: `type/subtype`, `type/*` or `type/*+suffix`.
        optional types: Several<Written<MediaType>> => "text, scripts, JSON, XML, SVG and the like",
        /// Answers known to be smaller stay as they are.
        optional min_length: Written<Size> => "`1KB`",
        /// The codings on offer, best first.
        optional codings: Several<Coding> => "all of them",
        /// How much work is spent on making a body smaller.
        optional effort: Effort => "`balanced`",
    }
}

words! {
    /// How much work is spent on making a body smaller.
    pub enum Effort {
        /// As little as makes sense: a quarter of the work, half as large again.
        Fast = "fast",
        /// As much as pays.
        Balanced = "balanced",
    }
}

impl From<Effort> for policy::Effort {
    fn from(effort: Effort) -> Self {
        match effort {
            Effort::Fast => Self::Fast,
            Effort::Balanced => Self::Balanced,
        }
    }
}

words! {
    /// A content coding.
    pub enum Coding {
        /// RFC 8878: fast and small.
        Zstd = "zstd",
        /// RFC 7932: smallest.
        Brotli = "br",
        /// RFC 1952: understood everywhere.
        Gzip = "gzip",
    }
}

impl From<Coding> for policy::Coding {
    fn from(coding: Coding) -> Self {
        match coding {
            Coding::Zstd => Self::Zstd,
            Coding::Brotli => Self::Brotli,
            Coding::Gzip => Self::Gzip,
        }
    }
}

/// A media type without parameters, or a whole family of them.
#[derive(Debug, Clone)]
pub(crate) struct MediaType(pub(crate) Box<str>);

impl FromText for MediaType {
    const KIND: Kind = Kind {
        what: "a media type",
        pattern: Some("^[^/ ;]+/[^/ ;]+$"),
        example: "text/html",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let token =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b));
        match text.split_once('/') {
            Some((kind, subtype))
                if token(kind)
                    && (token(subtype) || subtype == "*" || subtype.strip_prefix("*+").is_some_and(token)) =>
            {
                Ok(Self(text.to_ascii_lowercase().into()))
            }
            _ => Err(Fault::new(format!("`{}` is not a media type", clip(text)))
                .help("write `type/subtype`, `type/*` or `type/*+suffix`, without parameters: `\"text/html\"`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        for text in [
            "text/html",
            "text/*",
            "application/vnd.api+json",
            "application/*+json",
            "Text/HTML",
        ] {
            assert!(MediaType::from_text(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "text",
            "text/",
            "*/*",
            "text/*+",
            "text/*x",
            "text/html; charset=utf-8",
            "a/b/c",
        ] {
            assert!(MediaType::from_text(text).is_err(), "{text}");
        }
    }
}
