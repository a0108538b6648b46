//! The keys of `[rate_limit.NAME]`, as the domain has them.

use crate::config::model;
use crate::limit::fields::Told;
use crate::limit::shared::AllTerms;
use crate::limit::{BanRule, Bucket, KeySpec, Policy};

use super::{nanoseconds, units};

/// The policy that a table of the file describes.
pub(super) fn policy(limit: &model::RateLimit) -> Policy {
    let model::RateLimit {
        name,
        rate: _,
        period: _,
        capacity_units: _,
        delay_after: _,
        max_delay: _,
        cost,
        method_costs,
        cost_header,
        count,
        key,
        missing,
        ipv6_prefix,
        exempt,
        headers,
        capacity: _,
        on_store_error,
        exact,
        strict,
        mode,
        ban,
    } = limit; // a new key must be mapped, or this does not compile
    Policy {
        name: (&**name).into(),
        bucket: bucket(limit),
        cost: units(*cost),
        method_costs: (method_costs.iter())
            .map(|(method, cost)| (method.clone(), units(*cost)))
            .collect(),
        cost_header: cost_header.clone(),
        key: KeySpec {
            sources: key.clone(),
            ipv6_prefix: *ipv6_prefix,
            missing: *missing,
        },
        allow: exempt.as_ref().map_or_else(Vec::new, |list| list.networks().to_vec()),
        count: *count,
        mode: *mode,
        exact: *exact,
        strict: *strict,
        on_store_error: *on_store_error,
        announce: *headers,
        ban: ban.map(|ban| BanRule {
            after: ban.after,
            within: nanoseconds(ban.within),
            duration: nanoseconds(ban.duration),
            ipv6_prefix: *ipv6_prefix,
        }),
        told: Told::default(),
        terms: AllTerms::default(),
    }
}

/// Who would wait longer than the longest wait finds the bucket full: so it is made no larger than that.
fn bucket(limit: &model::RateLimit) -> Bucket {
    let capacity = units(limit.capacity_units);
    let bucket = Bucket::new(limit.rate.count, limit.rate.per, capacity);
    let Some(delay) = limit.delay_after else {
        return bucket;
    };
    let prompt = bucket.delaying_beyond(units(delay)).prompt();
    let waiting = units(nanoseconds(limit.max_delay) / bucket.period());
    // Never below the cost, or a request would cost less than the file says.
    let dearest = limit
        .method_costs
        .iter()
        .map(|(_, cost)| *cost)
        .fold(limit.cost, u64::max);
    let most = prompt.saturating_add(waiting).max(units(dearest)).min(capacity);
    Bucket::new(limit.rate.count, limit.rate.per, most).delaying_beyond(units(delay))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::limit::{Announce, Count, Missing, Mode, OnStoreError, Source};

    /// The first limit of a file with these keys.
    fn limit(keys: &str) -> model::RateLimit {
        let text = format!("[rate_limit.a]\n{keys}\n{ROUTE}");
        let loaded = config::parse("test.toml", &text, std::path::Path::new("."), &|_| None);
        match loaded {
            Ok(loaded) => loaded.config.rate_limits.into_iter().next().expect("a limit"),
            Err(report) => panic!("{report}"),
        }
    }

    const ROUTE: &str = "[[route]]\nname = \"a\"\npath = \"/*\"\nrate_limit = [\"a\"]\nrespond = { body = \"a\" }\n";

    #[test]
    fn buckets_are_as_the_file_says() {
        for (keys, capacity, prompt, period) in [
            ("rate = \"5/min\"", 5, 5, 12_000_000_000),
            ("rate = \"10/s\"\nburst = 40", 41, 41, 100_000_000),
            ("rate = \"10/s\"\nburst = 0", 1, 1, 100_000_000),
            ("rate = \"1/s\"\nburst = 20\ndelay = 3", 9, 4, 1_000_000_000),
            (
                "rate = \"1/s\"\nburst = 20\ndelay = 3\nmax_delay = \"1min\"",
                21,
                4,
                1_000_000_000,
            ),
            (
                "rate = \"1/s\"\nburst = 20\ndelay = 0\nmax_delay = \"1ms\"",
                1,
                1,
                1_000_000_000,
            ),
            (
                "rate = \"1/s\"\nburst = 20\ndelay = 0\nmax_delay = \"1ms\"\ncost = 5",
                5,
                1,
                1_000_000_000,
            ),
        ] {
            let bucket = bucket(&limit(keys));
            assert_eq!(
                (bucket.capacity(), bucket.prompt(), bucket.period()),
                (capacity, prompt, period),
                "{keys}"
            );
        }
    }

    #[test]
    fn every_key_of_the_file_arrives() {
        let policy = policy(&limit(
            "rate = \"10/s\"\ncost = 2\ncount = \"failures\"\n\
             key = [\"header:X-Key\", \"jwt:sub\", \"route\", \"host\", \"cookie:c\", \"query:q\", \"client-ip\"]\n\
             missing = \"skip\"\nipv6_prefix = 56\nallow = [\"10.0.0.0/8\"]\nheaders = \"draft-8\"\n\
             on_store_error = \"deny\"\nexact = true\nmode = \"report\"",
        ));
        assert_eq!((&*policy.name, policy.cost), ("a", 2));
        assert_eq!(
            policy.key.sources,
            [
                Source::Header(http::HeaderName::from_static("x-key")),
                Source::Claim("sub".into()),
                Source::Route,
                Source::Host,
                Source::Cookie("c".into()),
                Source::Query("q".into()),
                Source::ClientIp,
            ]
        );
        assert_eq!((policy.key.missing, policy.key.ipv6_prefix), (Missing::Skip, 56));
        assert!(policy.exempts("10.1.2.3".parse().expect("address")));
        assert!(!policy.exempts("11.1.2.3".parse().expect("address")));
        assert_eq!((policy.count, policy.mode), (Count::Failures, Mode::Report));
        assert_eq!(
            (policy.announce, policy.on_store_error),
            (Announce::Draft8, OnStoreError::Deny)
        );
        assert!(policy.exact && !policy.strict);
    }
}
