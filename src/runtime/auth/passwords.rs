//! Names and passwords, checked: that takes long by intent, so it is done beside the threads that serve, a few at a time,
//! and not again for a while.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
}

impl Passwords {
    pub(super) fn open(file: PathBuf, checks: &Arc<Checks>) -> Result<Self, String> {
        let read = |path: &Path| {
            let text = files::text(path, API_KEYS_MAX).map_err(|error| error.to_string())?;
            Users::parse(&text)
        };
        Ok(Self {
            users: Watched::open(file, read)?,
            checks: Arc::clone(checks),
        })
    }

    /// Whose password it is.
    pub(super) async fn known(&self, password: Password) -> Result<Claims, Denial> {
        let wrong = || Denial::Invalid("name and password do not fit".to_owned());
        let users = Arc::clone(&self.users.current());
        let checks = &self.checks;
        let [name, secret] = password.parts();
        // With the hash that it fitted: whoever changes the password, or takes the user out, is heard at once.
        let digest = users.hash_of(&password.user);
        let digest = digest.and_then(|hash| checks.fitted.digest(&[hash.as_bytes(), name, secret]));
        let remembered = || digest.is_some_and(|digest| checks.fitted.get(&digest, checks.now()).is_some());
        if remembered() {
            return Ok(password.claims());
        }
        let turn = checks.turn().await.ok_or(Denial::Busy)?;
        // A page asks for many things at once: the first one was checked for all of them.
        if remembered() {
            return Ok(password.claims());
        }
        let check = move || {
            let _turn = turn; // until it is done, whether or not somebody still waits for it
            users.admits(&password)
        };
        let checked = tokio::task::spawn_blocking(check).await;
        let claims = checked.map_err(|_| Denial::Unavailable)?.ok_or_else(wrong)?;
        if let Some(digest) = digest {
            checks.fitted.put(digest, (), checks.now() + REMEMBERED);
        }
        Ok(claims)
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
