//! The certificate that is obtained: watched, ordered when it is due, shared with other gateways; and the answers to the
//! authority that asks whether the names are ours.
//!
//! What is obtained is written to a file, and taken into use as every other certificate whose file has changed.

mod client;
mod order;
mod share;
mod storage;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{SHA256, digest};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::Instant;
use tokio_rustls::rustls::ServerConfig;

use self::client::Client;
use self::order::Ordering;
use self::share::Share;
use self::storage::Storage;
use super::limits::StoreAddress;
use super::{ClientTls, LoadError, Registry};
use crate::acme::{Challenges, Seal, Standing, Window, pause};
use crate::config::model::{self, AcmeChallenge};
use crate::observe::metrics::AcmeMetrics;
use crate::tls::{self, AuthorityAnswer, TlsFault};

/// How often it is looked whether the certificate is due: the clock may be set, the machine may sleep.
const LOOK: Duration = Duration::from_secs(3600);
/// How often it is looked whether another gateway has obtained the certificate.
const LOOK_AROUND: Duration = Duration::from_secs(10);
/// An order that takes longer is given up.
const ORDER: Duration = Duration::from_secs(600);
/// The authority is not asked more often when it would like a certificate to be renewed, nor less often.
const ASK: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(86_400));
/// Questions at a time to the shared store about challenges: strangers can make us ask.
const QUESTIONS: usize = 8;

/// The certificate that is obtained.
pub struct Acme {
    model: model::Acme,
    client: Client,
    storage: Storage,
    share: Option<Share>,
    challenges: Challenges,
    questions: Semaphore,
    metrics: AcmeMetrics,
    course: Mutex<Course>,
}

/// How it went so far.
#[derive(Default)]
struct Course {
    failures: u32,
    /// Not before this.
    again: Option<Instant>,
    /// When the authority was last asked when it would like the certificate to be renewed, what it said, and when it is
    /// to be asked again.
    window: Option<(Option<Window>, Instant)>,
    /// Whether the shared store failed when it was last asked.
    alone: bool,
}

impl Acme {
    fn new(
        model: model::Acme,
        redis: Option<(&model::Redis, Option<&Arc<ClientTls>>)>,
        metrics: AcmeMetrics,
    ) -> Result<Self, TlsFault> {
        let share = model.secret.as_ref().zip(redis).and_then(|(secret, (redis, tls))| {
            let address = StoreAddress::of(redis, tls)?;
            Some(Share::new(&model, &redis.prefix, Seal::of(secret.expose())?, address))
        });
        Ok(Self {
            client: Client::of(&model)?,
            storage: Storage::of(&model),
            share,
            challenges: Challenges::default(),
            questions: Semaphore::new(QUESTIONS),
            metrics,
            course: Mutex::default(),
            model,
        })
    }

