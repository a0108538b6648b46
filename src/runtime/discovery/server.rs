//! One entry of `servers` or of a servers file, and where it is at the moment.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::answer::{Found, Outcome, accepted};
use crate::balance::{Endpoint, Member};
use crate::config::model::{Address, Target};
use crate::runtime::unix;

/// So often in a row it must be said that a name does not exist until its servers are gone: once may be a container that
/// is being replaced.
const ABSENCES: u32 = 3;
/// After a failure a name is looked up again after this time, then twice that, and so on up to the interval.
pub(super) const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Bounds of the interval, so that no number in the file makes the loop spin or overflow.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// One entry.
pub(super) struct Server {
    /// Tells answers to it from answers to one that left the list meanwhile.
    pub(super) id: u64,
    entry: Address,
    text: Arc<str>,
    kind: Kind,
}

enum Kind {
    /// An address, or what a pool cannot have: nothing to look up.
    Fixed(Vec<Found>),
    /// A name.
    Named(Named),
}

struct Named {
    found: Vec<Found>,
    /// Look-ups in a row that gave no address.
    failures: u32,
    /// Those of them, at the end, that said that there is none.
    absences: u32,
    /// How long the last answer is good.
    ttl: Duration,
    /// When to look up again; `None`: that is being done.
    due: Option<Instant>,
}

impl Server {
    /// With the addresses that it has in `known`. `due`: when to look up for the first time.
    pub(super) fn new(id: u64, entry: Address, known: &[Arc<Endpoint>], due: Instant) -> Self {
        let text: Arc<str> = entry.to_string().into();
        let kind = match &entry.target {
            Target::Host { host, port } => match host.parse::<IpAddr>() {
                Ok(ip) => Kind::Fixed(accepted(vec![Found {
                    address: SocketAddr::new(ip, *port),
                    weight: 1,
                    name: Arc::clone(&text),
                }])),
                Err(_) => {
                    let name: Arc<str> = (&**host).into();
                    Kind::Named(Named::new(due, &text, known, |one| Found {
                        address: one.address(),
                        weight: 1,
                        name: Arc::clone(&name),
                    }))
                }
            },
            // Of which target an address is one is not known any more.
            Target::Srv(_) => Kind::Named(Named::new(due, &text, known, |one| Found {
                address: one.address(),
                weight: (one.weight() / entry.weight.max(1)).max(1),
                name: Arc::clone(&text),
            })),
            Target::Unix(_) => Kind::Fixed(vec![Found {
                address: unix::address(&text),
                weight: 1,
                name: Arc::clone(&text),
            }]),
        };
        Self { id, entry, text, kind }
    }

    /// What the file says about it.
    pub(super) fn entry(&self) -> &Address {
        &self.entry
    }

    /// Takes over what the file says now about the same target.
    pub(super) fn revise(&mut self, entry: Address) {
        self.entry = entry;
    }

    /// What is wrong with it was told.
    pub(super) fn resume(&mut self) {
        if let Kind::Named(named) = &mut self.kind {
            named.failures = u32::from(named.found.is_empty());
        }
    }

    /// When it is to be looked up; `None`: never, or it is being done.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Fixed(_) => None,
            Kind::Named(named) => named.due,
        }
    }

    /// From now on, and until [`learn`](Self::learn), it is being looked up.
    pub(super) fn asked(&mut self) {
        if let Kind::Named(named) = &mut self.kind {
            named.due = None;
        }
    }

    /// What the pool is told.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        let found = match &self.kind {
            Kind::Fixed(found) => found,
            Kind::Named(named) => &named.found,
        };
        found.iter().map(|one| Member {
            server: Arc::clone(&self.text),
            address: one.address,
            weight: self.entry.weight.saturating_mul(one.weight),
            backup: self.entry.backup,
            max_requests: self.entry.max_requests.and_then(NonZeroU32::new),
        })
    }

    /// Takes in what a look-up found, and plans the next one; whether the addresses changed. Tells the log what changed,
    /// and that only: not that a name still fails.
    pub(super) fn learn(&mut self, upstream: &str, outcome: Outcome, interval: Duration) -> bool {
        let server = &*self.text;
        let Kind::Named(named) = &mut self.kind else {
            return false;
        };
        let changed = named.learn(upstream, server, outcome);
        named.due = Some(Instant::now() + jittered(named.wait(interval)));
        changed
    }
}

impl Named {
    fn new(due: Instant, text: &str, known: &[Arc<Endpoint>], found: impl Fn(&Endpoint) -> Found) -> Self {
        let of_server = known.iter().filter(|one| **one.server() == *text);
        Self {
            found: of_server.map(|one| found(one)).collect(),
            failures: 0,
            absences: 0,
            ttl: Duration::ZERO,
            due: Some(due),
        }
    }

    fn learn(&mut self, upstream: &str, server: &str, outcome: Outcome) -> bool {
        let why = match outcome {
            Outcome::Found(answer) => {
                self.ttl = answer.ttl;
                let accepted = answer.accepted(&self.found);
                if !accepted.is_empty() {
                    let changed = accepted != self.found;
                    if changed || self.failures > 0 {
                        info!(%upstream, %server, addresses = %Shown(&accepted), "server resolved");
                    }
                    (self.failures, self.absences) = (0, 0);
                    self.found = accepted;
                    return changed;
                }
                self.absences = 0;
                "no address that a server can have".to_owned()
            }
            Outcome::Absent => {
                self.absences = self.absences.saturating_add(1);
                "the name does not exist or has no addresses".to_owned()
            }
            Outcome::Failed(why) => {
                self.absences = 0;
                why
            }
        };
        self.failures = self.failures.saturating_add(1);
        if self.absences >= ABSENCES && !self.found.is_empty() {
            warn!(%upstream, %server, left = %Shown(&self.found), "server is gone: its name does not exist any more");
            self.found.clear();
            return true;
        }
        if self.failures == 1 {
            warn!(%upstream, %server, error = %why, kept = %Shown(&self.found), "server does not resolve");
        }
        false
    }

    /// The time until the next look-up.
    fn wait(&self, interval: Duration) -> Duration {
        let interval = interval.clamp(SHORTEST, LONGEST);
        let wait = match self.failures.checked_sub(1) {
            Some(again) => FIRST_RETRY.saturating_mul(1 << again.min(16)),
            None => self.ttl.max(SHORTEST),
        };
        wait.min(interval)
    }
}

/// Earlier by up to a tenth, so that look-ups spread; never later than an answer is good.
pub(super) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.9 + 0.1 * fastrand::f64())
}

/// Addresses as the log shows them.
struct Shown<'a>(&'a [Found]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|one| one.address)).finish()
    }
}

#[cfg(test)]
mod tests;
