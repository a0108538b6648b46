//! Programs, by what their `User-Agent` says. It stops who does not hide.

use std::collections::HashSet;

use regex::{RegexSet, RegexSetBuilder};

/// The most that the expressions of a list may become, bytes.
const SIZE_LIMIT: usize = 16 << 20;

/// What a `User-Agent` is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentPattern {
    /// All of it; empty: there is none.
    Exact(Box<str>),
    /// What it begins with.
    Prefix(Box<str>),
    /// An expression that is found in it.
    Expression(Box<str>),
}

/// A list of them.
#[derive(Debug, Clone)]
pub struct Agents {
    exact: HashSet<Box<[u8]>>,
    prefixes: Vec<Box<[u8]>>,
    /// One machine for all of them: however many they are, the text is read once.
    expressions: Option<RegexSet>,
}

impl Agents {
    /// Made of these.
    ///
    /// # Errors
    /// All expressions together are too large, or one of them cannot be read.
    pub fn new(patterns: &[AgentPattern]) -> Result<Self, regex::Error> {
        let (mut exact, mut prefixes, mut expressions) = (HashSet::new(), Vec::new(), Vec::new());
        for pattern in patterns {
            match pattern {
                AgentPattern::Exact(text) => drop(exact.insert(text.as_bytes().into())),
                AgentPattern::Prefix(text) => prefixes.push(text.as_bytes().into()),
                AgentPattern::Expression(text) => expressions.push(&**text),
            }
        }
        let build = || RegexSetBuilder::new(&expressions).size_limit(SIZE_LIMIT).build();
        Ok(Self {
            exact,
            prefixes,
            expressions: if expressions.is_empty() { None } else { Some(build()?) },
        })
    }

    /// Whether one of them matches. Takes time in proportion to the length of the text, whatever it says.
    #[must_use]
    pub fn match_one(&self, agent: &[u8]) -> bool {
        self.exact.contains(agent)
            || self.prefixes.iter().any(|prefix| agent.starts_with(prefix))
            || (self.expressions.as_ref()).is_some_and(|set| set.is_match(&String::from_utf8_lossy(agent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_what_they_say() {
        let agents = Agents::new(&[
            AgentPattern::Exact("".into()),
            AgentPattern::Exact("Wget".into()),
            AgentPattern::Prefix("curl/".into()),
            AgentPattern::Expression("(?i)scrapy|^bot$".into()),
            AgentPattern::Expression("(a+)+$".into()),
        ])
        .expect("a list");
        for (agent, known) in [
            (&b""[..], true),
            (b"Wget", true),
            (b"wget", false),
            (b"Wget/1", false),
            (b"curl/8.1", true),
            (b"libcurl/8.1", false),
            (b"Mozilla/5.0 SCRAPY", true),
            (b"\xff Scrapy", true),
            (b"bot", true),
            (b"robot", false),
        ] {
            assert_eq!(agents.match_one(agent), known, "{}", String::from_utf8_lossy(agent));
        }
        // What takes a reader that goes back for ever.
        let trap = [&b"a".repeat(30_000)[..], b"!"].concat();
        assert!(!agents.match_one(&trap));
        let empty = Agents::new(&[]).expect("a list");
        assert!(!empty.match_one(b"") && !empty.match_one(b"curl"));
    }

    #[test]
    fn lists_are_bounded() {
        let large = AgentPattern::Expression("(?:[a-z]{100}){100}{20}".into());
        assert!(Agents::new(&vec![large; 20]).is_err());
    }
}
