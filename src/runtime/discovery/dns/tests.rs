//! Tests of the module above, with a name server that writes its own messages.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use tempfile::TempDir;

use super::*;

#[path = "../../../../tests/it/support/dns.rs"]
mod support;

use support::{A, AAAA, Data, Fault, NXDOMAIN, NameServer, SERVFAIL, SRV};

const MINUTE: Duration = Duration::from_secs(60);

fn settings(servers: &[&NameServer]) -> Dns {
    Dns {
        servers: servers.iter().map(|server| server.address).collect(),
        timeout: Duration::from_secs(2),
        attempts: 1,
        min_ttl: Duration::from_secs(1),
        max_ttl: MINUTE,
    }
}

/// Where a machine says nothing about names.
fn bare() -> (TempDir, Paths) {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths {
        resolv_conf: directory.path().join("resolv.conf"),
        hosts: directory.path().join("hosts"),
    };
    (directory, paths)
}

fn resolver(servers: &[&NameServer]) -> Resolver {
    Resolver::with_paths(settings(servers), bare().1)
}

fn host(name: &str) -> Target {
    Target::Host {
        host: name.into(),
        port: 80,
    }
}

fn srv(name: &str) -> Target {
    Target::Srv(name.into())
}

fn found(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Found(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// Address and weight of each server, sorted.
fn servers(answer: &Answer) -> Vec<(String, u32)> {
    let mut servers: Vec<_> = answer
        .servers
        .iter()
        .map(|one| (one.address.to_string(), one.weight))
        .collect();
    servers.sort();
    servers
}

fn at(addresses: &[&str]) -> Vec<(String, u32)> {
    addresses.iter().map(|address| ((*address).to_owned(), 1)).collect()
}

#[tokio::test]
async fn an_answer_has_every_address_and_its_time() {
    let dns = NameServer::start().await;
    dns.addresses("app.test", 7, &["127.0.0.2", "127.0.0.1"]);
    dns.addresses("short.test", 0, &["127.0.0.1"]);
    dns.addresses("long.test", 86400, &["127.0.0.1"]);
    let resolver = resolver(&[&dns]);
    let answer = found(resolver.look_up(&host("app.test")).await);
    assert_eq!(servers(&answer), at(&["127.0.0.1:80", "127.0.0.2:80"]));
    assert_eq!((answer.ttl, answer.unsure), (Duration::from_secs(7), Vec::new()));
    assert_eq!((dns.asked("app.test", A), dns.asked("app.test", AAAA)), (1, 1));
    resolver.look_up(&host("app.test")).await;
    assert_eq!(dns.asked("app.test", A), 2, "nothing is kept here");
    for (name, ttl) in [("short.test", Duration::from_secs(1)), ("long.test", MINUTE)] {
        assert_eq!(found(resolver.look_up(&host(name)).await).ttl, ttl, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_comes_over_tcp() {
    let dns = NameServer::start().await;
    let many: Vec<Data> = (1..=200)
        .map(|last| Data::Ip(Ipv4Addr::new(127, 0, 0, last).into()))
        .collect();
    dns.set("app.test", 7, &many);
    dns.truncates(true);
    let answer = found(resolver(&[&dns]).look_up(&host("app.test")).await);
    assert_eq!(answer.servers.len(), 200);
    assert_eq!(dns.over_tcp(), 2, "both families");
}

#[tokio::test]
async fn aliases_are_followed() {
    let dns = NameServer::start().await;
    dns.set("www.test", 3, &[Data::Cname("app.test")]);
    dns.addresses("app.test", 7, &["127.0.0.1", "::1"]);
    dns.set("loop.test", 3, &[Data::Cname("loop.test")]);
    let resolver = resolver(&[&dns]);
    let answer = found(resolver.look_up(&host("www.test")).await);
    assert!(servers(&answer).contains(&("127.0.0.1:80".to_owned(), 1)));
    assert_eq!(answer.ttl, Duration::from_secs(3), "an alias has a time of its own");
    let outcome = resolver.look_up(&host("loop.test")).await;
    assert!(!matches!(outcome, Outcome::Found(_)), "{outcome:?}");
}

#[tokio::test]
async fn not_there_is_told_from_not_known() {
    let dns = NameServer::start().await;
    dns.set("empty.test", 7, &[]);
    let resolver = resolver(&[&dns]);
    dns.addresses("gone.test", 7, &["127.0.0.1"]);
    dns.remove("gone.test");
    for name in ["nowhere.test", "empty.test", "gone.test"] {
        assert_eq!(resolver.look_up(&host(name)).await, Outcome::Absent, "{name}");
    }
    for fault in [
        Fault::Silent,
        Fault::Code(SERVFAIL),
        Fault::Code(5),
        Fault::Code(4),
        Fault::Code(11),
    ] {
        dns.fails(Some(fault));
        let outcome = resolver.look_up(&host("nowhere.test")).await;
        let Outcome::Failed(why) = outcome else {
            panic!("{fault:?}: {outcome:?}");
        };
        assert!(why.contains(&dns.address.to_string()), "{why}");
    }
}

#[tokio::test]
async fn a_family_that_fails_does_not_take_the_other_one_with_it() {
    let dns = NameServer::start().await;
    for (name, fault) in [("silent.test", Fault::Silent), ("failing.test", Fault::Code(SERVFAIL))] {
        dns.addresses(name, 7, &["127.0.0.1"]);
        dns.fails_for(name, AAAA, fault);
        let answer = found(resolver(&[&dns]).look_up(&host(name)).await);
        assert_eq!(servers(&answer), at(&["127.0.0.1:80"]));
        assert_eq!(answer.unsure, [(name.into(), Family::V6)]);
    }
    dns.addresses("broken.test", 7, &["127.0.0.1"]);
    dns.fails_for("broken.test", AAAA, Fault::Code(NXDOMAIN));
    let answer = found(resolver(&[&dns]).look_up(&host("broken.test")).await);
    assert_eq!((servers(&answer), answer.unsure), (at(&["127.0.0.1:80"]), Vec::new()));
    dns.fails_for("missing.test", A, Fault::Code(SERVFAIL));
    let outcome = resolver(&[&dns]).look_up(&host("missing.test")).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}

#[tokio::test]
async fn name_servers_are_asked_in_their_order() {
    let (first, second) = (NameServer::start().await, NameServer::start().await);
    second.addresses("app.test", 7, &["127.0.0.2"]);
    let resolver = resolver(&[&first, &second]);
    assert_eq!(
        resolver.look_up(&host("app.test")).await,
        Outcome::Absent,
        "the first one knows"
    );
    assert_eq!(second.asked("app.test", A), 0);
    for fault in [Fault::Silent, Fault::Code(SERVFAIL)] {
        first.fails(Some(fault));
        let answer = found(resolver.look_up(&host("app.test")).await);
        assert_eq!(servers(&answer), at(&["127.0.0.2:80"]), "{fault:?}");
    }
}

#[tokio::test]
async fn an_attempt_that_fails_is_made_again() {
    let dns = NameServer::start().await;
    dns.fails(Some(Fault::Code(SERVFAIL)));
    let settings = Dns {
        attempts: 3,
        ..settings(&[&dns])
    };
    Resolver::with_paths(settings, bare().1)
        .look_up(&host("app.test"))
        .await;
    assert_eq!(dns.asked("app.test", A), 3);
}

#[tokio::test]
async fn services_have_ports_and_weights_and_only_the_first_priority() {
    let target = |priority, weight, port, target| Data::Srv {
        priority,
        weight,
        port,
        target,
    };
    for glue in [true, false] {
        let dns = NameServer::start().await;
        dns.adds_glue(glue);
        let records = [
            target(10, 60, 5001, "one.test"),
            target(10, 0, 5002, "two.test"),
            target(10, 5, 5003, "one.test"),
            target(20, 1, 5004, "spare.test"),
            target(10, 1, 0, "one.test"),
            target(10, 1, 5005, "nowhere.test"),
        ];
        dns.set("_http._tcp.app.test", 9, &records);
        dns.addresses("one.test", 7, &["127.0.0.1"]);
        dns.addresses("two.test", 7, &["127.0.0.2", "127.0.0.3"]);
        dns.addresses("spare.test", 7, &["127.0.0.4"]);
        let answer = found(resolver(&[&dns]).look_up(&srv("_http._tcp.app.test")).await);
        let expected = [
            ("127.0.0.1:5001", 60),
            ("127.0.0.1:5003", 5),
            ("127.0.0.2:5002", 1),
            ("127.0.0.3:5002", 1),
        ];
        assert_eq!(
            servers(&answer),
            expected.map(|(address, weight)| (address.to_owned(), weight))
        );
        assert_eq!(answer.ttl, Duration::from_secs(if glue { 9 } else { 7 }));
        assert_eq!(
            dns.asked("one.test", A),
            usize::from(!glue),
            "once, and only where it is needed"
        );
        assert_eq!(dns.asked("spare.test", A), 0);
    }
}

#[tokio::test]
async fn services_that_are_not_there_or_not_known() {
    let dns = NameServer::start().await;
    let target = |target| Data::Srv {
        priority: 0,
        weight: 1,
        port: 80,
        target,
    };
    let resolver = resolver(&[&dns]);
    let service = srv("_http._tcp.app.test");
    assert_eq!(resolver.look_up(&service).await, Outcome::Absent);
    dns.set("_http._tcp.app.test", 9, &[target(".")]);
    assert_eq!(
        resolver.look_up(&service).await,
        Outcome::Absent,
        "RFC 2782: decidedly not available"
    );
    dns.set("_http._tcp.app.test", 9, &[target("one.test"), target("two.test")]);
    assert_eq!(resolver.look_up(&service).await, Outcome::Absent, "no target exists");
    dns.addresses("one.test", 9, &["127.0.0.1"]);
    dns.fails_for("two.test", A, Fault::Code(SERVFAIL));
    let answer = found(resolver.look_up(&service).await);
    assert_eq!(servers(&answer), at(&["127.0.0.1:80"]));
    assert_eq!(answer.unsure, Family::BOTH.map(|family| ("two.test.".into(), family)));
    dns.fails_for("_http._tcp.app.test", SRV, Fault::Silent);
    let outcome = resolver.look_up(&service).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_read_again() {
    let dns = NameServer::start().await;
    dns.addresses("app.test", 7, &["127.0.0.9"]);
    let (_directory, paths) = bare();
    fs::write(&paths.hosts, "127.0.0.1 app.test\n").unwrap();
    let resolver = Resolver::with_paths(settings(&[&dns]), paths.clone());
    let answer = found(resolver.look_up(&host("app.test")).await);
    assert_eq!(servers(&answer), at(&["127.0.0.1:80"]));
    assert_eq!(dns.asked("app.test", A), 0);
    fs::write(&paths.hosts, "127.0.0.22 app.test\n").unwrap();
    let deadline = Instant::now() + MINUTE;
    while servers(&found(resolver.look_up(&host("app.test")).await)) != at(&["127.0.0.22:80"]) {
        assert!(Instant::now() < deadline, "the hosts file is not read again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn localhost_needs_nobody() {
    let resolver = Resolver::with_paths(settings(&[]), bare().1);
    let answer = found(resolver.look_up(&host("localhost")).await);
    assert!(answer.servers.iter().all(|one| one.address.ip().is_loopback()));
    assert!(answer.servers.iter().any(|one| one.address.is_ipv4()));
}

#[tokio::test]
async fn a_resolv_conf_that_is_written_again_is_read_again() {
    // Its servers have port 53, which a test cannot have: what is read is looked at.
    let (_directory, paths) = bare();
    let resolver = Resolver::with_paths(settings(&[]), paths.clone());
    assert_eq!(
        resolver.view().await.system.conf.servers,
        [IpAddr::from(Ipv4Addr::LOCALHOST)]
    );
    fs::write(&paths.resolv_conf, "nameserver 127.0.0.11\n").unwrap();
    let deadline = Instant::now() + MINUTE;
    while resolver.view().await.system.conf.servers != [IpAddr::from([127, 0, 0, 11])] {
        assert!(Instant::now() < deadline, "resolv.conf is not read again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        Arc::ptr_eq(&resolver.view().await, &resolver.view().await),
        "and only then"
    );
}

#[test]
fn search_lists() {
    let (_directory, paths) = bare();
    fs::write(&paths.resolv_conf, "search a.test b.test\noptions ndots:2\n").unwrap();
    let conf = paths.read().conf;
    let table: [(&str, &[&str]); 5] = [
        ("app", &["app.a.test.", "app.b.test.", "app."]),
        ("app.ns", &["app.ns.a.test.", "app.ns.b.test.", "app.ns."]),
        (
            "app.ns.svc",
            &["app.ns.svc.", "app.ns.svc.a.test.", "app.ns.svc.b.test."],
        ),
        ("app.", &["app."]),
        ("a..b", &[]),
    ];
    for (host, expected) in table {
        let names: Vec<String> = candidates(host, Some(&conf)).iter().map(Name::to_ascii).collect();
        assert_eq!(names, expected, "{host}");
    }
    assert_eq!(candidates("app", None).len(), 1);
}
