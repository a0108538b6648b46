//! The scripts, and how those are called that requests and lines need.

use std::fmt::Write as _;

use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind, Value};

use super::cluster;
use crate::limit::{Ask, KeyHasher, Manner, Reply};

/// Decides; see the file.
pub(super) const DECIDE: Script = Script(include_str!("decide.lua"));

/// Counts the gateways; see the file.
pub(super) const BEAT: Script = Script(include_str!("beat.lua"));

/// Tells and hears what gateways tell each other; see the file.
pub(super) const NOTICES: Script = Script(include_str!("notices.lua"));

/// How long a gateway that is not heard of counts as alive, milliseconds.
const LIFE: u32 = 5_000;

/// A script of ours.
#[derive(Clone, Copy)]
pub(super) struct Script(&'static str);

impl Script {
    /// Makes the server know it; answers with its digest.
    pub(super) fn load(self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.0);
        command
    }
}

/// Digests of the scripts, as a server told them.
#[derive(Clone)]
pub(super) struct Digests {
    pub(super) decide: String,
    pub(super) beat: String,
}

/// Names of keys.
#[derive(Clone)]
pub(super) struct Keys {
    prefix: Box<str>,
    hasher: KeyHasher,
}

impl Keys {
    /// Keys of gateways with the same prefix are the same.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            hasher: KeyHasher::shared(prefix.as_bytes()),
        }
    }

    /// What every key begins with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What identifies clients is hashed alike on every gateway, in every release.
    pub(super) fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// What decides on which node of a Cluster a key is.
    fn tag(&self, tag: u64) -> u32 {
        // Its low half; the tag may be an address.
        self.hasher.network("", tag) as u32
    }

    /// The slot of the keys with this tag; 0 where nobody wants to know.
    pub(super) fn slot_if(&self, wanted: bool, tag: u64) -> u16 {
        if !wanted {
            return 0;
        }
        cluster::slot(format!("{:08x}", self.tag(tag)).as_bytes())
    }

    pub(super) fn bucket(&self, ask: &Ask) -> String {
        let mut key = String::with_capacity(self.prefix.len() + 43);
        // Writing to a string cannot fail.
        let _ = write!(key, "{}{{{:08x}}}{:032x}", self.prefix, self.tag(ask.tag), ask.id);
        key
    }

    /// Where gateways say that they live. `tag`: for the node of a Cluster.
    pub(super) fn gateways(&self, tag: &str) -> String {
        format!("{}gateways{tag}", self.prefix)
    }
}

/// Adds the call that asks all this in one step.
pub(super) fn decide(pipeline: &mut Pipeline, digests: &Digests, keys: &Keys, asks: &[Ask]) {
    let call = pipeline.cmd("EVALSHA").arg(&digests.decide).arg(asks.len());
    for ask in asks {
        call.arg(keys.bucket(ask));
    }
    for ask in asks {
        let period = ask.terms.bucket.period();
        call.arg(microseconds(period))
            .arg(microseconds(ask.terms.bucket.fill_time()))
            .arg(ask.least)
            .arg(ask.most)
            .arg(u8::from(ask.out))
            .arg(match ask.manner {
                Manner::Report => 0,
                Manner::Enforce => 1,
                Manner::Force => 2,
            })
            .arg(ask.settle.units)
            .arg(ask.settle.unspent)
            .arg(ask.settle.clock)
            .arg(ask.terms.lease.div_ceil(1_000_000));
    }
}

/// The call that tells that this gateway lives.
pub(super) fn beat(digests: &Digests, key: &str, name: &str) -> Cmd {
    let mut call = redis::cmd("EVALSHA");
    call.arg(&digests.beat).arg(1).arg(key).arg(name).arg(LIFE);
    call
}

/// What the server says to [`decide`].
///
/// # Errors
/// What is wrong with it.
pub(super) fn replies(value: Value, asks: &[Ask]) -> Result<Vec<Reply>, RedisError> {
    let odd = || RedisError::from((ErrorKind::UnexpectedReturnType, "not what the script returns"));
    let numbers = Vec::<u64>::from_redis_value(value.extract_error()?)?;
    if numbers.len() != asks.len() * 4 {
        return Err(odd());
    }
    numbers
        .chunks_exact(4)
        .map(|reply| match *reply {
            [granted, backlog, retry_in, clock] => Ok(Reply {
                granted: u32::try_from(granted).map_err(|_| odd())?,
                backlog: backlog.saturating_mul(1_000),
                retry_in: retry_in.saturating_mul(1_000),
                clock,
            }),
            _ => Err(odd()),
        })
        .collect()
}

/// Whether the server has forgotten the scripts, which is nobody's fault.
pub(super) fn is_forgotten(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

/// Microseconds as the script reads them: whole ones without a point.
fn microseconds(nanoseconds: u64) -> String {
    match nanoseconds % 1_000 {
        0 => (nanoseconds / 1_000).to_string(),
        rest => format!("{}.{rest:03}", nanoseconds / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limit::{Bucket, Policy, Terms};

    #[test]
    fn keys_are_the_same_everywhere() {
        let policy = Policy::new("a", Bucket::new(5, Duration::from_secs(60), 5));
        let ask = Ask {
            id: 0xabc,
            tag: 7,
            terms: Terms::of(&policy, 1),
            least: 1,
            most: 1,
            out: false,
            manner: Manner::Enforce,
            settle: crate::limit::Settlement::default(),
        };
        let key = Keys::new("gw:").bucket(&ask);
        assert_eq!(key, "gw:{ac6b6bc0}00000000000000000000000000000abc");
        assert_ne!(Keys::new("shop:").bucket(&ask)[6..14], key[4..12]);
    }

    #[test]
    fn fractions_of_microseconds_are_told() {
        for (nanoseconds, text) in [(12_000_000_000, "12000000"), (333_334, "333.334"), (1, "0.001")] {
            assert_eq!(microseconds(nanoseconds), text);
        }
    }
}
