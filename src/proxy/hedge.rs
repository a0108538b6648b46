//! `hedge`: another server is asked while the first one is slow; the first answer counts, the other attempt is given up.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use http::{Method, request};
use tokio::time::sleep;

use super::Exchange;
use super::fetch::{Carried, Cut as _, Wire};
use super::retry::Sent;
use super::upstream::Choice;
use crate::balance::Lease;
use crate::config::model::HedgeAfter;
use crate::edge::{Arrival, Framing};
use crate::observe::identity::SpanId;
use crate::observe::metrics::InFlight;

/// What an attempt holds of its server, while the exchange shows the other one.
#[derive(Default)]
pub(super) struct Hold {
    lease: Option<Lease>,
    in_flight: Option<InFlight>,
    started: Option<Instant>,
    span: Option<SpanId>,
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

    /// When a second server is asked; `None`: never for this attempt. Once a request, so that what a sick application
    /// gets stays bounded; but whichever attempt it is that stalls.
    pub(super) fn hedge_after(&self) -> Option<Duration> {
        let upstream = self.upstream()?;
        let hedge = upstream.model.hedge.filter(|_| !self.attempt.hedged)?;
        match hedge.after {
            HedgeAfter::Fixed(after) => Some(after),
            HedgeAfter::P95 => upstream.latencies.as_ref()?.p95(),
        }
    }

    /// Carries out the attempt at the chosen server, after a while another one beside it. The exchange then holds the
    /// server whose answer it is; of the other it is only concluded that it takes at least so long.
    pub(super) async fn race(&mut self, wire: &Wire<'_>, sent: Sent<'_>, after: Duration) -> Carried {
        let deadline = self.time_left();
        let racing = self.race_on(wire, sent, after);
        match deadline {
            None => racing.await,
            Some(left) => tokio::time::timeout(left, racing)
                .await
                .unwrap_or_else(|_| Carried::cut()),
        }
    }

    async fn race_on(&mut self, wire: &Wire<'_>, sent: Sent<'_>, after: Duration) -> Carried {
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
        loop {
            let errand = self.errand(wire);
            // Until it has won, the further one is held aside.
            self.swap(&mut other);
            let Some(errand) = errand else { return first.await };
            let mut further = pin!(errand.carry());
            let (carried, won) = tokio::select! {
                biased;
                carried = &mut first => match carried.result {
                    Ok(_) => (carried, false),
                    // The server hears of it, the client does not.
                    Err(broken) => {
                        match carried.reused {
                            Some(reused) => self.count_broken(broken.fault, reused, &broken),
                            None => self.count_unreachable(broken.fault, &broken),
                        }
                        (further.await, true)
                    }
                },
                carried = &mut further => {
                    let won = carried.result.is_ok();
                    (carried, won)
                }
            };
            if let Some(upstream) = self.upstream() {
                upstream.metrics.hedged(won);
            }
            match &carried.result {
                // The first one is still silent: another one takes the place of the one that failed, as after any failure.
                Err(broken) if !won => {
                    self.swap(&mut other);
                    let again = match carried.reused {
                        Some(reused) => self.attempt_failed(sent, broken.fault, reused, broken),
                        None => self.connect_failed(sent, broken.fault, broken),
                    };
                    self.swap(&mut other);
                    other = match again.then(|| self.another_server()).flatten() {
                        Some(other) => other,
                        None => return first.await,
                    };
                }
                _ => {
                    if won {
                        self.swap(&mut other);
                    }
                    other.outrun(Instant::now());
                    self.note_outrun(&mut other);
                    return carried;
                }
            }
        }
    }

    /// Chooses the server that is asked beside the first one, if the budget allows it.
    fn second_server(&mut self) -> Option<Hold> {
        let mut before = self.another_server()?;
        // The budget last: what finds no server must not use it up.
        let granted = (self.upstream()).is_some_and(|upstream| upstream.pool.hedge_budget().withdraw(Instant::now()));
        if !granted {
            self.attempt.count -= 1;
            self.swap(&mut before);
            return None;
        }
        self.attempt.hedged = true;
        Some(before)
    }

    /// Chooses another server, if there is one. The exchange shows it; given back is what it held before.
    fn another_server(&mut self) -> Option<Hold> {
        let first = self.current()?;
        if !self.attempt.tried.contains(&first) {
            self.attempt.tried.push(first);
        }
        let mut before = Hold::default();
        self.swap(&mut before);
        if matches!(self.try_choose(false), Ok(Choice::Taken)) {
            return Some(before);
        }
        self.swap(&mut before);
        None
    }

    /// The address of the server that the exchange shows.
    fn current(&self) -> Option<SocketAddr> {
        self.attempt.lease.as_ref().map(|lease| lease.endpoint().address())
    }

    pub(super) fn swap(&mut self, other: &mut Hold) {
        std::mem::swap(&mut self.attempt.lease, &mut other.lease);
        std::mem::swap(&mut self.attempt.in_flight, &mut other.in_flight);
        std::mem::swap(&mut self.attempt.started, &mut other.started);
        std::mem::swap(&mut self.attempt.span, &mut other.span);
    }
}
