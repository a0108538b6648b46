//! Reads the sequence, and does what others have done.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{PATIENCE, Pauses, Sharing, in_time};
use crate::cache::{Missed, Position, Purge};
use crate::runtime::limits::shared::failure::Failure;
use crate::runtime::limits::shared::target::Connection;
use crate::runtime::{Live, RouteCache};

const JOIN: &str = include_str!("join.lua");

/// How long a read waits for the next purge; then it is looked whether the sequence is still the same.
const WAIT: Duration = Duration::from_secs(1);

/// Purges that are read in one step at most.
pub(super) const BATCH: usize = 512;

/// A stream, its entries, and the fields of each.
type Read = Option<Vec<(Vec<u8>, Vec<(String, Vec<Vec<u8>>)>)>>;

/// Follows the sequence until it is to stop.
pub(super) async fn follow(sharing: Arc<Sharing>, live: Arc<Live>, mut stop: watch::Receiver<bool>) {
    let mut pauses = Pauses::new();
    let mut complained = false;
    loop {
        let failure = tokio::select! {
            failure = sharing.follow_once(&live, &mut pauses, &mut complained) => failure,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        sharing.state.lock().up_to_date = false;
        if !std::mem::replace(&mut complained, true) {
            tracing::warn!(reason = %failure, "purges of other gateways are not heard");
        }
        tokio::select! {
            () = tokio::time::sleep(pauses.next()) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Sharing {
    /// Follows on one connection; returns why it can no longer.
    async fn follow_once(&self, live: &Live, pauses: &mut Pauses, complained: &mut bool) -> Failure {
        let mut connection = match self.open().await {
            Ok(connection) => connection,
            Err(failure) => return failure,
        };
        if let Err(failure) = self.catch_up(live, &mut connection).await {
            return failure;
        }
        *pauses = Pauses::new();
        if std::mem::take(complained) {
            tracing::info!("purges of other gateways are heard again");
        }
        let mut wait = None; // not before everything is read
        let mut taken_down: Option<Instant> = None;
        loop {
            match self.read(live, &mut connection, wait).await {
                Ok(BATCH) => continue,
                Ok(_) => {}
                Err(failure) => return failure,
            }
            self.state.lock().up_to_date = true;
            // A place that is taken down late costs reading what came since once more.
            if taken_down.is_none_or(|then| then.elapsed() >= WAIT) {
                self.take_down(live);
                taken_down = Some(Instant::now());
            }
            if let Err(failure) = self.catch_up(live, &mut connection).await {
                return failure;
            }
            wait = Some(WAIT);
        }
    }

    async fn catch_up(&self, live: &Live, connection: &mut Connection) -> Result<(), Failure> {
        self.join(live, connection).await?;
        self.learn(connection).await
    }

    /// Finds out where the sequence is, and what was missed of it.
    async fn join(&self, live: &Live, connection: &mut Connection) -> Result<(), Failure> {
        let call = self.script(JOIN);
        let mut handle = connection.handle.clone();
        let (epoch, generation, first): (String, u64, String) =
            in_time(call.query_async(&mut handle), PATIENCE).await?;
        let there = Position {
            epoch: epoch.into(),
            generation,
        };
        let missed = self.state.lock().joins(&there, number(&first));
        if missed == Missed::Unknown {
            doubt(live);
        }
        Ok(())
    }

    /// Has the tiers remember up to where purges are carried out.
    fn take_down(&self, live: &Live) {
        let Some(here) = self.state.lock().follower.position().cloned() else {
            return;
        };
        // One of ours that was heard may not have been given to the tiers yet.
        if self.purging.load(SeqCst) > 0 {
            return;
        }
        for cache in &live.peek().caches {
            cache.tiers.iter().for_each(|tier| tier.heard(&here));
        }
    }

    /// Reads what there is, or waits for it; how many purges there were.
    async fn read(&self, live: &Live, connection: &mut Connection, wait: Option<Duration>) -> Result<usize, Failure> {
        let mut call = redis::cmd("XREAD");
        call.arg("COUNT").arg(BATCH);
        if let Some(wait) = wait {
            call.arg("BLOCK")
                .arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        }
        let from = format!("{}-0", self.state.lock().follower.generation());
        call.arg("STREAMS").arg(self.key("purges")).arg(from);
        let mut handle = connection.handle.clone();
        let limit = wait.unwrap_or_default() + PATIENCE;
        let read: Read = in_time(call.query_async(&mut handle), limit).await?;
        let entries = read.into_iter().flatten().flat_map(|(_, entries)| entries);
        let mut count = 0;
        for (id, fields) in entries {
            count += 1;
            self.hear(live, number(&id).unwrap_or(u64::MAX), &fields);
        }
        Ok(count)
    }

    /// One purge of the sequence takes effect.
    fn hear(&self, live: &Live, number: u64, fields: &[Vec<u8>]) {
        let purge = read_purge(fields);
        let mine = field(fields, "by") == Some(&*self.name);
        // It takes effect before it counts as heard: in between it would have been purged for nobody.
        if let (Some(purge), false) = (&purge, mine) {
            let snapshot = live.pin();
            for cache in snapshot
                .caches
                .iter()
                .filter(|cache| *cache.policy.name == *purge.cache)
            {
                cache.hear(purge);
            }
        }
        let missed = self.state.lock().hears(number, purge.as_ref());
        self.moved.notify_waiters();
        if missed != Missed::Nothing {
            doubt(live);
        }
    }
}

/// Nobody knows what was purged: everything is asked about before it is used again.
fn doubt(live: &Live) {
    let doubted: u64 = live.pin().caches.iter().map(RouteCache::doubt).sum();
    if doubted > 0 {
        tracing::warn!(
            answers = doubted,
            "purges of other gateways may have been missed: what is kept is asked about before it is used"
        );
    }
}

/// What an entry of the sequence says; `None`: a later version says something that this one does not know.
pub(super) fn read_purge(fields: &[Vec<u8>]) -> Option<Purge> {
    let field = |name| field(fields, name);
    Purge::heard(field("cache")?, field("what")?, field("text")?, field("soft")? == "1")
}

fn field<'a>(fields: &'a [Vec<u8>], name: &str) -> Option<&'a str> {
    let mut pairs = fields.chunks_exact(2);
    let pair = pairs.find(|pair| pair[0] == name.as_bytes())?;
    std::str::from_utf8(&pair[1]).ok()
}

/// The number of a purge, which is the first half of its id.
pub(super) fn number(id: &str) -> Option<u64> {
    id.split_once('-')?.0.parse().ok()
}
