//! Tests of the module above.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;
use tokio::time::sleep;

use super::answer::{Answer, Found};
use super::*;
use crate::balance::{Settings, Thresholds};

const SECOND: Duration = Duration::from_secs(1);

fn upstream(servers: &[(&str, u32)]) -> Upstream {
    let entry = |&(text, weight): &(&str, u32)| Address {
        target: target(text).unwrap(),
        weight,
        backup: false,
        max_requests: None,
    };
    let config = crate::config::parse(
        "test.toml",
        "[upstream.api]\nservers = [\"127.0.0.1:1\"]\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"api\"\n",
        std::path::Path::new("/"),
        &|_| None,
    );
    let mut upstream = config.unwrap().config.upstreams.remove(0);
    upstream.servers = servers.iter().map(entry).collect();
    upstream.resolve_interval = Duration::from_millis(10);
    upstream
}

fn pool() -> Arc<Pool> {
    let health = Some(Thresholds {
        unhealthy_after: 1,
        healthy_after: 1,
    });
    let settings = Settings {
        health,
        ..Settings::default()
    };
    Arc::new(Pool::new("api".into(), settings))
}

fn addresses(pool: &Pool) -> Vec<String> {
    pool.endpoints()
        .iter()
        .map(|endpoint| endpoint.address().to_string())
        .collect()
}

fn answer(ips: &[&str], port: u16) -> Outcome {
    let one = |ip: &&str| Found {
        address: SocketAddr::new(ip.parse().unwrap(), port),
        weight: 1,
        name: "app".into(),
    };
    Outcome::Found(Answer {
        servers: ips.iter().map(one).collect(),
        unsure: Vec::new(),
        ttl: Duration::ZERO,
    })
}

/// What a name server says.
#[derive(Clone)]
enum Say {
    Ips(&'static [&'static str]),
    Absent,
    Nothing,
}

/// Answers of a name server, one a look-up, the last one for ever.
#[derive(Clone)]
struct Script(Arc<Mutex<VecDeque<Say>>>);

impl Script {
    fn new(answers: impl IntoIterator<Item = Say>) -> Self {
        Self(Arc::new(Mutex::new(answers.into_iter().collect())))
    }

