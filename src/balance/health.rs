//! Whether a server is fit to be picked: a state machine over the results of active probes.
//!
//! | state | a probe passes | a probe fails | requests cannot connect |
//! |---|---|---|---|
//! | unknown | healthy at once | unhealthy at once | counted, decides nothing |
//! | healthy | the counts start again | counted; unhealthy at the threshold | counted together with the probes |
//! | unhealthy | counted; healthy at the threshold | the count starts again | – |
//!
//! Only probes bring a server back, so only a pool that probes may listen to what requests report.

use std::time::Instant;

/// Longest text of a failure that is kept, bytes.
pub const REASON_MAX: usize = 160;

/// How many results in a row change the state. Zero counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Failures in a row until a server is out.
    pub unhealthy_after: u32,
    /// Successes in a row until it is back.
    pub healthy_after: u32,
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The server answered as it should.
    Pass,
    /// It did not; why, in words for the operator.
    Fail(&'a str),
}

/// What is known about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Not probed yet: picked like a healthy one until the first result.
    #[default]
    Unknown,
    /// Picked.
    Healthy,
    /// Not picked.
    Unhealthy,
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// What it was.
    pub from: State,
    /// What it is now.
    pub to: State,
}

/// The health of one server.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: State,
    since: Option<Instant>,
    /// Probes that passed in a row, while unhealthy.
    passes: u32,
    /// Probes that failed in a row, while healthy.
    failures: u32,
    /// Requests that could not connect since one last could or a probe passed. Apart from `failures`, because a server
    /// that accepts and then hangs fails its probes although connecting to it succeeds.
    refused: u32,
    reason: Option<Box<str>>,
}

impl State {
    /// Whether a server in this state may be picked.
    #[must_use]
    pub fn is_usable(self) -> bool {
        self != Self::Unhealthy
    }

    /// The word for logs and the admin API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Health {
    /// What is known now.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// When the state last changed; `None` while it never did.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Why the last probe or connection that failed did so, at most [`REASON_MAX`] bytes on one line; kept after the
    /// server came back. For the operator: it names what happened inside and must not reach clients.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Takes in the result of a probe.
    pub fn observe(&mut self, outcome: Outcome<'_>, thresholds: Thresholds, now: Instant) -> Option<Transition> {
        match outcome {
            Outcome::Pass => {
                self.failures = 0;
                self.refused = 0;
                match self.state {
                    State::Unknown => self.turn(State::Healthy, now),
                    State::Healthy => None,
                    State::Unhealthy => {
                        self.passes = self.passes.saturating_add(1);
                        if self.passes >= thresholds.healthy_after {
                            self.turn(State::Healthy, now)
                        } else {
                            None
                        }
                    }
                }
            }
            Outcome::Fail(reason) => {
                self.remember(reason);
                self.passes = 0;
                self.failures = self.failures.saturating_add(1);
                match self.state {
                    State::Unknown => self.turn(State::Unhealthy, now),
                    State::Healthy if self.is_over(thresholds) => self.turn(State::Unhealthy, now),
                    State::Healthy | State::Unhealthy => None,
                }
            }
        }
    }

    /// Takes in that a request could not connect. Where another server is left (`expendable`) it counts as a failed
    /// probe of a healthy server; where none is, it counts too but leaves the verdict to the next probe that fails.
    pub fn connect_failed(&mut self, expendable: bool, thresholds: Thresholds, now: Instant) -> Option<Transition> {
        self.refused = self.refused.saturating_add(1);
        if self.state == State::Healthy && expendable && self.is_over(thresholds) {
            self.remember("requests cannot connect");
            self.turn(State::Unhealthy, now)
        } else {
            None
        }
    }

    /// Takes in that a request connected: what requests counted against the server is forgotten.
    pub fn connected(&mut self) {
        self.refused = 0;
    }

    fn is_over(&self, thresholds: Thresholds) -> bool {
        self.failures.saturating_add(self.refused) >= thresholds.unhealthy_after
    }

    fn turn(&mut self, to: State, now: Instant) -> Option<Transition> {
        let from = std::mem::replace(&mut self.state, to);
        self.since = Some(now);
        self.passes = 0;
        self.failures = 0;
        self.refused = 0;
        Some(Transition { from, to })
    }

    fn remember(&mut self, reason: &str) {
        if self.reason.as_deref() != Some(reason) {
            self.reason = Some(one_line(reason));
        }
    }
}

