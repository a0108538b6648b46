//! Tests of the module above.

use super::super::answer::{Answer, Family};
use super::*;
use crate::balance::{Pool, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn entry(target: Target, weight: u32) -> Address {
    Address {
        target,
        weight,
        backup: false,
        max_requests: None,
    }
}

fn name() -> Address {
    let target = Target::Host {
        host: "app".into(),
        port: 80,
    };
    entry(target, 1)
}

fn server() -> Server {
    Server::new(1, name(), &[], Instant::now())
}

fn answer(ips: &[&str]) -> Answer {
    let one = |ip: &&str| Found {
        address: SocketAddr::new(ip.parse().unwrap(), 80),
        weight: 1,
        name: "app".into(),
    };
    Answer {
        servers: ips.iter().map(one).collect(),
        unsure: Vec::new(),
        ttl: 7 * SECOND,
    }
}

fn found(ips: &[&str]) -> Outcome {
    Outcome::Found(answer(ips))
}

fn failed() -> Outcome {
    Outcome::Failed("silence".to_owned())
}

fn addresses(server: &Server) -> Vec<String> {
    server.members().map(|member| member.address.to_string()).collect()
}

fn named(server: &Server) -> &Named {
    match &server.kind {
        Kind::Named(named) => named,
        Kind::Fixed(_) => panic!("not a name"),
    }
}

#[test]
fn failures_take_nothing_away_and_absence_does_when_it_is_certain() {
    type Step = (Outcome, &'static [&'static str]);
    let both: &[&str] = &["10.0.0.1:80", "10.0.0.2:80"];
    let steps: Vec<Step> = vec![
        (found(&["10.0.0.2", "10.0.0.1"]), both),
        (failed(), both),
        (failed(), both),
        (failed(), both),
        (failed(), both),
        (found(&["0.0.0.0"]), both),
        (Outcome::Absent, both),
        (Outcome::Absent, both),
        (failed(), both),
        (Outcome::Absent, both),
        (Outcome::Absent, both),
        (Outcome::Absent, &[]),
        (Outcome::Absent, &[]),
        (failed(), &[]),
        (found(&["10.0.0.3"]), &["10.0.0.3:80"]),
        (Outcome::Absent, &["10.0.0.3:80"]),
    ];
    let mut server = server();
    for (step, (outcome, expected)) in steps.into_iter().enumerate() {
        let before = addresses(&server);
        let changed = server.learn("api", outcome, MINUTE);
        assert_eq!(addresses(&server), expected, "step {step}");
        assert_eq!(changed, before != expected, "step {step}");
    }
}

#[test]
fn what_could_not_be_asked_for_stays() {
    let mut server = server();
    server.learn("api", found(&["10.0.0.1", "fd00::1"]), MINUTE);
    let partial = Answer {
        unsure: vec![("app".into(), Family::V6)],
        ..answer(&["10.0.0.2"])
    };
    assert!(server.learn("api", Outcome::Found(partial), MINUTE));
    assert_eq!(addresses(&server), ["10.0.0.2:80", "[fd00::1]:80"]);
    assert!(server.learn("api", found(&["10.0.0.2"]), MINUTE));
    assert_eq!(addresses(&server), ["10.0.0.2:80"]);
}

#[test]
fn waits() {
    let mut server = server();
    let waits: Vec<u64> = (0..10)
        .map(|_| {
            server.learn("api", failed(), MINUTE);
            named(&server).wait(MINUTE).as_secs()
        })
        .collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    server.learn("api", found(&["10.0.0.1"]), MINUTE);
    for (interval, wait) in [
        (MINUTE, 7 * SECOND),
        (SECOND, SECOND),
        (Duration::ZERO, SHORTEST),
        (Duration::MAX, 7 * SECOND),
    ] {
        assert_eq!(named(&server).wait(interval), wait, "{interval:?}");
    }
    let Kind::Named(state) = &mut server.kind else {
        panic!("not a name");
    };
    state.failures = u32::MAX;
    assert_eq!(state.wait(Duration::MAX), FIRST_RETRY * (1 << 16));
    state.failures = 0;
    state.ttl = Duration::ZERO;
    assert_eq!(state.wait(MINUTE), SHORTEST);
    for _ in 0..1000 {
        assert!((0.9..=1.0).contains(&(jittered(MINUTE).as_secs_f64() / 60.0)));
    }
}

#[test]
fn a_name_is_due_after_its_time_and_not_while_it_is_asked() {
    let mut server = server();
    assert!(server.due().is_some_and(|due| due <= Instant::now()));
    server.asked();
    assert_eq!(server.due(), None);
    let before = Instant::now();
    server.learn("api", found(&["10.0.0.1"]), MINUTE);
    let due = server.due().expect("a time");
    assert!(due >= before + 6 * SECOND && due <= Instant::now() + 7 * SECOND);
}

#[test]
fn an_address_is_never_looked_up() {
    let target = |host: &str| Target::Host {
        host: host.into(),
        port: 5000,
    };
    for (host, expected) in [("127.0.0.1", "127.0.0.1:5000"), ("::1", "[::1]:5000")] {
        let mut server = Server::new(1, entry(target(host), 2), &[], Instant::now());
        assert_eq!(server.due(), None);
        assert!(!server.learn("api", Outcome::Absent, MINUTE));
        let members: Vec<Member> = server.members().collect();
        assert_eq!(members.len(), 1);
        assert_eq!((&*members[0].server, members[0].weight), (expected, 2));
    }
    let zero = Server::new(1, entry(target("0.0.0.0"), 1), &[], Instant::now());
    assert_eq!(zero.members().count(), 0);
}

#[test]
fn what_the_pool_knows_is_kept_after_a_reload() {
    let service = entry(Target::Srv("_http._tcp.app".into()), 2);
    let pool = Pool::new("api".into(), Settings::default());
    let member = |server: &str, last, weight| Member::new(server, SocketAddr::from(([10, 0, 0, last], 80)), weight);
    pool.update(vec![
        member("app:80", 1, 4),
        member("srv:_http._tcp.app", 2, 6),
        member("other:80", 3, 1),
    ]);
    let known = pool.endpoints();
    let host = Server::new(1, entry(name().target, 3), &known, Instant::now());
    assert_eq!(host.members().collect::<Vec<_>>(), [member("app:80", 1, 3)]);
    let service = Server::new(1, service, &known, Instant::now());
    assert_eq!(
        service.members().collect::<Vec<_>>(),
        [member("srv:_http._tcp.app", 2, 6)]
    );
}
