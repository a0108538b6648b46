//! Work in the background that a snapshot needs: as long as snapshots need the same work of the same things it goes on
//! untouched, from reload to reload.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long work that was told to stop may take to do so; then it is cut.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something that work is done on; where it is the same thing as before, the work is the same.
pub type Thing = Arc<dyn Any + Send + Sync>;

type Work = Box<dyn FnOnce(watch::Receiver<bool>) -> BoxFuture<'static, ()> + Send + Sync>;

/// A piece of work.
pub struct Task {
    kind: &'static str,
    name: Arc<str>,
    of: Vec<Thing>,
    work: Work,
}

impl Task {
    /// Work of this kind for what the file calls `name`, done on the things `of`. `work` is called with what becomes
    /// `true` when it is to stop; it may also return before, when there is nothing left to do. It is called only where
    /// the same work on the same things is not running already: what a thing is made of must therefore not change.
    pub fn new<F>(
        kind: &'static str,
        name: Arc<str>,
        of: Vec<Thing>,
        work: impl FnOnce(watch::Receiver<bool>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            kind,
            name,
            of,
            work: Box::new(move |stop| work(stop).boxed()),
        }
    }
}

/// The work that is being done.
#[derive(Default)]
pub struct Tasks {
    running: HashMap<(&'static str, Arc<str>), Running>,
}

struct Running {
    of: Vec<Thing>,
    stop: watch::Sender<bool>,
    handle: JoinHandle<()>,
}

impl Tasks {
    /// Stops what is not the same in `wanted`.
    pub async fn retire(&mut self, wanted: &[Task]) {
        let is_wanted = |(kind, name): &(&'static str, Arc<str>), running: &Running| {
            wanted
                .iter()
                .any(|task| task.kind == *kind && task.name == *name && same(&task.of, &running.of))
        };
        let before = std::mem::take(&mut self.running);
        let (kept, retired) = before.into_iter().partition(|(key, running)| is_wanted(key, running));
        self.running = kept;
        stop(retired).await;
    }

    /// From now on this work is to be done, and no other: what is running already goes on, what is not wanted any more,
    /// or on other things, is stopped before its successor starts.
    pub async fn replace(&mut self, wanted: Vec<Task>) {
        self.retire(&wanted).await;
        for Task { kind, name, of, work } in wanted {
            self.running.entry((kind, name)).or_insert_with(|| {
                let (stop, stopping) = watch::channel(false);
                let handle = tokio::spawn(work(stopping));
                Running { of, stop, handle }
            });
        }
    }

    /// Stops everything.
    pub async fn stop(&mut self) {
        stop(std::mem::take(&mut self.running)).await;
    }
}

fn same(one: &[Thing], other: &[Thing]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}

async fn stop(tasks: HashMap<(&'static str, Arc<str>), Running>) {
    join_all(tasks.into_values().map(|mut task| async move {
        task.stop.send_replace(true);
        if tokio::time::timeout(PATIENCE, &mut task.handle).await.is_err() {
            task.handle.abort();
        }
    }))
    .await;
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    type Diary = Arc<Mutex<Vec<String>>>;

    /// Work that tells when it starts and when it is stopped.
    fn task(name: &str, of: &Thing, diary: &Diary) -> Task {
        let (diary, told) = (Arc::clone(diary), name.to_owned());
        Task::new("test", name.into(), vec![Arc::clone(of)], async move |mut stop| {
            diary.lock().push(format!("+{told}"));
            let _ = stop.wait_for(|stop| *stop).await;
            diary.lock().push(format!("-{told}"));
        })
    }

    fn thing(value: u8) -> Thing {
        Arc::new(value)
    }

    #[tokio::test]
    async fn the_same_work_goes_on_and_other_work_is_replaced() {
        let diary = Diary::default();
        let take = || {
            let mut lines = std::mem::take(&mut *diary.lock());
            lines.sort();
            lines
        };
        let (a, b) = (thing(1), thing(1));
        let mut tasks = Tasks::default();
        tasks.replace(vec![task("x", &a, &diary), task("y", &a, &diary)]).await;
        tokio::task::yield_now().await;
        assert_eq!(take(), ["+x", "+y"]);
        tasks.replace(vec![task("x", &a, &diary), task("y", &b, &diary)]).await;
        tokio::task::yield_now().await;
        assert_eq!(take(), ["+y", "-y"], "equal is not the same");
        tasks.replace(vec![task("z", &a, &diary)]).await;
        tokio::task::yield_now().await;
        assert_eq!(take(), ["+z", "-x", "-y"]);
        tasks.stop().await;
        assert_eq!(take(), ["-z"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_stop_is_cut() {
        let mut tasks = Tasks::default();
        let held = Arc::new(());
        let witness = Arc::downgrade(&held);
        let stubborn = Task::new("test", "x".into(), Vec::new(), async move |_| {
            std::future::pending::<()>().await;
            drop(held);
        });
        tasks.replace(vec![stubborn]).await;
        tasks.stop().await;
        tokio::task::yield_now().await;
        assert!(witness.upgrade().is_none());
    }
}
