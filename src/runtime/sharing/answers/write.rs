//! Writes the answers of this gateway, one after the other, on a connection of its own: nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use redis::RedisResult;
use tokio::sync::watch;

use super::super::{PATIENCE, Sharing, in_time};
use super::line::Waiting;
use crate::cache::packed::{pack, pack_names};
use crate::cache::{Moment, Terms};
use crate::runtime::limits::shared::failure::Failure;
use crate::runtime::limits::shared::target::Connection;

/// How long nothing is written after something could not be.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest that the Redis is told to keep an answer.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// Writes until it is to stop.
pub(in crate::runtime::sharing) async fn write(sharing: Arc<Sharing>, mut stop: watch::Receiver<bool>) {
    let mut connection: Option<Connection> = None;
    let line = &sharing.answers.line;
    loop {
        let Some(next) = line.pop() else {
            tokio::select! {
                () = line.more.notified() => {}
                () = lost(&mut connection) => connection = None,
                _ = stop.wait_for(|stop| *stop) => return,
            }
            continue;
        };
        let Err(failure) = sharing.put(&mut connection, &next).await else {
            continue;
        };
        next.counts.failures.fetch_add(1, Relaxed);
        if failure.ends_connection() {
            connection = None;
        }
        sharing.answers.complain(|| {
            tracing::warn!(cache = %next.cache, reason = %failure, "an answer cannot be shared with other gateways");
        });
        while let Some(late) = line.pop() {
            late.counts.skipped.fetch_add(1, Relaxed);
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn lost(connection: &mut Option<Connection>) {
    match connection {
        Some(connection) => drop(connection.lost().await),
        None => std::future::pending().await,
    }
}

/// How long an answer is of use to anybody from now on; `None`: it is not.
pub(super) fn useful_for(terms: &Terms, now: Moment) -> Option<Duration> {
    let all = match (terms.no_cache, terms.must_revalidate) {
        (true, _) => Duration::ZERO, // whoever wants it asks the application
        (_, true) => terms.lifetime,
        (_, false) => terms.useful_for(),
    };
    let left = all.checked_sub(terms.age(now))?.min(LONGEST);
    (left >= Duration::from_millis(1)).then_some(left)
}

impl Sharing {
    /// Writes one, if it is still worth it.
    async fn put(&self, connection: &mut Option<Connection>, waiting: &Waiting) -> Result<(), Failure> {
        let Waiting {
            offer,
            cache,
            most,
            counts,
        } = waiting;
        let left = useful_for(&offer.entry.terms, SystemTime::now().into());
        // What was asked for in another sequence cannot be compared with the purges of this one.
        let asked = self.position(offer.generation).filter(|_| !offer.is_purged());
        let packed = asked.and_then(|asked| pack(&offer.entry, offer.address, &asked, *most));
        let (Some(left), Some(packed)) = (left, packed) else {
            counts.skipped.fetch_add(1, Relaxed);
            return Ok(());
        };
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let place = offer.entry.selector.place();
        let mut call = redis::pipe();
        call.ignore_errors();
        let mut set = |place: Option<u128>, value: &[u8]| {
            let key = self.answer_key(cache, offer.address, place);
            call.cmd("SET").arg(key).arg(value).arg("PX").arg(left);
        };
        set(place, &packed);
        if place.is_some()
            && let Some(names) = pack_names(offer.entry.selector.names(), offer.address)
        {
            set(None, &names);
        }
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(self.open().await?),
        };
        let mut handle = connection.handle.clone();
        let answers: Vec<RedisResult<()>> = in_time(call.query_async(&mut handle), PATIENCE).await?;
        let all = answers.into_iter().collect::<RedisResult<()>>();
        all.map_err(|error| Failure::of(&error))?;
        counts.written.fetch_add(1, Relaxed);
        Ok(())
    }
}
