//! Servers that the operator takes out of service: a name of the file, with every address that it has or gets, or one
//! address of a name.

use std::fmt;

use parking_lot::Mutex;

use super::Endpoint;

/// Most servers of one upstream that are drained at a time.
const MOST: usize = 1024;

/// What a server that the operator takes out still gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drain {
    /// It is not taken out.
    #[default]
    Off,
    /// Only the clients whose session is bound to it, until their cookies expire.
    KeepSessions,
    /// Nothing: bound clients are given another server with their next request.
    Everything,
}

impl Drain {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::KeepSessions => 1,
            Self::Everything => 2,
        }
    }

    pub(super) fn of_code(code: u8) -> Self {
        match code {
            0 => Self::Off,
            1 => Self::KeepSessions,
            _ => Self::Everything,
        }
    }
}

/// As many servers are drained as can be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyDrained;

impl fmt::Display for TooManyDrained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MOST} servers are drained already")
    }
}

impl std::error::Error for TooManyDrained {}

/// What is drained; outlives re-resolutions and reloads.
#[derive(Debug, Default)]
pub(super) struct Drains(Mutex<Vec<(Target, Drain)>>);

/// What is taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// A server as the file names it: all of its addresses, later ones as well.
    Server(Box<str>),
    /// One address of one, as [`Endpoint::session`] gives it.
    Address(Box<str>),
}

impl Target {
    fn is(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Server(name) => **name == **endpoint.server(),
            Self::Address(session) => **session == *endpoint.session(),
        }
    }
}

impl Drains {
    /// Drains what `name` means among these endpoints, or no longer; a name that none of them has is a server without
    /// addresses at the moment.
    pub(super) fn set<'a>(
        &self,
        name: &str,
        how: Drain,
        endpoints: impl Iterator<Item = &'a Endpoint> + Clone,
    ) -> Result<(), TooManyDrained> {
        let one_address = |endpoint: &Endpoint| endpoint.session() == name && **endpoint.server() != *name;
        let target = if endpoints.clone().any(one_address) {
            Target::Address(name.into())
        } else {
            Target::Server(name.into())
        };
        let mut drains = self.0.lock();
        drains.retain(|(known, _)| *known != target);
        if how != Drain::Off {
            if drains.len() >= MOST {
                return Err(TooManyDrained);
            }
            drains.push((target, how));
        }
        endpoints.for_each(|endpoint| endpoint.set_drain(of(&drains, endpoint)));
        Ok(())
    }

    /// Takes in that these are the endpoints now. One address that left is forgotten: another server may get it.
    pub(super) fn apply<'a>(&self, endpoints: impl Iterator<Item = &'a Endpoint> + Clone) {
        let mut drains = self.0.lock();
        if drains.is_empty() {
            return;
        }
        drains.retain(|(target, _)| match target {
            Target::Server(_) => true,
            Target::Address(_) => endpoints.clone().any(|endpoint| target.is(endpoint)),
        });
        endpoints.for_each(|endpoint| endpoint.set_drain(of(&drains, endpoint)));
    }

    /// What is drained, as [`Drains::set`] takes it.
    pub(super) fn list(&self) -> Vec<(String, Drain)> {
        let named = |(target, how): &(Target, Drain)| match target {
            Target::Server(name) | Target::Address(name) => (name.to_string(), *how),
        };
        self.0.lock().iter().map(named).collect()
    }

    /// Whether the server of that name is drained with all its addresses.
    pub(super) fn holds(&self, name: &str) -> bool {
        let drains = self.0.lock();
        drains
            .iter()
            .any(|(target, _)| matches!(target, Target::Server(drained) if **drained == *name))
    }
}

/// The wider of what is said about the name and about the address.
fn of(drains: &[(Target, Drain)], endpoint: &Endpoint) -> Drain {
    let said = drains.iter().filter(|(target, _)| target.is(endpoint));
    said.map(|(_, how)| *how)
        .max_by_key(|how| how.code())
        .unwrap_or_default()
}
