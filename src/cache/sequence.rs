//! The sequence of purges that gateways share: each has a number, so that whoever was away knows what it has missed, or
//! that it cannot know.

use super::store::Target;

/// The longest text of a purge that is told, bytes; longer URLs do not come through the gate.
const LONGEST: usize = 64 << 10;

/// A purge, as gateways tell one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// The cache that it is about.
    pub cache: Box<str>,
    /// What is purged; never [`Target::Key`], whose hashes are each gateway's own.
    pub target: Target,
    /// It is stale from then on, not gone.
    pub soft: bool,
}

impl Purge {
    /// The letter and the text that stand for the target; `None`: it cannot be told.
    #[must_use]
    pub fn told(&self) -> Option<(&'static str, &str)> {
        let (letter, text) = match &self.target {
            Target::Key(_) => return None,
            Target::Url(url) => ("u", url.as_str()),
            Target::Prefix(start) => ("p", start.as_str()),
            Target::Tag(tag) => ("t", tag.as_str()),
            Target::All => ("a", ""),
        };
        (text.len() <= LONGEST).then_some((letter, text))
    }

    /// What was told; `None`: a later version tells something that this one does not know.
    #[must_use]
    pub fn heard(cache: &str, letter: &str, text: &str, soft: bool) -> Option<Self> {
        let target = match letter {
            "u" => Target::Url(text.to_owned()),
            "p" => Target::Prefix(text.to_owned()),
            "t" => Target::Tag(text.to_owned()),
            "a" => Target::All,
            _ => return None,
        };
        Some(Self {
            cache: cache.into(),
            target,
            soft,
        })
    }
}

/// Where a sequence is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Which sequence: one that was lost is begun anew under another name.
    pub epoch: Box<str>,
    /// The number of the last purge.
    pub generation: u64,
}

/// What is to be done about what a gateway has kept while it did not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// Nothing was purged.
    Nothing,
    /// The purges behind its own generation are still there to be read.
    Readable,
    /// Nobody knows what was purged: everything may have been.
    Unknown,
}

/// How far a gateway has followed the sequence.
#[derive(Debug, Default)]
pub struct Follower {
    position: Option<Position>,
}

impl Follower {
    /// One that has followed up to here before: what it has kept is known to be good up to then.
    #[must_use]
    pub fn from(position: Option<Position>) -> Self {
        Self { position }
    }

    /// Where it is; `None`: it has not joined.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// The number of the last purge that was heard.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.position.as_ref().map_or(0, |position| position.generation)
    }

    /// The sequence is there, and stands here; `first`: the number of the oldest purge that can be read.
    pub fn joins(&mut self, there: &Position, first: Option<u64>) -> Missed {
        let Some(here) = &self.position else {
            self.position = Some(there.clone());
            return Missed::Unknown; // it may have kept something before it came to know of the sequence
        };
        let missed = match here.generation.cmp(&there.generation) {
            _ if here.epoch != there.epoch => Missed::Unknown,
            std::cmp::Ordering::Greater => Missed::Unknown, // it was set back
            std::cmp::Ordering::Equal => Missed::Nothing,
            std::cmp::Ordering::Less if first.is_some_and(|first| first <= here.generation + 1) => Missed::Readable,
            std::cmp::Ordering::Less => Missed::Unknown,
        };
        if missed == Missed::Unknown {
            self.position = Some(there.clone());
        }
        missed
    }

    /// The purge of this number was read, and `understood` or not. [`Missed::Unknown`]: nobody knows what it was, or what
    /// those before it were.
    pub fn hears(&mut self, generation: u64, understood: bool) -> Missed {
        let Some(position) = &mut self.position else {
            return Missed::Unknown;
        };
        let next = position.generation + 1;
        position.generation = generation;
        match understood && generation == next {
            true => Missed::Nothing,
            false => Missed::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: &str, generation: u64) -> Position {
        Position {
            epoch: epoch.into(),
            generation,
        }
    }

    #[test]
    fn purges_are_told_as_they_are() {
        for target in [
            Target::Url("http://a/b?c".into()),
            Target::Prefix("/api/".into()),
            Target::Tag("x y".into()),
            Target::All,
        ] {
            let purge = Purge {
                cache: "c".into(),
                target,
                soft: true,
            };
            let (letter, text) = purge.told().expect("can be told");
            assert_eq!(Purge::heard("c", letter, text, true), Some(purge.clone()));
        }
        assert_eq!(Purge::heard("c", "z", "", false), None);
    }

    #[test]
    fn who_was_away_reads_what_is_there() {
        for (here, there, first, expected) in [
            (None, at("a", 7), Some(1), Missed::Unknown),
            (Some(at("a", 7)), at("a", 7), None, Missed::Nothing),
            (Some(at("a", 7)), at("a", 9), Some(8), Missed::Readable),
            (Some(at("a", 7)), at("a", 9), Some(2), Missed::Readable),
            (Some(at("a", 7)), at("a", 9), Some(9), Missed::Unknown), // 8 was thrown away
            (Some(at("a", 7)), at("a", 9), None, Missed::Unknown),
            (Some(at("a", 7)), at("b", 7), Some(1), Missed::Unknown), // lost, and begun anew
            (Some(at("a", 7)), at("a", 5), Some(1), Missed::Unknown), // set back
        ] {
            let mut follower = Follower { position: here.clone() };
            assert_eq!(follower.joins(&there, first), expected, "{here:?} {there:?} {first:?}");
            if expected == Missed::Unknown {
                assert_eq!(follower.position, Some(there));
            }
        }
    }

    #[test]
    fn a_gap_is_noticed() {
        let mut follower = Follower {
            position: Some(at("a", 7)),
        };
        assert_eq!(follower.hears(8, true), Missed::Nothing);
        assert_eq!(follower.hears(10, true), Missed::Unknown);
        assert_eq!(follower.hears(11, true), Missed::Nothing);
        assert_eq!(
            follower.hears(12, false),
            Missed::Unknown,
            "what is not understood may mean anything"
        );
        assert_eq!(follower.generation(), 12);
    }
}