    /// The token that an authority asks for with a request for this path of this host; `None`: it is no such request.
    #[must_use]
    pub fn asked<'a>(&self, host: &str, path: &'a str) -> Option<&'a str> {
        let token = Challenges::token(path)?;
        self.is_ours(host).then_some(token)
    }

    fn is_ours(&self, name: &str) -> bool {
        self.model
            .domains
            .iter()
            .any(|domain| domain.eq_ignore_ascii_case(name))
    }

    /// What is answered to whoever asks for a token; `None`: there is no such token.
    pub async fn answer(&self, token: &str) -> Option<Arc<str>> {
        self.find(AcmeChallenge::Http01, token).await
    }

    /// What is said in a handshake in which an authority asks for this name; `None`: nothing is to be shown for it.
    pub async fn handshake(&self, name: &str) -> Option<Arc<ServerConfig>> {
        let name = name.to_ascii_lowercase();
        if !self.is_ours(&name) {
            return None;
        }
        let answer = self.find(AcmeChallenge::TlsAlpn01, &name).await?;
        let digest = digest(&SHA256, answer.as_bytes());
        tls::answer_challenge(&name, digest.as_ref().try_into().ok()?).ok()
    }

    async fn find(&self, challenge: AcmeChallenge, what: &str) -> Option<Arc<str>> {
        let mut found = self.challenges.find(challenge, what);
        if found.is_none()
            && let Some(share) = &self.share
        {
            // Another gateway may have ordered.
            let _question = self.questions.try_acquire().ok()?;
            found = share.answer(challenge, what).await.ok().flatten().map(Arc::from);
        }
        if found.is_some() {
            self.metrics.answered(challenge == AcmeChallenge::TlsAlpn01);
        }
        found
    }

    /// Looks, and does what is due; returns how long there is nothing to do.
    async fn step(&self) -> Duration {
        let mut course = self.course.lock().await;
        let around = self.look_around().await;
        if let Err(error) = &around
            && !course.alone
        {
            tracing::warn!(%error, "the certificate is not shared with other gateways, and none is ordered meanwhile");
        }
        course.alone = around.is_err();
        let most = if self.share.is_some() { LOOK_AROUND } else { LOOK };
        let there = self.storage.certificate();
        let now = unix_now();
        if let Some(certificate) = &there {
            self.ask_when(&mut course, certificate).await;
        } else {
            course.window = None;
        }
        let window = course.window.and_then(|(window, _)| window);
        let due = there
            .as_ref()
            .map_or(i64::MIN, |there| self.standing(there).due(window));
        self.metrics.next(due.max(now));
        if due > now {
            return Duration::from_secs(due.abs_diff(now)).min(most);
        }
        if course.alone {
            return most;
        }
        if let Some(left) = course
            .again
            .and_then(|again| again.checked_duration_since(Instant::now()))
        {
            return left.min(most);
        }
        self.order(&mut course, there.as_ref()).await.min(most)
    }

    fn standing(&self, there: &AuthorityAnswer) -> Standing {
        let certificate = &there.certificate;
        // From the certificate itself: whoever has it draws the same.
        let drawn = certificate.key.cert.first().map(|der| digest(&SHA256, der));
        let drawn = drawn.map_or(0, |drawn| u16::from_be_bytes([drawn.as_ref()[0], drawn.as_ref()[1]]));
        Standing {
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            complete: there.covers(&self.model.domains),
            lot: f64::from(drawn) / f64::from(u16::MAX),
        }
    }

    /// Takes what another gateway has obtained, or shows what this one has.
    async fn look_around(&self) -> Result<(), String> {
        let Some(share) = &self.share else { return Ok(()) };
        let theirs = share.certificate().await?;
        let ours = self.storage.certificate();
        let issued = ours.as_ref().map_or(i64::MIN, |ours| ours.certificate.not_before);
        match theirs.as_deref().map(AuthorityAnswer::read) {
            Some(Ok(read)) if read.certificate.not_before > issued => {
                tracing::info!("another gateway has obtained the certificate");
                self.storage.keep_certificate(&theirs.unwrap_or_default())
            }
            Some(Ok(read)) if read.certificate.not_before == issued => Ok(()),
            _ => match self.storage.certificate_pem() {
                Some(pem) if ours.is_some_and(|ours| ours.covers(&self.model.domains)) => {
                    share.keep_certificate(&pem).await
                }
                _ => Ok(()),
            },
        }
    }

    /// Asks the authority when it would like the certificate to be renewed.
    async fn ask_when(&self, course: &mut Course, certificate: &AuthorityAnswer) {
        if course.window.is_some_and(|(_, again)| Instant::now() < again) {
            return;
        }
        let said = self.ordering().window(certificate).await;
        let again = said.map_or(ASK.1 / 4, |(_, again)| again.clamp(ASK.0, ASK.1));
        course.window = Some((said.map(|(window, _)| window), Instant::now() + again));
    }

    fn ordering(&self) -> Ordering<'_> {
        Ordering {
            model: &self.model,
            client: &self.client,
            storage: &self.storage,
            share: self.share.as_ref(),
            challenges: &self.challenges,
        }
    }

    /// Orders, unless another gateway does.
    async fn order(&self, course: &mut Course, there: Option<&AuthorityAnswer>) -> Duration {
        if let Some(share) = &self.share
            && !matches!(share.lock().await, Ok(true))
        {
            return LOOK_AROUND; // another one orders, or has failed a moment ago
        }
        if self.share.is_some() {
            // Whoever had the lock before may have obtained it since it was looked.
            let around = self.look_around().await;
            let since = |there: &AuthorityAnswer| there.certificate.not_before;
            if around.is_err() || self.storage.certificate().as_ref().map(since) != there.map(since) {
                self.unlock(Duration::ZERO).await;
                return Duration::ZERO;
            }
        }
        let kinds = &self.model.challenges;
        let challenge = kinds[course.failures as usize % kinds.len()];
        let names = self.model.domains.join(", ");
        tracing::info!(%names, authority = %self.model.directory, challenge = challenge.word(), "ordering a certificate");
        let lost = async {
            match &self.share {
                Some(share) => share.hold().await,
                None => std::future::pending().await,
            }
        };
        let ordering = self.ordering();
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(ORDER, ordering.obtain(challenge, there)) => {
                outcome.unwrap_or_else(|_| Err("the order takes too long".to_owned()))
            }
            why = lost => Err(why),
        };
        let outcome = match outcome {
            Ok(pem) => self.take(pem.as_bytes()).await,
            Err(error) => Err(error),
        };
        self.metrics.ordered(outcome.is_ok());
        course.window = None;
        match outcome {
            Ok(()) => {
                tracing::info!(%names, "a certificate was issued");
                (course.failures, course.again) = (0, None);
                if let Some(share) = &self.share {
                    let _ = share.succeeded().await; // forgotten in a day anyway
                }
                self.unlock(Duration::ZERO).await;
                Duration::ZERO
            }
            Err(error) => {
                let ours = course.failures.saturating_add(1);
                course.failures = match &self.share {
                    Some(share) => share.failed().await.unwrap_or(ours),
                    None => ours,
                };
                let wait = pause(course.failures, fastrand::f64());
                course.again = Some(Instant::now() + wait);
                let (failures, seconds) = (course.failures, wait.as_secs());
                if there.is_some_and(|there| there.certificate.is_valid_at(unix_now())) {
                    tracing::warn!(%names, %error, failures, again_in_seconds = seconds, "a certificate could not be renewed");
                } else {
                    tracing::error!(%names, %error, failures, again_in_seconds = seconds, "a certificate could not be obtained");
                }
                self.unlock(wait).await; // nobody else fails meanwhile
                wait
            }
        }
    }

    async fn take(&self, pem: &[u8]) -> Result<(), String> {
        self.storage.keep_certificate(pem)?;
        if let Some(share) = &self.share {
            share.keep_certificate(pem).await?;
        }
        Ok(())
    }

    async fn unlock(&self, wait: Duration) {
        if let Some(share) = &self.share {
            let _ = share.keep_lock(wait).await; // it ends by itself
        }
    }
}

/// Obtains and renews the certificate until it is no longer wanted.
pub async fn run(acme: Arc<Acme>, mut stopping: watch::Receiver<bool>) {
    loop {
        let work = async {
            let rest = acme.step().await;
            // Never in circles, whatever the clock does.
            tokio::time::sleep(rest.max(Duration::from_secs(1))).await;
        };
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = work => {}
        }
    }
}

impl Registry {
    /// The certificate that is obtained: the work that goes on, if the file still says the same.
    pub(super) fn acme(
        &self,
        model: model::Acme,
        redis: Option<(&model::Redis, Option<&Arc<ClientTls>>)>,
    ) -> Result<Arc<Acme>, LoadError> {
        let mut running = self.acme.lock();
        let beside = redis.filter(|_| model.secret.is_some()).map(|(redis, _)| redis.clone());
        match &*running {
            Some((same, redis, acme)) if *same == model && *redis == beside => Ok(Arc::clone(acme)),
            _ => {
                let acme = Acme::new(model.clone(), redis, self.metrics.acme()).map_err(LoadError::Acme)?;
                let acme = Arc::new(acme);
                Ok(Arc::clone(&running.insert((model, beside, acme)).2))
            }
        }
    }
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