    fn lookup(&self) -> impl Fn(&Target) -> Lookup + Send + 'static {
        let script = Arc::clone(&self.0);
        move |target| {
            let script = Arc::clone(&script);
            let port = match target {
                Target::Host { port, .. } => *port,
                Target::Srv(_) | Target::Unix(_) => 80,
            };
            async move {
                let mut script = script.lock();
                let next = if script.len() > 1 {
                    script.pop_front()
                } else {
                    script.front().cloned()
                };
                match next {
                    Some(Say::Ips(ips)) => answer(ips, port),
                    Some(Say::Absent) => Outcome::Absent,
                    Some(Say::Nothing) | None => Outcome::Failed("silence".to_owned()),
                }
            }
            .boxed()
        }
    }

    fn left(&self) -> usize {
        self.0.lock().len()
    }

    fn then(&self, say: Say) {
        self.0.lock().push_back(say);
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + 30 * SECOND;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The loop of an upstream, until it is dropped.
struct Running(watch::Sender<bool>, tokio::task::JoinHandle<()>);

impl Running {
    fn start(
        upstream: &Upstream,
        pool: &Arc<Pool>,
        lookup: impl Fn(&Target) -> Lookup + Send + Sync + 'static,
    ) -> Self {
        let (stop, shutdown) = watch::channel(false);
        Self(
            stop,
            tokio::spawn(run_by(upstream.clone(), Arc::clone(pool), shutdown, lookup)),
        )
    }

    async fn stop(self) {
        self.0.send(true).unwrap();
        self.1.await.unwrap();
    }
}

#[tokio::test]
async fn addresses_are_not_looked_up() {
    let upstream = upstream(&[("127.0.0.1:5000", 2), ("10.0.0.1:5001", 1)]);
    let pool = pool();
    resolve_once_by(&upstream, &pool, |target| unreachable!("{target} was looked up")).await;
    let endpoints = pool.endpoints();
    let found: Vec<_> = endpoints
        .iter()
        .map(|one| (&**one.server(), one.address().to_string(), one.weight()))
        .collect();
    let expected = [
        ("127.0.0.1:5000", "127.0.0.1:5000".to_owned(), 2),
        ("10.0.0.1:5001", "10.0.0.1:5001".to_owned(), 1),
    ];
    assert_eq!(found, expected);
    let (_stop, shutdown) = watch::channel(false);
    let nobody = |_: &Target| unreachable!("nothing to look up");
    run_by(upstream, pool, shutdown, nobody).await;
}

#[tokio::test]
async fn a_name_has_as_many_servers_as_addresses() {
    let upstream = upstream(&[("app:5000", 3), ("10.0.0.9:5000", 1)]);
    let pool = pool();
    let script = Script::new([Say::Ips(&["10.0.0.2", "10.0.0.1", "10.0.0.2"])]);
    resolve_once_by(&upstream, &pool, script.lookup()).await;
    assert_eq!(addresses(&pool), ["10.0.0.1:5000", "10.0.0.2:5000", "10.0.0.9:5000"]);
    let weights: Vec<_> = pool.endpoints().iter().map(|one| one.weight()).collect();
    assert_eq!(weights, [3, 3, 1]);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_has_no_servers() {
    let upstream = upstream(&[("nowhere:5000", 1), ("0.0.0.0:1", 1)]);
    let pool = pool();
    resolve_once_by(&upstream, &pool, Script::new([Say::Absent]).lookup()).await;
    assert_eq!(addresses(&pool), [""; 0]);
    assert!(pool.pick(&crate::balance::Ask::any(std::time::Instant::now())).is_err());
}

#[tokio::test(start_paused = true)]
async fn the_start_waits_for_nobody_who_is_silent() {
    let upstream = upstream(&[("app:5000", 1), ("10.0.0.9:5000", 1)]);
    let pool = pool();
    let began = Instant::now();
    resolve_once_by(&upstream, &pool, |_| std::future::pending().boxed()).await;
    assert_eq!(began.elapsed().as_secs(), START_LIMIT.as_secs());
    assert_eq!(addresses(&pool), ["10.0.0.9:5000"]);
}

#[tokio::test]
async fn a_reload_without_name_server_keeps_the_addresses() {
    let upstream = upstream(&[("app:5000", 1)]);
    let pool = pool();
    resolve_once_by(&upstream, &pool, Script::new([Say::Ips(&["10.0.0.1"])]).lookup()).await;
    let before = Arc::clone(&pool.endpoints()[0]);
    let after = pool.successor(*pool.settings());
    resolve_once_by(&upstream, &after, Script::new([Say::Nothing]).lookup()).await;
    assert!(Arc::ptr_eq(&before, &after.endpoints()[0]));
}

#[tokio::test]
async fn names_are_followed_until_shutdown() {
    let upstream = upstream(&[("app:5000", 1)]);
    let pool = pool();
    let script = Script::new([
        Say::Ips(&["10.0.0.1"]),
        Say::Ips(&["10.0.0.2", "10.0.0.1"]),
        Say::Nothing,
        Say::Ips(&["0.0.0.0"]),
        Say::Ips(&[]),
        Say::Absent,
    ]);
    resolve_once_by(&upstream, &pool, script.lookup()).await;
    let first = Arc::clone(&pool.endpoints()[0]);
    let running = Running::start(&upstream, &pool, sync(script.lookup()));
    until("the second address", || pool.endpoints().len() == 2).await;
    script.then(Say::Nothing);
    until("the end of the script", || script.left() == 1).await;
    assert_eq!(
        addresses(&pool),
        ["10.0.0.1:5000", "10.0.0.2:5000"],
        "failures keep the last good answer"
    );
    assert!(
        Arc::ptr_eq(&first, &pool.endpoints()[0]),
        "an address that stays is the same server"
    );
    script.then(Say::Ips(&["10.0.0.3"]));
    until("the third address", || addresses(&pool) == ["10.0.0.3:5000"]).await;
    script.then(Say::Absent);
    until("none", || pool.endpoints().is_empty()).await;
    script.then(Say::Ips(&["10.0.0.4"]));
    until("the fourth address", || addresses(&pool) == ["10.0.0.4:5000"]).await;
    running.stop().await;
}

/// Scripts hold a lock: they can be shared.
fn sync(lookup: impl Fn(&Target) -> Lookup + Send + 'static) -> impl Fn(&Target) -> Lookup + Send + Sync + 'static {
    let lookup = Mutex::new(lookup);
    move |target| lookup.lock()(target)
}

#[tokio::test]
async fn a_name_that_appears_later_gets_its_servers() {
    let upstream = upstream(&[("app:5000", 1), ("127.0.0.1:1", 1)]);
    let pool = pool();
    let script = Script::new([Say::Absent, Say::Nothing, Say::Absent, Say::Ips(&["10.0.0.1"])]);
    resolve_once_by(&upstream, &pool, script.lookup()).await;
    assert_eq!(addresses(&pool), ["127.0.0.1:1"]);
    let running = Running::start(&upstream, &pool, sync(script.lookup()));
    until("the address", || addresses(&pool) == ["10.0.0.1:5000", "127.0.0.1:1"]).await;
    let Running(stop, task) = running;
    drop(stop);
    task.await.unwrap();
}

#[tokio::test]
async fn a_look_up_that_takes_long_is_not_started_twice() {
    let upstream = upstream(&[("app:5000", 1)]);
    let pool = pool();
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    let running = Running::start(&upstream, &pool, move |_| {
        count.fetch_add(1, SeqCst);
        std::future::pending().boxed()
    });
    until("the look-up", || started.load(SeqCst) == 1).await;
    sleep(20 * upstream.resolve_interval).await; // long enough for a second one, if there were one
    assert_eq!(started.load(SeqCst), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_file_of_servers_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("servers");
    let mut upstream = upstream(&[("10.0.0.9:80", 1)]);
    upstream.servers_file = Some(path.clone());
    let pool = pool();
    let script = Script::new([Say::Ips(&["10.0.0.5"])]);
    resolve_once_by(&upstream, &pool, script.lookup()).await;
    assert_eq!(addresses(&pool), ["10.0.0.9:80"], "a file that is not there is empty");
    let running = Running::start(&upstream, &pool, sync(script.lookup()));

    fs::write(&path, "10.0.0.1:80\napp:81 weight=3\n").unwrap();
    until("the file's", || {
        addresses(&pool) == ["10.0.0.9:80", "10.0.0.1:80", "10.0.0.5:81"]
    })
    .await;
    let kept = Arc::clone(&pool.endpoints()[2]);
    assert_eq!(kept.weight(), 3);

    fs::write(&path, "app:81\n10.0.0.3:80\n").unwrap();
    until("the new list", || {
        addresses(&pool) == ["10.0.0.9:80", "10.0.0.5:81", "10.0.0.3:80"]
    })
    .await;
    assert!(
        Arc::ptr_eq(&kept, &pool.endpoints()[1]),
        "what stays is the same server"
    );
    assert_eq!(kept.weight(), 1);

    fs::remove_file(&path).unwrap();
    let after = Arc::new(pool.successor(*pool.settings()));
    resolve_once_by(&upstream, &after, Script::new([Say::Nothing]).lookup()).await;
    assert_eq!(
        addresses(&after),
        ["10.0.0.9:80", "10.0.0.5:81", "10.0.0.3:80"],
        "a reload that does not find the file keeps its servers"
    );

    fs::write(&path, "# none\n").unwrap();
    until("an empty list", || addresses(&pool) == ["10.0.0.9:80"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_is_written_at_the_start_is_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("servers");
    let mut upstream = upstream(&[]);
    upstream.servers_file = Some(path.clone());
    let pool = pool();
    let nobody = Script::new([Say::Nothing]);
    resolve_once_by(&upstream, &pool, nobody.lookup()).await;
    fs::write(&path, "10.0.0.1:80\n").unwrap();
    let running = Running::start(&upstream, &pool, sync(nobody.lookup()));
    until("the file's", || addresses(&pool) == ["10.0.0.1:80"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_faulty_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("servers");
    fs::write(&path, "10.0.0.1:80\n").unwrap();
    let mut upstream = upstream(&[]);
    upstream.servers_file = Some(path.clone());
    let mut discovery = Discovery::start(&upstream, &pool()).await;
    let before = discovery.members();
    assert_eq!(before.len(), 1);
    for text in ["10.0.0.2:80\n10.0.0.1:8", "10.0.0.2:80\n10.0.0.3:"] {
        fs::write(&path, text).unwrap();
        let reading = list::read(&path).await;
        let faulty = reading.is_err();
        assert_eq!(discovery.take(reading), !faulty, "{text}");
        assert_eq!(discovery.told.is_some(), faulty);
    }
    assert!(discovery.told.as_ref().is_some_and(|fault| fault.contains("line 2")));
    assert_eq!(discovery.members().len(), 2, "those of the last good file");
    fs::remove_file(&path).unwrap();
    assert!(!discovery.take(list::read(&path).await));
    assert_eq!(discovery.members().len(), 2);
}

#[tokio::test]
async fn an_upstream_has_a_largest_number_of_servers() {
    let text: String = (0..4096)
        .map(|number| format!("10.0.{}.{}:80\n", number / 256, number % 256))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("servers");
    fs::write(&path, text).unwrap();
    let mut upstream = upstream(&[("10.1.0.1:80", 1), ("10.1.0.2:80", 1)]);
    upstream.servers_file = Some(path);
    let pool = pool();
    resolve_once_by(&upstream, &pool, |_| unreachable!("no names")).await;
    assert_eq!(pool.endpoints().len(), MEMBERS_MAX);
    assert_eq!(&**pool.endpoints()[0].server(), "10.1.0.1:80");
}

#[test]
fn what_is_shown_reads_back() {
    for text in [
        "app:80",
        "10.0.0.1:80",
        "[::1]:80",
        "unix:/run/a:1.sock",
        "srv:_http._tcp.app",
    ] {
        assert_eq!(target(text).map(|target| target.to_string()).as_deref(), Some(text));
    }
    for text in ["", "app", "app:", "app:x"] {
        assert_eq!(target(text), None, "{text}");
    }
}
