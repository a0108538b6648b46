//! What several gateways share through Redis: who orders, what all answer to challenges, and what was issued. Everything
//! but the lock is sealed.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, cmd};
use ring::digest::{SHA256, digest};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::acme::Seal;
use crate::config::model::{self, AcmeChallenge};
use crate::runtime::limits::{Link, StoreAddress};

/// What one question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who orders says so for this long, and again before it is over.
const LOCK: Duration = Duration::from_secs(60);
/// Answers to challenges are of no use for longer.
const ANSWER: Duration = Duration::from_secs(600);

/// Failures are forgotten after this time.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// Releases or lengthens a lock, if it is still ours: `KEYS[1]`, our name, milliseconds.
const HOLD: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) \
                    else return 0 end";

/// The store that gateways share.
pub(super) struct Share {
    address: StoreAddress,
    link: Mutex<Option<Link>>,
    seal: Seal,
    /// What the keys of this certificate begin with.
    prefix: String,
    /// What this gateway is called among the others.
    name: String,
}

impl Share {
    pub(super) fn new(acme: &model::Acme, prefix: &str, seal: Seal, address: StoreAddress) -> Self {
        let mut names: Vec<&str> = acme.domains.iter().map(|name| &**name).collect();
        names.sort_unstable();
        let what = format!("{} {}", acme.directory, names.join(" "));
        let id = digest(&SHA256, what.as_bytes());
        let id: String = id.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            address,
            link: Mutex::default(),
            seal,
            prefix: format!("{prefix}acme:{id}:"),
            name: format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
        }
    }

    /// Takes the lock, unless somebody has it.
    pub(super) async fn lock(&self) -> Result<bool, String> {
        let mut set = cmd("SET");
        set.arg(self.key("lock"))
            .arg(&self.name)
            .arg("NX")
            .arg("PX")
            .arg(millis(LOCK));
        Ok(self.ask::<Option<String>>(&set).await?.is_some())
    }

    /// Keeps the lock for as long as this is polled; returns when it is lost.
    pub(super) async fn hold(&self) -> String {
        let mut failures = 0;
        loop {
            tokio::time::sleep(LOCK / 6).await;
            match self.keep_lock(LOCK).await {
                Ok(true) => failures = 0,
                Ok(false) => return "another gateway has taken the lock".to_owned(),
                Err(_) if failures < 3 => failures += 1, // it is still ours
                Err(error) => return error,
            }
        }
    }

    /// Keeps the lock for so long, and then lets it go. Zero: at once.
    pub(super) async fn keep_lock(&self, time: Duration) -> Result<bool, String> {
        let mut hold = cmd("EVAL");
        hold.arg(HOLD)
            .arg(1)
            .arg(self.key("lock"))
            .arg(&self.name)
            .arg(millis(time));
        Ok(self.ask::<i64>(&hold).await? == 1)
    }

    /// Counts a failure; returns how many there were in a row, whichever gateway had them.
    pub(super) async fn failed(&self) -> Result<u32, String> {
        let key = self.key("failures");
        let failures = self.ask(cmd("INCR").arg(&key)).await?;
        let mut expire = cmd("PEXPIRE");
        expire.arg(&key).arg(millis(REMEMBERED));
        self.ask::<i64>(&expire).await.map(|_| failures)
    }

    /// There was no failure last.
    pub(super) async fn succeeded(&self) -> Result<(), String> {
        let mut expire = cmd("PEXPIRE");
        expire.arg(self.key("failures")).arg(0);
        self.ask::<i64>(&expire).await.map(|_| ())
    }

    /// Lets all gateways answer a challenge.
    pub(super) async fn publish(&self, challenge: AcmeChallenge, what: &str, answer: &str) -> Result<(), String> {
        let key = self.key(&format!("{}:{what}", challenge.word()));
        self.put(&key, answer.as_bytes(), Some(ANSWER)).await
    }

    /// What is answered to a challenge; `None`: nothing that is known.
    pub(super) async fn answer(&self, challenge: AcmeChallenge, what: &str) -> Result<Option<String>, String> {
        let key = self.key(&format!("{}:{what}", challenge.word()));
        let found = self.take(&key).await?;
        Ok(found.and_then(|answer| String::from_utf8(answer).ok()))
    }

    pub(super) async fn certificate(&self) -> Result<Option<Vec<u8>>, String> {
        self.take(&self.key("certificate")).await
    }

    pub(super) async fn keep_certificate(&self, pem: &[u8]) -> Result<(), String> {
        self.put(&self.key("certificate"), pem, None).await
    }

    pub(super) async fn account(&self) -> Result<Option<Vec<u8>>, String> {
        self.take(&self.key("account")).await
    }

    pub(super) async fn keep_account(&self, json: &[u8]) -> Result<(), String> {
        self.put(&self.key("account"), json, None).await
    }

    fn key(&self, what: &str) -> String {
        format!("{}{what}", self.prefix)
    }

    async fn put(&self, key: &str, plain: &[u8], life: Option<Duration>) -> Result<(), String> {
        let sealed = self.seal.seal(key, plain).ok_or("the system has no random numbers")?;
        let mut set = cmd("SET");
        set.arg(key).arg(sealed);
        if let Some(life) = life {
            set.arg("PX").arg(millis(life));
        }
        self.ask::<()>(&set).await
    }

    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let mut get = cmd("GET");
        get.arg(key);
        let Some(sealed) = self.ask::<Option<Vec<u8>>>(&get).await? else {
            return Ok(None);
        };
        match self.seal.open(key, &sealed) {
            Some(plain) => Ok(Some(plain)),
            None => Err(format!("`{key}` in the shared store was not sealed with our `secret`")),
        }
    }

    /// Asks, over the connection that there is or a new one.
    async fn ask<T: FromRedisValue>(&self, question: &Cmd) -> Result<T, String> {
        let mut link = self.link.lock().await;
        let asked = async {
            if link.is_none() {
                *link = Some(self.address.connect().await?);
            }
            let handle = link.as_mut().map(Link::handle).ok_or("no connection")?;
            question
                .query_async::<T>(handle)
                .await
                .map_err(|error| error.to_string())
        };
        let asked = timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err("it does not answer in time".to_owned()));
        if asked.is_err() {
            *link = None; // whatever it was, the next one gets a new connection
        }
        asked.map_err(|error| format!("the shared store: {error}"))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
