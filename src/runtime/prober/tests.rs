//! Tests of the module above.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::balance::{Ask, Member, Settings, Strategy, Thresholds};

const SECOND: Duration = Duration::from_secs(1);

/// An origin that answers with the status it is told; 0: it accepts and says nothing.
struct Origin {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    probes: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Origin {
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(status));
        let probes = Arc::new(AtomicUsize::new(0));
        let (answer, count) = (Arc::clone(&status), Arc::clone(&probes));
        let task = tokio::spawn(async move {
            let mut silent = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                let status = answer.load(SeqCst);
                if status == 0 {
                    silent.push(stream);
                    continue;
                }
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let head = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
            }
        });
        Self {
            address,
            status,
            probes,
            task,
        }
    }

    fn turn(&self, status: u16) {
        self.status.store(status, SeqCst);
    }

    fn member(&self) -> Member {
        Member::new(self.address.to_string(), self.address, 1)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn upstream(interval: Duration) -> Upstream {
    let mut upstream =
        Upstream::of("servers = [\"127.0.0.1:9\"]\nhealth_check = { path = \"/health\", interval = \"1h\" }");
    let check = upstream.health_check.as_mut().unwrap();
    check.interval = interval;
    check.unhealthy_interval = interval;
    check.timeout = 20 * SECOND;
    upstream
}

fn pool(upstream: &Upstream, origins: &[&Origin]) -> Arc<Pool> {
    let health = upstream.health_check.as_ref().map(|check| Thresholds {
        unhealthy_after: check.unhealthy_after,
        healthy_after: check.healthy_after,
    });
    let settings = Settings {
        strategy: Strategy::RoundRobin,
        health,
        ..Settings::default()
    };
    let pool = Pool::new(Arc::clone(&upstream.name), settings);
    pool.update(origins.iter().map(|origin| origin.member()).collect());
    Arc::new(pool)
}

/// Waits for something that must come; the limit is only there to end a test that fails.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + 30 * SECOND;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[derive(Clone, Default)]
struct Changes(Arc<Mutex<Vec<(SocketAddr, bool)>>>);

impl Changes {
    fn hook(&self) -> impl Fn(&Endpoint, bool) + Send + Sync + 'static {
        let changes = self.clone();
        move |endpoint, healthy| changes.0.lock().push((endpoint.address(), healthy))
    }

    fn seen(&self) -> Vec<(SocketAddr, bool)> {
        self.0.lock().clone()
    }
}

#[tokio::test]
async fn a_server_goes_out_and_comes_back() {
    let (steady, origin) = (Origin::start(200).await, Origin::start(200).await);
    let upstream = upstream(Duration::from_millis(20));
    let pool = pool(&upstream, &[&steady, &origin]);
    let changes = Changes::default();
    let (stop, shutdown) = watch::channel(false);
    let task = tokio::spawn(run(upstream, None, Arc::clone(&pool), changes.hook(), shutdown));
    let endpoint = Arc::clone(&pool.endpoints()[1]);

    until("healthy", || endpoint.state() == State::Healthy).await;
    let probes = origin.probes.load(SeqCst);
    origin.turn(500);
    until("unhealthy", || endpoint.state() == State::Unhealthy).await;
    assert!(
        origin.probes.load(SeqCst) >= probes + 3,
        "three failures in a row take it out, not fewer"
    );
    assert_eq!(endpoint.health().reason(), Some("status 500"));
    assert_eq!(pool.usable(), 1);
    assert_eq!(
        pool.pick(&Ask::any(std::time::Instant::now()))
            .unwrap()
            .endpoint()
            .address(),
        steady.address
    );
    origin.turn(204);
    until("healthy again", || endpoint.state() == State::Healthy).await;
    assert_eq!(pool.usable(), 2);

    stop.send(true).unwrap();
    task.await.unwrap();
    let mut seen = changes.seen();
    seen.retain(|(address, _)| *address == origin.address);
    assert_eq!(
        seen,
        [(origin.address, true), (origin.address, false), (origin.address, true)]
    );
}

