//! `hedge`: a second server is asked while the first one is slow; the first answer counts, the other attempt is given up.

use std::pin::pin;
use std::time::{Duration, Instant};

use http::{Method, request};
use tokio::time::sleep;

use super::Exchange;
use super::fetch::{Carried, Cut as _, Wire};
use super::upstream::Choice;
use crate::balance::Lease;
use crate::config::model::HedgeAfter;
use crate::edge::{Arrival, Framing};
use crate::observe::metrics::InFlight;

/// What an attempt holds of its server, while the exchange shows the other one.
struct Hold {
    lease: Option<Lease>,
    in_flight: Option<InFlight>,
    started: Option<Instant>,
}

impl Hold {
    /// The other one has answered.
    fn outrun(&self, now: Instant) {
        if let (Some(lease), Some(started)) = (&self.lease, self.started) {
            lease.outrun(now.saturating_duration_since(started), now);
        }
    }
}

impl Exchange {
    /// Whether a second server may be asked for this request: the upstream's file says so, and asking twice does no harm.
    pub(super) fn may_be_hedged(&self, request: &request::Parts) -> bool {
        let bare = |arrival: &Arrival| arrival.framing == Framing::None && !arrival.upgrade;
        self.upstream().is_some_and(|upstream| upstream.model.hedge.is_some())
            && matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS)
            && self.arrival.as_deref().is_some_and(bare)
    }

    /// When a second server is asked; `None`: never for this attempt. Once a request: what is tried again has been late
    /// already.
    pub(super) fn hedge_after(&self) -> Option<Duration> {
        let upstream = self.upstream()?;
        let hedge = upstream.model.hedge.filter(|_| self.attempt.count == 1)?;
        match hedge.after {
            HedgeAfter::Fixed(after) => Some(after),
            HedgeAfter::P95 => upstream.latencies.as_ref()?.p95(),
        }
    }

    /// Carries out the attempt at the chosen server, after a while another one beside it. The exchange then holds the
    /// server whose answer it is; of the other it is only concluded that it takes at least so long.
    pub(super) async fn race(&mut self, wire: &Wire<'_>, after: Duration) -> Carried {
        let deadline = self.time_left();
        let racing = self.race_on(wire, after);
        match deadline {
            None => racing.await,
            Some(left) => tokio::time::timeout(left, racing)
                .await
                .unwrap_or_else(|_| Carried::cut()),
        }
    }

    async fn race_on(&mut self, wire: &Wire<'_>, after: Duration) -> Carried {
        let Some(errand) = self.errand(wire) else {
            return Carried::cut();
        };
        let mut first = pin!(errand.carry());
        tokio::select! {
            biased;
            carried = &mut first => return carried,
            () = sleep(after) => {}
        }
        let Some(mut other) = self.second_server() else {
            return first.await;
        };
        let errand = self.errand(wire);
        // Until it has won, the second one is held aside.
        self.swap(&mut other);
        let Some(errand) = errand else { return first.await };
        let mut second = pin!(errand.carry());
        let (carried, won) = tokio::select! {
            biased;
            carried = &mut first => match carried.result {
                Ok(_) => (carried, false),
                Err(_) => {
                    self.note_failure(&carried);
                    (second.await, true)
                }
            },
            carried = &mut second => match carried.result {
                Ok(_) => (carried, true),
                Err(_) => {
                    self.swap(&mut other);
                    self.note_failure(&carried);
                    self.swap(&mut other);
                    (first.await, false)
                }
            },
        };
        if won {
            self.swap(&mut other);
        }
        other.outrun(Instant::now());
        if let Some(upstream) = self.upstream() {
            upstream.metrics.hedged(won);
        }
        carried
    }

    /// Chooses another server, if the budget allows it and there is one. The exchange shows it; given back is what it held
    /// before.
    fn second_server(&mut self) -> Option<Hold> {
        let upstream = self.upstream()?.clone();
        let first = self.attempt.lease.as_ref()?.endpoint().address();
        self.attempt.tried.push(first);
        let mut before = Hold {
            lease: None,
            in_flight: None,
            started: None,
        };
        self.swap(&mut before);
        // The budget last: what finds no server must not use it up.
        let chosen = matches!(self.try_choose(false), Ok(Choice::Taken));
        if chosen && upstream.pool.hedge_budget().withdraw(Instant::now()) {
            return Some(before);
        }
        if chosen {
            self.attempt.count -= 1;
        }
        self.swap(&mut before);
        None
    }

    fn swap(&mut self, other: &mut Hold) {
        std::mem::swap(&mut self.attempt.lease, &mut other.lease);
        std::mem::swap(&mut self.attempt.in_flight, &mut other.in_flight);
        std::mem::swap(&mut self.attempt.started, &mut other.started);
    }

    /// One of two has failed while the other goes on: the server hears of it, the client does not.
    fn note_failure(&mut self, carried: &Carried) {
        if let Err(broken) = &carried.result {
            match carried.reused {
                Some(reused) => self.count_broken(broken.fault, reused, broken),
                None => self.count_unreachable(broken.fault, broken),
            }
        }
    }
}
