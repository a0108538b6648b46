//! What is known of the purges that concern answers in the Redis: all of them that the sequence holds, and those that are
//! not in it yet.

use std::time::SystemTime;

use super::follow::{BATCH, number, read_purge};
use super::{PATIENCE, Sharing, State, in_time};
use crate::cache::store::Entry;
use crate::cache::{Generation, Missed, Moment, Position, Purge, Rules, Ruling, UrlKey};
use crate::runtime::limits::shared::failure::Failure;
use crate::runtime::limits::shared::target::Connection;

/// Entries of the sequence: id and fields.
type Entries = Vec<(String, Vec<Vec<u8>>)>;

impl State {
    pub(super) fn joins(&mut self, there: &Position, first: Option<u64>) -> Missed {
        let missed = self.follower.joins(there, first);
        if missed == Missed::Unknown {
            // What was counted before is not comparable with what is counted now.
            self.series += 1;
            self.rules = None;
        }
        missed
    }

    pub(super) fn hears(&mut self, number: u64, purge: Option<&Purge>) -> Missed {
        let missed = self.follower.hears(number, purge.is_some());
        if let Some(rules) = &mut self.rules {
            match purge {
                Some(purge) => rules.note(purge, number, now()),
                None => rules.forget(number),
            }
            if missed != Missed::Nothing {
                rules.forget(number);
            }
        }
        missed
    }

    /// Whether it is known what was purged of the answers in the Redis.
    pub(super) fn knows(&self) -> bool {
        self.up_to_date && self.rules.is_some()
    }
}

impl Sharing {
    /// How many purges are known.
    pub(super) fn generation(&self) -> Generation {
        let state = self.state.lock();
        Generation {
            series: state.series,
            number: state.follower.generation(),
        }
    }

    /// The same as others understand it; `None`: that sequence is no more.
    pub(super) fn position(&self, generation: Generation) -> Option<Position> {
        let state = self.state.lock();
        let here = state
            .follower
            .position()
            .filter(|_| state.series == generation.series)?;
        Some(Position {
            epoch: here.epoch.clone(),
            generation: generation.number,
        })
    }

    /// What purges say of an answer that was found in the Redis when the sequence was `there`. `series`: the sequence that
    /// was followed before it was looked for; `asked`: up to where purges were known when the answer was asked for. `None`:
    /// not all of them have been heard yet.
    pub(super) fn rule(
        &self,
        cache: &str,
        series: u64,
        there: &Position,
        asked: &Position,
        entry: &Entry,
    ) -> Option<Ruling> {
        let state = self.state.lock();
        let (Some(here), Some(rules)) = (state.follower.position(), &state.rules) else {
            return Some(Ruling::Gone);
        };
        let same = state.series == series && here.epoch == there.epoch && asked.epoch == there.epoch;
        if !same || asked.generation > there.generation {
            return Some(Ruling::Gone);
        }
        if here.generation < there.generation {
            return None;
        }
        let untold = state
            .untold
            .iter()
            .filter(|purge| *purge.cache == *cache && purge.target.means(UrlKey(0), &entry.url, &entry.tags));
        let untold = untold.map(|purge| match purge.soft {
            true => Ruling::Stale(now()),
            false => Ruling::Gone,
        });
        Some(untold.fold(rules.rule(cache, asked.generation, entry), Ruling::and))
    }

    /// Reads what the sequence holds, if somebody needs to know.
    pub(super) async fn learn(&self, connection: &mut Connection) -> Result<(), Failure> {
        let (series, generation) = {
            let state = self.state.lock();
            if !self.answers.are_wanted() || state.rules.is_some() {
                return Ok(());
            }
            (state.series, state.follower.generation())
        };
        let mut rules: Option<Rules> = None;
        let mut next = 0;
        loop {
            let mut call = redis::cmd("XRANGE");
            call.arg(self.key("purges"))
                .arg(format!("{next}-0"))
                .arg(format!("{generation}-0"))
                .arg("COUNT")
                .arg(BATCH);
            let mut handle = connection.handle.clone();
            let entries: Entries = in_time(call.query_async(&mut handle), PATIENCE).await?;
            for (id, fields) in &entries {
                let number = number(id).unwrap_or(generation);
                let rules = rules.get_or_insert_with(|| Rules::after(number.saturating_sub(1)));
                if number != next && next > 0 {
                    rules.forget(number.saturating_sub(1)); // some between are gone
                }
                match read_purge(fields) {
                    Some(purge) => rules.note(&purge, number, now()),
                    None => rules.forget(number),
                }
                next = number.saturating_add(1);
            }
            if entries.len() < BATCH {
                break;
            }
        }
        let mut rules = rules.unwrap_or_else(|| Rules::after(generation));
        if next != 0 && next <= generation {
            rules.forget(generation);
        }
        let mut state = self.state.lock();
        if state.series == series {
            state.rules = Some(rules);
        }
        Ok(())
    }
}

fn now() -> Moment {
    SystemTime::now().into()
}
