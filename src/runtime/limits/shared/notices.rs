//! What gateways tell each other through the store: who is banned, whose ban is lifted, which key begins anew.
//!
//! The store has one list, in which the latest word about each client counts, and every gateway remembers up to where it
//! has read it. So a ban is everywhere within about a second, whoever starts later learns all of them, and a call says
//! nothing where there is no news. A list that is not the one a gateway knew was lost (a restart without data, an eviction)
//! or is that of another store: then the gateway says again what it knows.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use redis::{FromRedisValue, Value};

use super::Core;
use super::failure::{Failure, Refusal};
use super::script::NOTICES;
use crate::limit::ban::{Change, MAX_BANS};
use crate::limit::{Ban, Bans, Local};

/// How often it is looked for something to say, and in how many of those turns something is read even without.
const SAY: Duration = Duration::from_millis(100);
const READ: u64 = 8;

/// Notices in one call at most, each way.
const TOLD: usize = 500;

/// Notices that wait to be said at most; beyond it the oldest are dropped.
const WAITING: usize = MAX_BANS;

/// What stands in the braces of the list's keys.
const TAG: &str = "notices";

/// The longest name of a limit that is believed.
const LONGEST: usize = 256;

/// Something that gateways tell each other. Times are nanoseconds of this process's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// A client is turned away.
    Banned(Ban),
    /// A ban was lifted.
    Lifted { client: IpNet, at: u64, until: u64 },
    /// A key begins anew.
    Anew { id: u128, at: u64, until: u64 },
}

impl From<Change> for Notice {
    fn from(change: Change) -> Self {
        match change {
            Change::Banned(ban) => Self::Banned(ban),
            Change::Lifted { client, at, until } => Self::Lifted { client, at, until },
        }
    }
}

impl Notice {
    /// About whom, the word, since when, until when, by which limit.
    fn parts(&self) -> (String, &'static str, u64, u64, &str) {
        match self {
            Self::Banned(ban) => (ban.client.to_string(), "banned", ban.since, ban.until, &ban.policy),
            Self::Lifted { client, at, until } => (client.to_string(), "lifted", *at, *until, ""),
            Self::Anew { id, at, until } => (format!("{id:032x}"), "anew", *at, *until, ""),
        }
    }

    /// `None`: nobody of ours says that. `ago`, `left`: milliseconds.
    fn read(who: &str, word: &str, ago: &str, left: &str, limit: &str, now: u64) -> Option<Self> {
        let nanoseconds = |text: &str| Some(text.parse::<u64>().ok()?.saturating_mul(1_000_000));
        let at = now.saturating_sub(nanoseconds(ago)?);
        let until = now.saturating_add(nanoseconds(left)?);
        if word == "anew" {
            let id = u128::from_str_radix(who, 16).ok()?;
            return Some(Self::Anew { id, at, until });
        }
        let client: IpNet = who.parse().ok()?;
        // Nobody bans half the world, whatever stands in the store.
        let is_client = match client.addr() {
            IpAddr::V4(_) => client.prefix_len() == 32,
            IpAddr::V6(_) => client.prefix_len() >= 32,
        };
        match word {
            "banned" if is_client && limit.len() <= LONGEST => Some(Self::Banned(Ban {
                client,
                policy: limit.into(),
                since: at,
                until,
            })),
            "lifted" if is_client => Some(Self::Lifted { client, at, until }),
            _ => None,
        }
    }
}

/// What the store said.
struct Told {
    list: String,
    upto: String,
    notices: Vec<Notice>,
    /// As many as it may say at once: there is more, perhaps.
    is_full: bool,
}