#[tokio::test]
async fn the_first_round_knows_everybody() {
    let (good, bad, mute) = (
        Origin::start(200).await,
        Origin::start(503).await,
        Origin::start(0).await,
    );
    let closed = Origin::start(200).await;
    closed.task.abort();
    until("closed", || closed.task.is_finished()).await;
    let mut upstream = upstream(SECOND);
    let check = upstream.health_check.as_mut().unwrap();
    check.timeout = 3 * SECOND;
    let pool = pool(&upstream, &[&good, &bad, &mute, &closed]);
    let changes = Changes::default();
    first_round(&upstream, None, &pool, changes.hook()).await;

    let health: Vec<_> = pool.endpoints().iter().map(|endpoint| endpoint.health()).collect();
    let found: Vec<_> = health.iter().map(|health| (health.state(), health.reason())).collect();
    let expected = [
        (State::Healthy, None),
        (State::Unhealthy, Some("status 503")),
        (State::Unhealthy, Some("no answer within 3s")),
        (State::Unhealthy, Some("cannot connect: connection refused")),
    ];
    assert_eq!(found, expected);
    assert_eq!(changes.seen().len(), 4);
    assert_eq!(pool.usable(), 1);
}

#[tokio::test]
async fn servers_that_join_are_probed_at_once_and_those_that_left_no_more() {
    let (old, new) = (Origin::start(200).await, Origin::start(500).await);
    let upstream = upstream(3600 * SECOND);
    let pool = pool(&upstream, &[&old]);
    let (stop, shutdown) = watch::channel(false);
    let task = tokio::spawn(run(upstream, None, Arc::clone(&pool), |_, _| {}, shutdown));
    until("the first probe", || pool.endpoints()[0].state() == State::Healthy).await;

    pool.update(vec![new.member()]);
    until("the probe of the new server", || {
        pool.endpoints()[0].state() == State::Unhealthy
    })
    .await;
    let left = Arc::clone(&pool.update(vec![old.member()]).left[0]);
    until("the old server is back", || {
        pool.endpoints()[0].state() == State::Healthy
    })
    .await;
    // Its task is gone when nobody but this test holds it.
    until("the removed server is let go", || Arc::strong_count(&left) == 1).await;

    drop(stop);
    task.await.unwrap();
    assert_eq!((old.probes.load(SeqCst), new.probes.load(SeqCst)), (2, 1));
}

#[tokio::test]
async fn a_panic_of_the_hook_does_not_end_the_checks() {
    let origin = Origin::start(200).await;
    let upstream = upstream(Duration::from_millis(20));
    let pool = pool(&upstream, &[&origin]);
    let (_stop, shutdown) = watch::channel(false);
    let hook = |_: &Endpoint, healthy: bool| assert!(!healthy, "the panic that this test is about");
    let task = tokio::spawn(run(upstream, None, Arc::clone(&pool), hook, shutdown));
    until("healthy", || pool.endpoints()[0].state() == State::Healthy).await;
    origin.turn(500);
    until("unhealthy", || pool.endpoints()[0].state() == State::Unhealthy).await;
    assert!(!task.is_finished());
    task.abort();
}

#[tokio::test]
async fn without_a_check_there_is_nothing_to_do() {
    let origin = Origin::start(200).await;
    let mut upstream = upstream(SECOND);
    upstream.health_check = None;
    let pool = pool(&upstream, &[&origin]);
    let (_stop, shutdown) = watch::channel(false);
    first_round(&upstream, None, &pool, |_, _| {}).await;
    run(upstream, None, Arc::clone(&pool), |_, _| {}, shutdown).await;
    assert_eq!(origin.probes.load(SeqCst), 0);
    assert_eq!(pool.usable(), 1);
}

#[test]
fn periods() {
    let check = HealthCheck {
        interval: 5 * SECOND,
        unhealthy_interval: SECOND,
        ..upstream(SECOND).health_check.unwrap()
    };
    assert_eq!(period(&check, State::Unknown), 5 * SECOND);
    assert_eq!(period(&check, State::Healthy), 5 * SECOND);
    assert_eq!(period(&check, State::Unhealthy), SECOND);
    let wild = HealthCheck {
        interval: Duration::ZERO,
        unhealthy_interval: Duration::MAX,
        ..check
    };
    assert_eq!(period(&wild, State::Healthy), SHORTEST);
    assert_eq!(period(&wild, State::Unhealthy), LONGEST);
}
