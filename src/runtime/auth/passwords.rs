//! Names and passwords, checked: that takes long by intent, so it is done beside the threads that serve, a few at a time,
//! and not again for a while.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::guesses::GuessLimit;
use crate::auth::{API_KEYS_MAX, Claims, Denial, Password, Users, Verified};
use crate::runtime::discovery::files;
use crate::runtime::watched::Watched;

/// Checks that may wait for those in progress.
const WAITING: usize = 64;
/// The longest that one waits.
const WAIT: Duration = Duration::from_secs(2);
/// How long a password that fitted is good without being checked again.
const REMEMBERED: u64 = 300;

/// The users of a file.
pub(super) struct Passwords {
    users: Arc<Watched<Users>>,
    checks: Arc<Checks>,
    limit: Option<GuessLimit>,
}

impl Passwords {
    /// `limit`: how often a client may be wrong.
    pub(super) fn open(file: PathBuf, checks: &Arc<Checks>, limit: Option<GuessLimit>) -> Result<Self, String> {
        let read = |path: &Path| {
            let text = files::text(path, API_KEYS_MAX).map_err(|error| error.to_string())?;
            Users::parse(&text)
        };
        Ok(Self {
            users: Watched::open(file, read)?,
            checks: Arc::clone(checks),
            limit,
        })
    }

    /// Whose password it is, of this client.
    pub(super) async fn known(&self, password: Password, client: IpAddr) -> Result<Claims, Denial> {
        let wrong = || Denial::Invalid("name and password do not fit".to_owned());
        let users = Arc::clone(&self.users.current());
        let checks = &self.checks;
        let [name, secret] = password.parts();
        // With the hash that it fitted: whoever changes the password, or takes the user out, is heard at once. With the
        // client, too: what is remembered passes the limit, and would tell anybody else whether a guess is right.
        let digest = users.hash_of(&password.user);
        let part = client_part(client);
        let digest = digest.and_then(|hash| checks.fitted.digest(&[hash.as_bytes(), name, secret, &part]));
        let remembered = || digest.is_some_and(|digest| checks.fitted.get(&digest, checks.now()).is_some());
        if remembered() {
            return Ok(password.claims());
        }
        let attempt = || match &self.limit {
            Some(limit) => limit.attempt(client).map(Some),
            None => Ok(None),
        };
        // Who is refused takes no place of those who wait.
        if let Some(attempt) = attempt()? {
            attempt.was_right();
        }
        let turn = checks.turn().await.ok_or(Denial::Busy)?;
        // A page asks for many things at once: the first one was checked for all of them.
        if remembered() {
            return Ok(password.claims());
        }
        let attempt = attempt()?;
        let check = move || {
            let _turn = turn; // until it is done, whether or not somebody still waits for it
            let claims = users.admits(&password)?;
            if let Some(attempt) = attempt {
                attempt.was_right();
            }
            Some(claims)
        };
        let checked = tokio::task::spawn_blocking(check).await;
        let claims = checked.map_err(|_| Denial::Unavailable)?.ok_or_else(wrong)?;
        if let Some(digest) = digest {
            checks.fitted.put(digest, (), checks.now() + REMEMBERED);
        }
        Ok(claims)
    }
}

/// What of a client's address makes the client: of IPv6 the /64.
fn client_part(client: IpAddr) -> [u8; 16] {
    match client.to_canonical() {
        IpAddr::V4(client) => client.to_ipv6_mapped().octets(),
        IpAddr::V6(client) => (client.to_bits() & !u128::from(u64::MAX)).to_be_bytes(),
    }
}

/// All checks of the process: they share its cores.
pub(in crate::runtime) struct Checks {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    fitted: Verified<()>,
    started: Instant,
}

impl Default for Checks {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: AtomicUsize::new(0),
            fitted: Verified::default(),
            started: Instant::now(),
        }
    }
}

impl Checks {
    fn now(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Waits to be among those who check; `None`: there are too many, or it took too long.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Some(turn);
        }
        let _place = Place::take(&self.waiting)?;
        let turn = Arc::clone(&self.turns).acquire_owned();
        tokio::time::timeout(WAIT, turn).await.ok()?.ok()
    }
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Relaxed) < WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
