//! What is answered to an authority that asks whether a name is ours.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::model::AcmeChallenge;

/// The path below which tokens are asked for (RFC 8555 §8.3).
const PLACE: &str = "/.well-known/acme-challenge/";

/// Longest token that is looked up, bytes; authorities send 43 or less.
const TOKEN_MAX: usize = 128;

/// Whether this can be a token (RFC 8555 §8.1): base64url, and not too long.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=TOKEN_MAX).contains(&text.len()) && text.bytes().all(known)
}

/// How a challenge is asked for: its token, or the name where it is one in TLS.
type Asked = (AcmeChallenge, Box<str>);

type Answers = Arc<Mutex<HashMap<Asked, Arc<str>>>>;

/// The answers that are there at the moment, by token and by name.
#[derive(Default)]
pub struct Challenges(Answers);

/// Answers of one order; they go away with it.
pub struct Published {
    all: Answers,
    mine: Vec<Asked>,
}

impl Challenges {
    /// The token that a path asks for; `None`: it asks for none.
    #[must_use]
    pub fn token(path: &str) -> Option<&str> {
        path.strip_prefix(PLACE).filter(|token| is_token(token))
    }

    /// An order begins.
    #[must_use]
    pub fn order(&self) -> Published {
        Published {
            all: Arc::clone(&self.0),
            mine: Vec::new(),
        }
    }

    /// The key authorization; `what`: the token, or the name where the challenge is one in TLS.
    #[must_use]
    pub fn find(&self, challenge: AcmeChallenge, what: &str) -> Option<Arc<str>> {
        let all = self.0.lock();
        if all.is_empty() {
            return None; // mostly
        }
        all.get(&(challenge, what.into())).cloned()
    }
}

impl Published {
    /// From now on this is answered.
    pub fn publish(&mut self, challenge: AcmeChallenge, what: &str, key_authorization: &str) {
        let key = (challenge, Box::from(what));
        self.all.lock().insert(key.clone(), key_authorization.into());
        self.mine.push(key);
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        for key in &self.mine {
            all.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_live_as_long_as_their_order() {
        let challenges = Challenges::default();
        let mut order = challenges.order();
        order.publish(AcmeChallenge::Http01, "token", "token.thumb");
        order.publish(AcmeChallenge::TlsAlpn01, "a.test", "other.thumb");
        assert_eq!(
            challenges.find(AcmeChallenge::Http01, "token").as_deref(),
            Some("token.thumb")
        );
        assert_eq!(challenges.find(AcmeChallenge::TlsAlpn01, "token"), None);
        assert_eq!(
            challenges.find(AcmeChallenge::TlsAlpn01, "a.test").as_deref(),
            Some("other.thumb")
        );
        drop(order);
        assert_eq!(challenges.find(AcmeChallenge::Http01, "token"), None);
    }

    #[test]
    fn only_tokens_are_looked_for() {
        let long = "x".repeat(TOKEN_MAX + 1);
        for (path, token) in [
            ("/.well-known/acme-challenge/aB-_9", Some("aB-_9")),
            ("/.well-known/acme-challenge/", None),
            ("/.well-known/acme-challenge/a/b", None),
            ("/.well-known/acme-challenge/../x", None),
            ("/.well-known/acme-challenge/a%20", None),
            ("/a/.well-known/acme-challenge/a", None),
        ] {
            assert_eq!(Challenges::token(path), token, "{path}");
        }
        assert!(!is_token(&long));
    }
}
