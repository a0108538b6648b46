//! Where requests are counted: in this process, or in a store that gateways share, and what is done while that fails.

use std::sync::Arc;

use super::shared::{Outstanding, Settled, Shared};
use crate::limit::{Charge, Charges, Checked, Each, Level, Levels, Local, Mode, OnStoreError, Reservation, Verdict};
use crate::observe::metrics::DecisionSource;

/// When a request that is refused because the store cannot be asked is told to come back, nanoseconds.
const SOON: u64 = 1_000_000_000;

/// Where requests are counted.
#[derive(Clone)]
pub(super) enum Store {
    /// In this process.
    Local(Arc<Local>),
    /// In a store that gateways share; in this process while it cannot be asked.
    Shared(Arc<Shared>, Arc<Local>),
}

/// What came of a request.
pub(super) struct Decided {
    pub(super) verdict: Verdict,
    /// What is held until the answer is known.
    pub(super) reserved: Option<Reserved>,
    /// What decided about each charge, where there is a choice; else none.
    pub(super) sources: Each<DecisionSource>,
}

/// Units of limits on failures. Dropped, the request counts as one.
pub(super) enum Reserved {
    /// In this process.
    Here(Reservation),
    /// In the shared store.
    There(Outstanding),
}

impl Reserved {
    /// The request succeeded.
    pub(super) fn give_back(self) {
        match self {
            Self::Here(reservation) => reservation.give_back(),
            Self::There(outstanding) => outstanding.give_back(),
        }
    }
}

impl Store {
    /// Decides; a store elsewhere takes its time, within its budget.
    pub(super) async fn check(&self, charges: &Charges<'_>, now: u64) -> Decided {
        match self {
            Self::Local(local) => {
                let Checked { verdict, reservation } = local.check(charges, now);
                Decided {
                    verdict,
                    reserved: reservation.map(Reserved::Here),
                    sources: Each::new(),
                }
            }
            // Boxed, so that requests of other limits move no state of it.
            Self::Shared(shared, local) => match Box::pin(shared.check(charges, now)).await {
                Some(Settled {
                    verdict,
                    outstanding,
                    sources,
                }) => Decided {
                    verdict,
                    reserved: outstanding.map(Reserved::There),
                    sources,
                },
                None => without(shared, local, charges, now),
            },
        }
    }
}

impl Store {
    /// Charges what can no longer be refused; returns what is left.
    pub(super) fn surcharge(&self, charge: &Charge<'_>, now: u64) -> Level {
        match self {
            Self::Local(local) => local.surcharge(charge, 1, now),
            Self::Shared(shared, local) => shared
                .surcharge(charge)
                .unwrap_or_else(|| local.surcharge(charge, shared.gateways(), now)),
        }
    }
}

/// Each limit does what its `on_store_error` says.
fn without(shared: &Shared, local: &Arc<Local>, charges: &Charges<'_>, now: u64) -> Decided {
    let mut sources = Each::new();
    let mut known: Each<u64> = Each::new();
    let mut counted = Charges::default();
    let mut denied = false;
    for charge in charges.iter() {
        sources.push(match charge.policy.on_store_error {
            OnStoreError::Local => {
                known.push(shared.tat(charge));
                counted.push(*charge);
                DecisionSource::Local
            }
            OnStoreError::Allow => DecisionSource::Allow,
            OnStoreError::Deny => {
                denied |= charge.policy.mode == Mode::Enforce;
                DecisionSource::Deny
            }
        });
    }
    let (checked, wait) = if denied {
        (None, 0)
    } else {
        let checked = local.check_part(&counted, shared.gateways(), &known, now);
        let wait = match &checked.verdict {
            Verdict::Delayed { wait, .. } => super::nanoseconds(*wait),
            Verdict::Allowed { .. } | Verdict::Denied { .. } => 0,
        };
        (Some(checked), wait)
    };
    let mut here = checked.iter().flat_map(|checked| checked.verdict.levels().iter());
    let mut levels = Levels::default();
    for (source, charge) in sources.iter().zip(charges.iter()) {
        let full = charge.policy.bucket.look(0, now);
        levels.push(match source {
            DecisionSource::Local => here.next().copied().unwrap_or(full),
            DecisionSource::Deny => Level {
                room: 0,
                retry_in: SOON,
                ..full
            },
            _ => full,
        });
    }
    Decided {
        verdict: Verdict::of(charges, levels, wait),
        reserved: checked.and_then(|checked| checked.reservation).map(Reserved::Here),
        sources,
    }
}
