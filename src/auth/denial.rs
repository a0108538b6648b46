//! Why somebody is not let in, and how that is said (RFC 9110 §11.6.1, RFC 6750 §3).

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;

use crate::answer::{Answer, Members, Reason};

/// What a client is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A bearer token.
    Bearer,
    /// A name and a password.
    Basic,
    /// A key: there is no registered scheme for that.
    ApiKey,
}

/// Why one way of `auth` does not let a request in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// It has no credential of that kind.
    Nothing,
    /// Its credential is not good; what is wrong with it, in words that may be shown.
    Invalid(String),
    /// It is known who asks, and that one may not.
    Forbidden,
    /// It cannot be known now.
    Unavailable,
    /// There are more who wait to be checked than can be.
    Busy,
    /// The client was wrong so often that it is not checked any more; after this time it is.
    TooMany(Duration),
}

impl Denial {
    /// How far the request came: of several ways, the one that came farthest answers.
    fn rank(&self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Invalid(_) => 1,
            Self::Unavailable | Self::Busy | Self::TooMany(_) => 2,
            Self::Forbidden => 3,
        }
    }

    /// The answer to a request that no way of several lets in. `realm` stands in each challenge.
    #[must_use]
    pub fn answer(denials: &[(Arc<str>, Challenge, Self)]) -> Answer {
        let worst = denials
            .iter()
            .map(|(_, _, denial)| denial)
            .max_by_key(|denial| denial.rank());
        let (reason, retry_after) = match worst {
            None | Some(Self::Nothing | Self::Invalid(_)) => (Reason::Unauthenticated, None),
            Some(Self::Forbidden) => (Reason::NotPermitted, None),
            Some(Self::TooMany(wait)) => (Reason::TooManyFailures, Some(*wait)),
            Some(Self::Unavailable | Self::Busy) => (Reason::AuthUnavailable, Some(Duration::from_secs(1))),
        };
        let challenged = matches!(reason, Reason::Unauthenticated | Reason::NotPermitted);
        let lines = denials.iter().filter(|(.., denial)| {
            // RFC 9110 §15.5.4: a 403 asks for nothing else; RFC 6750 §3.1 names what is missing.
            challenged && (reason == Reason::Unauthenticated || *denial == Self::Forbidden)
        });
        Answer::Refusal {
            reason,
            retry_after,
            fields: lines
                .filter_map(|(realm, challenge, denial)| Some((WWW_AUTHENTICATE, challenge.line(realm, denial)?)))
                .collect(),
            members: Members::new(),
        }
    }
}

impl Challenge {
    fn line(&self, realm: &str, denial: &Denial) -> Option<HeaderValue> {
        let scheme = match self {
            Self::Bearer => "Bearer",
            Self::Basic => "Basic",
            Self::ApiKey => "ApiKey",
        };
        let mut line = format!("{scheme} realm=\"{realm}\"");
        if *self == Self::Basic {
            line.push_str(", charset=\"UTF-8\"");
        }
        match denial {
            // RFC 6750 §3.1: who sent nothing is told nothing about what is wrong.
            Denial::Invalid(why) if *self == Self::Bearer => {
                let _ = write!(line, ", error=\"invalid_token\", error_description=\"{why}\"");
            }
            Denial::Forbidden if *self == Self::Bearer => line.push_str(", error=\"insufficient_scope\""),
            _ => {}
        }
        HeaderValue::try_from(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_that_came_farthest_answers() {
        use Challenge::{ApiKey, Basic, Bearer};
        let invalid = || Denial::Invalid("the token is expired".to_owned());
        for (denials, status, lines) in [
            (vec![(Bearer, Denial::Nothing)], 401, &["Bearer realm=\"r\""][..]),
            (
                vec![(Bearer, invalid())],
                401,
                &["Bearer realm=\"r\", error=\"invalid_token\", error_description=\"the token is expired\""],
            ),
            (
                vec![(Basic, invalid()), (ApiKey, Denial::Nothing)],
                401,
                &["Basic realm=\"r\", charset=\"UTF-8\"", "ApiKey realm=\"r\""],
            ),
            (
                vec![(Bearer, Denial::Forbidden), (ApiKey, Denial::Nothing)],
                403,
                &["Bearer realm=\"r\", error=\"insufficient_scope\""],
            ),
            (vec![(Bearer, Denial::Unavailable), (ApiKey, invalid())], 503, &[]),
            (
                vec![(Bearer, Denial::Unavailable), (ApiKey, Denial::Forbidden)],
                403,
                &["ApiKey realm=\"r\""],
            ),
            (vec![(Basic, Denial::Busy)], 503, &[]),
            (
                vec![(ApiKey, invalid()), (Basic, Denial::TooMany(Duration::from_secs(5)))],
                429,
                &[],
            ),
        ] {
            let denials: Vec<_> = denials
                .into_iter()
                .map(|(challenge, denial)| (Arc::from("r"), challenge, denial))
                .collect();
            let rendered = Denial::answer(&denials).render(None, "");
            assert_eq!(rendered.status, status, "{denials:?}");
            let got: Vec<&str> = rendered
                .headers
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .map(|line| line.to_str().unwrap())
                .collect();
            assert_eq!(got, lines);
            assert_eq!(
                rendered.headers.contains_key("retry-after"),
                [429, 503].contains(&status)
            );
        }
    }
}
