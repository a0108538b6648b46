//! Tests of the module above.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::balance::{Settings, Thresholds};

const SECOND: Duration = Duration::from_secs(1);

fn upstream(servers: &[(&str, u32)]) -> Upstream {
    let address = |&(text, weight): &(&str, u32)| format!("{{ address = \"{text}\", weight = {weight} }}");
    let servers: Vec<String> = servers.iter().map(address).collect();
    Upstream {
        resolve_interval: SHORTEST,
        ..Upstream::of(&format!("servers = [{}]", servers.join(", ")))
    }
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

fn answer(ips: &[&str], port: u16) -> Vec<SocketAddr> {
    ips.iter()
        .map(|ip| SocketAddr::new(ip.parse().unwrap(), port))
        .collect()
}

/// Answers of a name server, one a look-up, the last one for ever; `None`: the name does not exist.
#[derive(Clone)]
struct Script(Arc<Mutex<VecDeque<Option<Vec<&'static str>>>>>);

impl Script {
    fn new(answers: impl IntoIterator<Item = Option<Vec<&'static str>>>) -> Self {
        Self(Arc::new(Mutex::new(answers.into_iter().collect())))
    }

    fn lookup(&self) -> impl Fn(Box<str>, u16) -> Lookup + Send + 'static {
        let script = Arc::clone(&self.0);
        move |_, port| {
            let script = Arc::clone(&script);
            async move {
                let mut script = script.lock();
                let next = script.front().cloned().flatten();
                if script.len() > 1 {
                    script.pop_front();
                }
                next.map(|ips| answer(&ips, port))
                    .ok_or_else(|| io::ErrorKind::NotFound.into())
            }
            .boxed()
        }
    }

    fn left(&self) -> usize {
        self.0.lock().len()
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + 30 * SECOND;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn addresses_are_not_looked_up() {
    let upstream = upstream(&[("127.0.0.1:5000", 2), ("[::1]:5001", 1), ("[0::1]:5002", 1)]);
    let pool = pool();
    resolve_once_by(&upstream, &pool, |host, _| unreachable!("{host} was looked up")).await;
    let endpoints = pool.endpoints();
    let found: Vec<_> = endpoints
        .iter()
        .map(|one| (&**one.server(), one.address().to_string(), one.weight()))
        .collect();
    let expected = [
        ("127.0.0.1:5000", "127.0.0.1:5000".to_owned(), 2),
        ("[::1]:5001", "[::1]:5001".to_owned(), 1),
        ("[::1]:5002", "[::1]:5002".to_owned(), 1),
    ];
    assert_eq!(found, expected);
    let (_stop, shutdown) = watch::channel(false);
    tokio::spawn(run(upstream, pool, shutdown)).await.unwrap();
}

#[tokio::test]
async fn a_name_has_as_many_servers_as_addresses() {
    let upstream = upstream(&[("app:5000", 3), ("10.0.0.9:5000", 1)]);
    let pool = pool();
    let script = Script::new([Some(vec!["10.0.0.2", "10.0.0.1", "10.0.0.2"])]);
    resolve_once_by(&upstream, &pool, script.lookup()).await;
    assert_eq!(addresses(&pool), ["10.0.0.1:5000", "10.0.0.2:5000", "10.0.0.9:5000"]);
    let servers: Vec<_> = pool
        .endpoints()
        .iter()
        .map(|one| (Arc::clone(one.server()), one.weight()))
        .collect();
    assert_eq!(
        servers,
        [
            ("app:5000".into(), 3),
            ("app:5000".into(), 3),
            ("10.0.0.9:5000".into(), 1)
        ]
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve_has_no_servers() {
    let upstream = upstream(&[("nowhere:5000", 1), ("0.0.0.0:1", 1)]);
    let pool = pool();
    resolve_once_by(&upstream, &pool, Script::new([None]).lookup()).await;
    assert_eq!(addresses(&pool), [""; 0]);
    assert_eq!(pool.usable(), 0);
}

#[tokio::test]
async fn a_reload_without_name_server_keeps_the_addresses() {
    let upstream = upstream(&[("app:5000", 1)]);
    let pool = pool();
    resolve_once_by(&upstream, &pool, Script::new([Some(vec!["10.0.0.1"])]).lookup()).await;
    let before = Arc::clone(&pool.endpoints()[0]);
    let after = pool.successor(*pool.settings());
    resolve_once_by(&upstream, &after, Script::new([None]).lookup()).await;
    assert!(Arc::ptr_eq(&before, &after.endpoints()[0]));
}

#[tokio::test]
async fn names_are_followed_until_shutdown() {
    let mut upstream = upstream(&[("app:5000", 1)]);
    upstream.resolve_interval = Duration::ZERO;
    let pool = pool();
    let script = Script::new([
        Some(vec!["10.0.0.1"]),
        Some(vec!["10.0.0.2", "10.0.0.1"]),
        None,
        Some(vec!["0.0.0.0"]),
        Some(vec![]),
    ]);
    resolve_once_by(&upstream, &pool, script.lookup()).await;
    let first = Arc::clone(&pool.endpoints()[0]);
    let (stop, shutdown) = watch::channel(false);
    let task = tokio::spawn(run_by(
        upstream,
        Arc::clone(&pool),
        shutdown,
        script.lookup(),
        LOOKUP_LIMIT,
    ));
    until("the second address", || pool.endpoints().len() == 2).await;
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

    script.0.lock().push_back(Some(vec!["10.0.0.3"]));
    until("the third address", || addresses(&pool) == ["10.0.0.3:5000"]).await;
    stop.send(true).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn a_name_that_appears_later_gets_its_servers() {
    let upstream = upstream(&[("app:5000", 1), ("127.0.0.1:1", 1)]);
    let pool = pool();
    let script = Script::new([None, None, None, Some(vec!["10.0.0.1"])]);
    resolve_once_by(&upstream, &pool, script.lookup()).await;
    assert_eq!(addresses(&pool), ["127.0.0.1:1"]);
    let (stop, shutdown) = watch::channel(false);
    let task = tokio::spawn(run_by(
        upstream,
        Arc::clone(&pool),
        shutdown,
        script.lookup(),
        LOOKUP_LIMIT,
    ));
    until("the address", || addresses(&pool) == ["10.0.0.1:5000", "127.0.0.1:1"]).await;
    drop(stop);
    task.await.unwrap();
}

#[tokio::test]
async fn a_look_up_that_hangs_is_not_started_twice_and_its_answer_is_taken() {
    let upstream = upstream(&[("app:5000", 1)]);
    let pool = pool();
    let started = Arc::new(AtomicUsize::new(0));
    let answers = Arc::new(Notify::new());
    let (count, wait) = (Arc::clone(&started), Arc::clone(&answers));
    let lookup = move |_: Box<str>, port| {
        let (count, wait) = (Arc::clone(&count), Arc::clone(&wait));
        async move {
            count.fetch_add(1, SeqCst);
            wait.notified().await;
            Ok(answer(&["10.0.0.1"], port))
        }
        .boxed()
    };
    let known = vec![Member::new("app:5000", SocketAddr::from(([10, 0, 0, 9], 5000)), 1)];
    pool.update(known);
    let (_stop, shutdown) = watch::channel(false);
    let limit = Duration::from_millis(5);
    let task = tokio::spawn(run_by(upstream, Arc::clone(&pool), shutdown, lookup, limit));
    until("the look-up", || started.load(SeqCst) == 1).await;
    sleep(20 * limit).await; // long enough for a second one, if there were one
    assert_eq!(started.load(SeqCst), 1);
    assert_eq!(addresses(&pool), ["10.0.0.9:5000"]);
    answers.notify_one();
    until("the late answer", || addresses(&pool) == ["10.0.0.1:5000"]).await;
    until("the next look-up", || started.load(SeqCst) == 2).await;
    task.abort();
}

#[tokio::test]
async fn the_system_resolves() {
    let addresses = system("localhost".into(), 80).await.unwrap();
    assert!(
        addresses
            .iter()
            .all(|address| address.ip().is_loopback() && address.port() == 80)
    );
    assert!(!addresses.is_empty());
}

#[test]
fn only_unicast_addresses_are_accepted() {
    let table: [(&[&str], &[&str]); 7] = [
        (&[], &[]),
        (&["0.0.0.0", "::", "::ffff:0.0.0.0"], &[]),
        (&["224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:239.1.1.1"], &[]),
        (&["10.0.0.2", "10.0.0.1", "10.0.0.2"], &["10.0.0.1", "10.0.0.2"]),
        (&["::ffff:10.0.0.1", "10.0.0.1"], &["10.0.0.1"]),
        (&["fd00::1", "10.0.0.1", "0.0.0.0"], &["10.0.0.1", "fd00::1"]),
        (&["127.0.0.1", "169.254.1.1"], &["127.0.0.1", "169.254.1.1"]),
    ];
    for (ips, expected) in table {
        assert_eq!(accepted(answer(ips, 80)), answer(expected, 80), "{ips:?}");
    }
    let many = (0..1000u32).map(|number| SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 80)));
    assert_eq!(accepted(many.collect()).len(), ADDRESSES_MAX);
}

#[test]
fn waits() {
    let upstream = upstream(&[("app:5000", 1)]);
    let mut server = servers(&upstream, &pool()).remove(0);
    let minute = 60 * SECOND;
    let waits: Vec<u64> = (0..10)
        .map(|_| {
            server.learn("api", Err(io::ErrorKind::NotFound.into()));
            server.wait(minute).as_secs()
        })
        .collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    server.failures = u32::MAX;
    assert_eq!(server.wait(Duration::MAX), FIRST_RETRY * (1 << 16));
    server.learn("api", Ok(answer(&["10.0.0.1"], 80)));
    assert_eq!(server.wait(minute), minute);
    server.learn("api", Err(io::ErrorKind::NotFound.into()));
    assert_eq!(server.wait(minute), minute, "it has addresses, nothing hurries");
    assert_eq!(
        (server.wait(Duration::ZERO), server.wait(Duration::MAX)),
        (SHORTEST, LONGEST)
    );
}
