//! Who may be picked, worked out once for a set of servers and then only read, until something changes or its time is over.

use std::sync::Arc;

use super::circle::Circle;
use super::clock::Tick;
use super::ramp::Ramp;
use super::rotation::sequence;
use super::{Endpoint, Settings, Strategy};

/// The servers of a pool at one time.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// All of them, in the order of the file.
    pub(super) all: Arc<[Arc<Endpoint>]>,
    /// Those that requests go to.
    pub(super) first: Tier,
    /// Those that they go to when all of the first ones were tried or drain: backups that are fit.
    pub(super) spare: Tier,
    /// How many are fit, backups included.
    pub(super) fit: usize,
    /// So few are fit that ejections are ignored.
    pub(super) panicking: bool,
    /// Whether each was out by its probes.
    down: Box<[bool]>,
    /// From here on an ejection is over, or a slow start is a step further.
    pub(super) valid_until: Tick,
    /// The time it was made for.
    pub(super) made: Tick,
}

/// Servers that are equal but for their weights.
#[derive(Debug, Default)]
pub(super) struct Tier {
    pub(super) seats: Box<[Seat]>,
    /// For round robin: indices into the seats, one a turn.
    pub(super) turns: Box<[u32]>,
    /// For random picks: the sums of the weights up to each seat.
    pub(super) sums: Box<[f64]>,
    /// For consistent hashing.
    pub(super) circle: Circle,
}

/// A server and the weight that counts at the moment.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) weight: f64,
}

impl Roster {
    pub(super) fn new(all: Arc<[Arc<Endpoint>]>, settings: &Settings, now: Tick) -> Self {
        let fit = |endpoint: &Endpoint| is_fit(endpoint, settings, now);
        let regular = Group::new(&all, false, settings, now);
        let backup = Group::new(&all, true, settings, now);
        let many = |group: &Group<'_>| group.fit.len() as f64 >= group.all.len() as f64 * settings.panic_threshold;

        // Below the threshold whoever is not out by the probes is used. But one backup that is fit is better than servers of
        // which every one is ejected.
        let none: &[&Arc<Endpoint>] = &[];
        let (first, of, spare) = if regular.fit.is_empty() && !backup.fit.is_empty() {
            (&backup.fit, &backup, none)
        } else if many(&regular) && !regular.fit.is_empty() {
            (&regular.fit, &regular, &*backup.fit)
        } else if regular.up.is_empty() {
            (&backup.up, &backup, none)
        } else {
            (&regular.up, &regular, &*backup.fit)
        };
        let panicking = first.iter().any(|endpoint| !fit(endpoint));
        Self {
            first: Tier::new(first, of, settings, now),
            spare: Tier::new(spare, &backup, settings, now),
            fit: regular.fit.len() + backup.fit.len(),
            panicking,
            down: all.iter().map(|endpoint| is_down(endpoint, settings)).collect(),
            valid_until: valid_until(&all, settings, now),
            made: now,
            all,
        }
    }

    /// Whether the probes have changed nothing since.
    pub(super) fn is_settled(&self, settings: &Settings) -> bool {
        let down = self.all.iter().map(|endpoint| is_down(endpoint, settings));
        down.eq(self.down.iter().copied())
    }
}

/// Whether the probes say that a server is out.
pub(super) fn is_down(endpoint: &Endpoint, settings: &Settings) -> bool {
    settings.health.is_some() && endpoint.is_down()
}

/// Whether neither probes nor requests speak against a server.
pub(super) fn is_fit(endpoint: &Endpoint, settings: &Settings, now: Tick) -> bool {
    !is_down(endpoint, settings) && !endpoint.passive.is_ejected(now)
}

/// The regular servers, or the backups.
struct Group<'a> {
    all: Vec<&'a Arc<Endpoint>>,
    /// Those that are not out by the probes.
    up: Vec<&'a Arc<Endpoint>>,
    /// Of these, those that are not ejected.
    fit: Vec<&'a Arc<Endpoint>>,
}

impl<'a> Group<'a> {
    fn new(servers: &'a [Arc<Endpoint>], backup: bool, settings: &Settings, now: Tick) -> Self {
        let all = servers
            .iter()
            .filter(|endpoint| endpoint.is_backup() == backup)
            .collect::<Vec<_>>();
        let up = all
            .iter()
            .copied()
            .filter(|endpoint| !is_down(endpoint, settings))
            .collect::<Vec<_>>();
        let fit = up
            .iter()
            .copied()
            .filter(|endpoint| is_fit(endpoint, settings, now))
            .collect();
        Self { all, up, fit }
    }
}

impl Tier {
    fn new(servers: &[&Arc<Endpoint>], of: &Group<'_>, settings: &Settings, now: Tick) -> Self {
        let percent = |endpoint: &Endpoint| endpoint.ramp.percent(now, settings.slow_start);
        let seat = |endpoint: &&Arc<Endpoint>| Seat {
            endpoint: Arc::clone(endpoint),
            weight: f64::from(endpoint.weight()) * f64::from(percent(endpoint)) / 100.0,
        };
        let mut tier = Self {
            seats: servers.iter().map(seat).collect(),
            ..Self::default()
        };
        match settings.strategy {
            Strategy::RoundRobin => {
                let share = |endpoint: &&Arc<Endpoint>| endpoint.weight().saturating_mul(percent(endpoint));
                tier.turns = sequence(&servers.iter().map(share).collect::<Vec<u32>>());
            }
            // Weights in slow start do not move points: every step would take keys from their servers.
            Strategy::ConsistentHash { .. } => {
                let total: f64 = of.all.iter().map(|endpoint| f64::from(endpoint.weight())).sum();
                let mean = total / of.all.len().max(1) as f64;
                tier.circle = Circle::new(servers.iter().map(|endpoint| &***endpoint), of.all.len(), mean);
            }
            Strategy::PeakEwma | Strategy::LeastRequests | Strategy::Random => {
                let mut sum = 0.0;
                let add = |seat: &Seat| {
                    sum += seat.weight;
                    sum
                };
                tier.sums = tier.seats.iter().map(add).collect();
            }
        }
        tier
    }
}

/// The next time at which something changes by itself.
fn valid_until(all: &[Arc<Endpoint>], settings: &Settings, now: Tick) -> Tick {
    let back = all.iter().map(|endpoint| endpoint.passive.ejected_until());
    let back = back.filter(|&until| until > now).min().unwrap_or(Tick::MAX);
    let growing = all
        .iter()
        .any(|endpoint| endpoint.ramp.percent(now, settings.slow_start) < 100);
    if growing {
        back.min(now.saturating_add(Ramp::step(settings.slow_start)))
    } else {
        back
    }
}
