//! The start of a process that may have to take another one's place.

use crate::edge::Inherited;
use crate::handover::{self, Predecessor};
use crate::runtime::Keepsakes;
use crate::service;

/// Whom this process takes the place of, if of anybody.
pub(super) struct Takeover {
    predecessor: Option<Predecessor>,
    /// What the service manager has bound.
    bound: Inherited,
}

impl Takeover {
    /// To be called first of all, before there are threads.
    pub(super) fn begin() -> Self {
        handover::remember_how_this_was_started();
        Self {
            predecessor: Predecessor::find(),
            bound: service::sockets(),
        }
    }

    /// The sockets that are there already, and what comes with them. Says there what is wrong with them.
    pub(super) fn take(self) -> Result<(Self, Inherited, Keepsakes), String> {
        let Self { predecessor, bound } = self;
        let Some(predecessor) = predecessor else {
            let nobody = Self {
                predecessor: None,
                bound: Inherited::default(),
            };
            return Ok((nobody, bound, Keepsakes::default()));
        };
        match predecessor.take() {
            Ok((inherited, kept)) => {
                let before = Self {
                    predecessor: Some(predecessor),
                    bound: Inherited::default(),
                };
                Ok((before, inherited, kept))
            }
            Err(why) => {
                predecessor.stays(&why);
                Err(why)
            }
        }
    }

    /// This process serves.
    pub(super) fn done(self) {
        if let Some(predecessor) = self.predecessor {
            predecessor.replaced();
        }
    }

    /// This process will not serve.
    pub(super) fn stays(self, why: &str) {
        if let Some(predecessor) = self.predecessor {
            predecessor.stays(why);
        }
    }
}