/// At most [`REASON_MAX`] bytes of a text, without line ends and escape sequences: it ends up in a terminal.
fn one_line(text: &str) -> Box<str> {
    let mut line = String::with_capacity(text.len().min(REASON_MAX));
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if line.len() + c.len_utf8() > REASON_MAX {
            break;
        }
        line.push(c);
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        unhealthy_after: 3,
        healthy_after: 2,
    };

    /// `+` a probe passes, `-` it fails, `x` a request cannot connect, `l` the same on the last server, `c` connects.
    fn play(health: &mut Health, events: &str) -> Option<Transition> {
        let now = Instant::now();
        let mut last = None;
        for event in events.chars() {
            last = match event {
                '+' => health.observe(Outcome::Pass, THRESHOLDS, now),
                '-' => health.observe(Outcome::Fail("status 500"), THRESHOLDS, now),
                'x' => health.connect_failed(true, THRESHOLDS, now),
                'l' => health.connect_failed(false, THRESHOLDS, now),
                'c' => {
                    health.connected();
                    None
                }
                other => unreachable!("{other}"),
            };
        }
        last
    }

    #[test]
    fn states() {
        use State::{Healthy, Unhealthy, Unknown};
        let table = [
            ("", Unknown, false),
            ("+", Healthy, true),
            ("-", Unhealthy, true),
            ("xxxx", Unknown, false),
            ("xxxx+", Healthy, true),
            ("+--", Healthy, false),
            ("+---", Unhealthy, true),
            ("+----", Unhealthy, false),
            ("+--+--", Healthy, false),
            ("-+", Unhealthy, false),
            ("-++", Healthy, true),
            ("-+-+", Unhealthy, false),
            ("-++--", Healthy, false),
            // Requests hasten it, alone or together with the probes,
            ("+xx", Healthy, false),
            ("+xxx", Unhealthy, true),
            ("+-xx", Unhealthy, true),
            ("+xx-", Unhealthy, true),
            // but not the last server: that is left to the next probe.
            ("+llllll", Healthy, false),
            ("+llllll-", Unhealthy, true),
            ("+llllll+--", Healthy, false),
            ("+lllx", Unhealthy, true),
            // Connecting forgives requests, never probes; a passing probe forgives both.
            ("+xxcxx", Healthy, false),
            ("+--c-", Unhealthy, true),
            ("+xx+xx", Healthy, false),
            // What requests see brings nothing back and keeps nothing away.
            ("-ccc", Unhealthy, false),
            ("-+x+", Healthy, true),
            // Counts do not outlive a change of state.
            ("+---++--", Healthy, false),
        ];
        for (events, state, changed) in table {
            let mut health = Health::default();
            let last = play(&mut health, events);
            assert_eq!(health.state(), state, "{events}");
            assert_eq!(last.is_some(), changed, "{events}");
            assert_eq!(health.since().is_some(), state != Unknown, "{events}");
        }
    }

    #[test]
    fn transition_names_both_ends_and_reason_stays() {
        let mut health = Health::default();
        let last = play(&mut health, "+---");
        assert_eq!(
            last,
            Some(Transition {
                from: State::Healthy,
                to: State::Unhealthy
            })
        );
        play(&mut health, "++");
        assert_eq!(health.state(), State::Healthy);
        assert_eq!(health.reason(), Some("status 500"));
    }

    #[test]
    fn zero_thresholds_count_as_one() {
        let zero = Thresholds {
            unhealthy_after: 0,
            healthy_after: 0,
        };
        let now = Instant::now();
        let mut health = Health::default();
        assert!(health.observe(Outcome::Pass, zero, now).is_some());
        assert!(health.observe(Outcome::Fail("x"), zero, now).is_some());
        assert!(health.observe(Outcome::Pass, zero, now).is_some());
        assert_eq!(health.state(), State::Healthy);
    }

    proptest! {
        #[test]
        fn reason_is_bounded_and_on_one_line(text in "(?s).{0,400}") {
            let mut health = Health::default();
            health.observe(Outcome::Fail(&text), THRESHOLDS, Instant::now());
            let reason = health.reason().unwrap();
            prop_assert!(reason.len() <= REASON_MAX);
            prop_assert!(!reason.chars().any(char::is_control));
        }

        /// Whatever requests report, a server that none can replace stays, and one that is out comes back by probes only.
        #[test]
        fn requests_alone_never_take_the_last_one_nor_bring_one_back(events in "[lc+]{0,40}", out in "-[xlc]{0,20}") {
            let mut health = Health::default();
            play(&mut health, &events);
            prop_assert!(health.state().is_usable());
            let mut health = Health::default();
            play(&mut health, &out);
            prop_assert_eq!(health.state(), State::Unhealthy);
        }

        #[test]
        fn transitions_change_the_state(events in proptest::collection::vec(0u8..5, 0..200)) {
            let mut health = Health::default();
            for event in events {
                let before = health.state();
                let event = ["+", "-", "x", "l", "c"][usize::from(event)];
                match play(&mut health, event) {
                    Some(transition) => {
                        prop_assert_eq!(transition.from, before);
                        prop_assert_eq!(transition.to, health.state());
                        prop_assert_ne!(transition.from, transition.to);
                    }
                    None => prop_assert_eq!(health.state(), before),
                }
            }
        }
    }
}