/// Says these notices, and hears what is new in the list since `upto`, at most so many.
async fn exchange(core: &Core, notices: &[Notice], (list, upto): (&str, &str), most: usize) -> Result<Told, Failure> {
    let unreachable = || Failure::Unreachable("it is not connected".to_owned());
    let now = core.now();
    let key = |part: &str| format!("{}{{{TAG}}}{part}", core.keys.prefix());
    let line = core.routes.load().line_of(TAG).cloned().ok_or_else(unreachable)?;
    for _ in 0..2 {
        let digest = core.notices.lock().clone();
        let Some(digest) = digest else {
            let loaded = line.call(&NOTICES.load()).await?;
            *core.notices.lock() = Some(String::from_redis_value(loaded).map_err(|error| Failure::of(&error.into()))?);
            continue;
        };
        let mut call = redis::cmd("EVALSHA");
        call.arg(digest)
            .arg(3)
            .arg(key("facts"))
            .arg(key("said"))
            .arg(key("ends"));
        call.arg(list).arg(upto).arg(most).arg(MAX_BANS);
        for notice in notices {
            let (who, word, since, until, limit) = notice.parts();
            let milliseconds = |nanoseconds: u64| nanoseconds / 1_000_000;
            call.arg(who)
                .arg(word)
                .arg(milliseconds(now.saturating_sub(since)))
                .arg(milliseconds(until.saturating_sub(now)))
                .arg(limit);
        }
        match line.call(&call).await {
            Ok(value) => return read(value, most, core.now()),
            Err(failure) if failure.is_forgotten() => *core.notices.lock() = None,
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::Slow) // it forgets scripts as fast as they are loaded
}

fn read(value: Value, most: usize, now: u64) -> Result<Told, Failure> {
    let mut words = Vec::<String>::from_redis_value(value)
        .map_err(|error| Failure::of(&error.into()))?
        .into_iter();
    let (list, upto) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let words: Vec<String> = words.collect();
    let all = words.chunks_exact(5);
    let is_full = all.len() >= most;
    let notice = |words: &[String]| match words {
        [who, word, ago, left, limit] => Notice::read(who, word, ago, left, limit, now),
        _ => None,
    };
    Ok(Told {
        list,
        upto,
        notices: all.filter_map(notice).collect(),
        is_full,
    })
}

impl Core {
    /// Tells the others, at once.
    pub(super) async fn tell(&self, notice: Notice) -> Result<(), Failure> {
        exchange(self, &[notice], ("", "0"), 0).await.map(|_| ())
    }
}

/// Says what changes here and does what the others say, for as long as the store is in force.
pub(super) async fn follow(core: Arc<Core>, bans: Arc<Bans>, local: Arc<Local>) {
    let mut follower = Follower {
        core,
        bans,
        local,
        list: String::new(),
        upto: "0".to_owned(),
        waiting: VecDeque::new(),
        has_failed: false,
        is_told: false,
    };
    for turn in 0_u64.. {
        tokio::time::sleep(SAY).await;
        follower.collect();
        let has_news = !follower.waiting.is_empty() && !follower.has_failed;
        if has_news || turn % READ == 0 {
            while follower.turn().await {}
        }
    }
}

struct Follower {
    core: Arc<Core>,
    bans: Arc<Bans>,
    local: Arc<Local>,
    /// The list that is known, and up to which moment.
    list: String,
    upto: String,
    /// What is to be said, in the order in which it came true.
    waiting: VecDeque<Notice>,
    /// The last exchange came to nothing: the next one is not hurried.
    has_failed: bool,
    /// The log has it that this does not work.
    is_told: bool,
}

impl Follower {
    fn collect(&mut self) {
        self.waiting.extend(self.bans.changes().into_iter().map(Notice::from));
        let surplus = self.waiting.len().saturating_sub(WAITING);
        self.waiting.drain(..surplus);
    }

    /// One exchange; whether there is more.
    async fn turn(&mut self) -> bool {
        let said: Vec<Notice> = self.waiting.iter().take(TOLD).cloned().collect();
        let outcome = exchange(&self.core, &said, (&self.list, &self.upto), TOLD).await;
        self.has_failed = outcome.is_err();
        let told = match outcome {
            Ok(told) => told,
            Err(failure) => {
                self.failed(&failure);
                return false; // what was to be said is said next time
            }
        };
        self.is_told = false;
        self.waiting.drain(..said.len());
        let is_new = told.list != self.list;
        (self.list, self.upto) = (told.list, told.upto);
        for notice in told.notices {
            self.hear(notice);
        }
        if is_new {
            // Those that the store knows make no news.
            let known = self.bans.list(self.core.now());
            self.waiting.extend(known.into_iter().map(Notice::Banned));
        }
        told.is_full || !self.waiting.is_empty()
    }

    fn hear(&self, notice: Notice) {
        let now = self.core.now();
        match notice {
            Notice::Banned(ban) => self.bans.add(ban, now),
            Notice::Lifted { client, at, .. } => {
                self.bans.forget(client, at, now);
            }
            Notice::Anew { id, .. } => {
                self.core.book.forget(id);
                self.local.forget(id);
            }
        }
    }

    /// That the store cannot be asked is told elsewhere; that it does not do this one thing is told here.
    fn failed(&mut self, failure: &Failure) {
        let refused = matches!(failure, Failure::Refused(Refusal::Credentials | Refusal::Other, _));
        if refused && !self.is_told {
            self.is_told = true;
            tracing::error!(reason = %failure, "bans are not shared, each gateway has its own: the rights of a user are in docs/shared-limits.md");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_is_told_is_understood() {
        let client: IpNet = "2001:db8::/64".parse().expect("a network");
        let banned = Notice::Banned(Ban {
            client,
            policy: "my api".into(),
            since: 10 * MS,
            until: 900 * MS,
        });
        let (at, until) = (10 * MS, 900 * MS);
        for notice in [
            banned,
            Notice::Lifted { client, at, until },
            Notice::Anew { id: 7, at, until },
        ] {
            let (who, word, since, over, limit) = notice.parts();
            assert_eq!((since, over), (at, until));
            assert_eq!(
                Notice::read(&who, word, "90", "800", limit, 100 * MS).as_ref(),
                Some(&notice),
                "{who} {word}"
            );
        }
    }

    #[test]
    fn what_nobody_of_ours_says_is_left_out() {
        for (who, word) in [
            ("0.0.0.0/0", "banned"),
            ("192.0.2.0/24", "banned"),
            ("::/0", "banned"),
            ("192.0.2.1/33", "banned"),
            ("192.0.2.1", "banned"),
            ("192.0.2.1/32", "praised"),
            ("", "lifted"),
            ("xyz", "anew"),
        ] {
            assert_eq!(Notice::read(who, word, "1", "1", "", MS), None, "{who} {word}");
        }
        let long = "x".repeat(300);
        assert_eq!(Notice::read("192.0.2.1/32", "banned", "1", "1", &long, MS), None);
        assert_eq!(Notice::read("192.0.2.1/32", "banned", "-1", "1", "", MS), None);
    }
}
