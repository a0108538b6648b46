//! What the keys of a file become: the model that the runtime compiles.

use std::time::Duration;

use deals247_gateway::config;
use deals247_gateway::config::model::{
    Balance, Config, HashKey, Priority, Probing, Protocol, RedisServers, SameSite, Target,
};
use deals247_gateway::limit::{Announce, Count, Missing, Mode, OnStoreError, Source};

use super::{env, parse, root};

const ROUTE: &str = "\n[[route]]\nname = \"app\"\npath = \"/*\"\nupstream = \"app\"\n";
const SERVERS: &str = "servers = [\"127.0.0.1:3000\"]";

/// The model of a file with these tables, an upstream with these keys, and a route with these.
fn model(tables: &str, upstream: &str, route: &str) -> Config {
    let text = format!("{tables}\n[upstream.app]\n{upstream}\n{ROUTE}{route}\n");
    parse(&text).unwrap_or_else(|report| panic!("{text}\n{report}")).config
}

fn upstream(keys: &str) -> config::model::Upstream {
    model("", &format!("{SERVERS}\n{keys}"), "").upstreams.remove(0)
}

fn limit(keys: &str) -> config::model::RateLimit {
    model(
        &format!("[rate_limit.api]\n{keys}\n"),
        SERVERS,
        "rate_limit = [\"api\"]",
    )
    .rate_limits
    .remove(0)
}

/// The places of the limits of a route.
fn places(route: &config::model::Route) -> Vec<usize> {
    route.rate_limits.iter().map(|used| used.limit).collect()
}

#[test]
fn an_upstream_without_keys_is_safe() {
    let plain = upstream("");
    assert_eq!(plain.balance, Balance::PeakEwma);
    assert_eq!(plain.protocol, Protocol::Http1);
    assert_eq!((plain.queue.size, plain.queue.timeout), (100, Duration::from_secs(1)));
    assert_eq!((plain.slow_start, plain.panic_threshold), (Duration::ZERO, 0.5));
    let outlier = plain.outlier.expect("on by default");
    assert_eq!((outlier.failures, outlier.success_rate), (5, true));
    assert_eq!((outlier.base_time, outlier.max_ejected), (Duration::from_secs(30), 0.5));
    assert_eq!((plain.retry.attempts, plain.retry.min_per_second), (2, 10));
    assert!(plain.retry.on.connect && plain.retry.on.reset && !plain.retry.on.timeout);
    assert_eq!(plain.retry.on.statuses, [502, 503, 504]);
    assert!(
        !plain
            .retry
            .methods
            .iter()
            .any(|method| method == "POST" || method == "PATCH")
    );
    assert_eq!(plain.retry.budget, 0.2);
    let switched_on = [
        plain.tls.is_some(),
        plain.sticky.is_some(),
        plain.health_check.is_some(),
        plain.hedge.is_some(),
        plain.breaker.is_some(),
        plain.adaptive_limit,
    ];
    assert_eq!(switched_on, [false; 6]);
    assert!(upstream("outlier = false").outlier.is_none());

    let config = model("", SERVERS, "");
    assert!(config.dns.servers.is_empty() && config.redis.is_none());
    assert_eq!((config.dns.attempts, config.dns.max_ttl), (2, Duration::from_secs(300)));
    let route = &config.routes[0];
    assert!(route.rate_limits.is_empty() && route.concurrency.is_none());
    assert_eq!(route.priority, Priority::Normal);
}

#[test]
fn servers_are_of_every_kind() {
    let keys = r#"servers = ["API:80", "unix:/run/a.sock", "srv:_http._tcp.API",
        { address = "[::1]:5000", weight = 4, backup = true, max_requests = 9 }]
        servers_file = "faults/servers.txt""#;
    let upstream = model("", keys, "").upstreams.remove(0);
    let shown: Vec<String> = upstream.servers.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["api:80", "unix:/run/a.sock", "srv:_http._tcp.api", "[::1]:5000"]
    );
    let last = &upstream.servers[3];
    assert_eq!((last.weight, last.backup, last.max_requests), (4, true, Some(9)));
    assert_eq!(upstream.servers[0].target.name(), Some("api"));
    assert_eq!(last.target.name(), None);

    let file = upstream.servers_file.expect("file");
    assert!(file.is_absolute());
    let servers = config::servers_file(&file).expect("servers");
    assert_eq!(servers.len(), 3);
    assert_eq!((servers[1].weight, servers[1].max_requests), (2, Some(50)));
    assert_eq!(servers[2].target, Target::Unix("/run/app.sock".into()));
    assert!(servers[2].backup);

    let alone = model("", "servers_file = \"faults/servers.txt\"", "")
        .upstreams
        .remove(0);
    assert!(alone.servers.is_empty() && alone.servers_file.is_some());
}

#[test]
fn ways_of_choosing_a_server() {
    let hashed = |key, bounded_load| Balance::ConsistentHash { key, bounded_load };
    for (keys, balance) in [
        ("balance = \"least-requests\"", Balance::LeastRequests),
        ("balance = \"round-robin\"", Balance::RoundRobin),
        ("balance = \"random\"", Balance::Random),
        ("balance = \"consistent-hash\"", hashed(HashKey::ClientIp, Some(1.25))),
        (
            "balance = \"consistent-hash\"\nhash = \"cookie:sid\"\nbounded_load = false",
            hashed(HashKey::Cookie("sid".into()), None),
        ),
        (
            "balance = \"consistent-hash\"\nhash = \"header:X-User\"\nbounded_load = \"200%\"",
            hashed(HashKey::Header("x-user".parse().expect("name")), Some(2.0)),
        ),
    ] {
        assert_eq!(upstream(keys).balance, balance, "{keys}");
    }
    let secret = "0123456789abcdef0123456789abcdef";
    let upstream = upstream(&format!("sticky = {{ secret = \"{secret}\", same_site = \"strict\" }}"));
    assert!(!format!("{upstream:?}").contains(secret));
    let sticky = upstream.sticky.expect("sticky");
    assert_eq!(
        (&*sticky.cookie, sticky.ttl),
        ("gateway_server", Duration::from_secs(86_400))
    );
    assert_eq!((sticky.secret.expose(), sticky.same_site), (secret, SameSite::Strict));
}

#[test]
fn health_checks() {
    let check = |keys: &str| {
        upstream(&format!("health_check = {{ {keys} }}"))
            .health_check
            .expect("check")
    };
    let plain = check("interval = \"7s\"");
    assert_eq!(plain.unhealthy_interval, Duration::from_secs(7));
    let Probing::Http(http) = plain.probing else {
        panic!("HTTP by default")
    };
    assert_eq!((http.method.as_str(), &*http.path, http.body), ("GET", "/", None));
    let accepted = |check: &config::model::HealthCheck| match &check.probing {
        Probing::Http(http) => [199, 200, 204, 304, 399, 400, 404, 503].map(|status| http.accepts(status)),
        Probing::Tcp | Probing::Grpc { .. } => panic!("HTTP"),
    };
    for (status, accepts) in [
        ("status = 204", [false, false, true, false, false, false, false, false]),
        (
            "status = \"2xx\"",
            [false, true, true, false, false, false, false, false],
        ),
        (
            "status = [\"4xx\", 200]",
            [false, true, false, false, false, true, true, false],
        ),
        ("", [false, true, true, true, true, false, false, false]),
    ] {
        assert_eq!(accepted(&check(status)), accepts, "{status}");
    }
    assert!(matches!(check("protocol = \"tcp\", port = 8080").probing, Probing::Tcp));
    let Probing::Grpc { service, host } = check("protocol = \"grpc\", service = \"a.B\", host = \"h\"").probing else {
        panic!("gRPC")
    };
    assert_eq!((&*service, host.expect("host").as_bytes()), ("a.B", &b"h"[..]));
}

#[test]
fn tls_has_a_name_to_verify() {
    let tls = |keys: &str| model("", keys, "").upstreams.remove(0);
    for (keys, name) in [
        ("servers = [\"api:443\"]\ntls = true", None),
        ("servers = [\"srv:_https._tcp.api\"]\ntls = true", None),
        (
            "servers = [\"10.0.0.5:443\"]\nhost = \"API.example:8443\"\ntls = true",
            Some("api.example"),
        ),
        (
            "servers = [\"10.0.0.5:443\"]\nhost = \"x\"\ntls = { sni = \"Api.example\" }",
            Some("api.example"),
        ),
    ] {
        let found = tls(keys).tls.expect("TLS");
        assert_eq!((found.sni.as_deref(), found.verify), (name, true), "{keys}");
    }
    // A host that is an address is no name either, and neither is a socket or a server in a file.
    for keys in [
        "servers = [\"10.0.0.5:443\"]\nhost = \"10.0.0.5\"\ntls = true",
        "servers = [\"unix:/run/a.sock\"]\ntls = {}",
        "servers = [\"api:443\"]\nservers_file = \"faults/servers.txt\"\ntls = true",
        "servers = [\"api:443\", \"[::1]:443\"]\nhealth_check = { tls = true }",
    ] {
        let report = parse(&format!("[upstream.app]\n{keys}\n{ROUTE}")).expect_err(keys);
        assert_eq!(report.errors(), 1, "{keys}\n{report}");
        assert!(
            report.to_string().contains("has no name that its certificate"),
            "{report}"
        );
    }
    let probe = |keys: &str| tls(keys).health_check.expect("check").tls;
    assert!(probe("servers = [\"api:443\"]\ntls = true\nhealth_check = {}").is_some());
    assert!(probe("servers = [\"api:443\"]\ntls = true\nhealth_check = { tls = false }").is_none());
    assert!(probe("servers = [\"api:80\"]\nhealth_check = { tls = true }").is_some());
    assert!(probe("servers = [\"api:80\"]\nhealth_check = {}").is_none());
    let files = tls(
        "servers = [\"api:443\"]\nprotocol = \"h2\"\ntls = { ca = \"mod.rs\", cert = \"model.rs\", key = \"robust.rs\" }",
    );
    let certificate = files
        .tls
        .as_ref()
        .and_then(|tls| tls.certificate.clone())
        .expect("certificate");
    assert_eq!(certificate.key, root().join("tests/it/config/robust.rs"));
    assert_eq!(files.protocol, Protocol::H2);
}

#[test]
fn buckets_hold_what_may_come_at_once() {
    let ms = Duration::from_millis;
    for (keys, units, period) in [
        ("rate = \"5/min\"", 5, ms(12_000)),
        ("rate = \"100/s\"\nburst = 60", 61, ms(10)),
        ("rate = \"1/s\"\nburst = 0", 1, ms(1000)),
        ("rate = \"1000/h\"", 1000, ms(3600)),
        ("rate = \"1/d\"\nburst = 364", 365, ms(86_400_000)),
        ("rate = \"1000000000/s\"", 1_000_000_000, Duration::from_nanos(1)),
    ] {
        let limit = limit(keys);
        assert_eq!((limit.capacity_units, limit.period), (units, period), "{keys}");
    }
    let plain = limit("rate = \"10/s\"");
    assert_eq!(plain.key, [Source::ClientIp]);
    assert_eq!((plain.cost, plain.delay_after, plain.max_delay), (1, None, ms(5000)));
    assert_eq!((plain.count, plain.missing), (Count::All, Missing::ClientIp));
    assert_eq!((plain.headers, plain.mode), (Announce::Draft10, Mode::Enforce));
    assert_eq!(
        (plain.on_store_error, plain.exact, plain.strict),
        (OnStoreError::Local, false, false)
    );
    assert_eq!((plain.ipv6_prefix, plain.capacity), (64, 1_000_000));
    assert!(plain.exempt.is_none());

    let limit = limit(
        r#"rate = "10/s"
        burst = 20
        delay = 20
        max_delay = "1s"
        cost = 21
        missing = "deny"
        allow = ["10.0.0.0/8"]
        headers = "none"
        key = ["route", "host", "header:X-A", "cookie:c", "query:q", "jwt:sub"]"#,
    );
    assert_eq!(
        (limit.delay_after, limit.max_delay, limit.cost),
        (Some(20), ms(1000), 21)
    );
    assert_eq!(
        limit.key,
        [
            Source::Route,
            Source::Host,
            Source::Header("x-a".parse().expect("name")),
            Source::Cookie("c".into()),
            Source::Query("q".into()),
            Source::Claim("sub".into()),
        ]
    );
    let exempt = limit.exempt.expect("networks");
    assert!(exempt.admits("10.1.2.3".parse().expect("address")));
}

#[test]
fn costs_are_the_limits_or_the_routes() {
    let limit = limit("rate = \"10/s\"\nmethod_costs = { POST = 5, HEAD = 0 }\ncost_header = \"X-Cost\"");
    assert_eq!(limit.method_costs, [(http::Method::POST, 5), (http::Method::HEAD, 0)]);
    assert_eq!(limit.cost_header, Some(http::HeaderName::from_static("x-cost")));
    let tables = "[rate_limit.a]\nrate = \"9/s\"\n[rate_limit.b]\nrate = \"9/s\"\n";
    let route = model(tables, SERVERS, "rate_limit = [{ name = \"b\", cost = 7 }, \"a\"]")
        .routes
        .remove(0);
    let uses: Vec<_> = route.rate_limits.iter().map(|used| (used.limit, used.cost)).collect();
    assert_eq!(uses, [(1, Some(7)), (0, None)]);
}

#[test]
fn bans_and_the_rate_of_connections() {
    let ban = limit("rate = \"1/s\"\nban = { after = 100, within = \"1min\", for = \"10min\" }").ban;
    let ban = ban.expect("a ban");
    assert_eq!(
        (ban.after, ban.within, ban.duration),
        (100, Duration::from_secs(60), Duration::from_secs(600))
    );
    let server = model("[server]\nconnection_rate_per_client = \"20/s\"\n", SERVERS, "").server;
    assert_eq!(server.connection_rate_per_client.map(|rate| rate.count), Some(20));
    assert!(model("", SERVERS, "").server.connection_rate_per_client.is_none());
}

#[test]
fn routes_replace_the_defaults() {
    let tables = "[rate_limit.a]\nrate = \"1/s\"\n[rate_limit.b]\nrate = \"2/s\"\n\
                  [defaults]\nrate_limit = [\"b\", \"a\"]\nconcurrency = 7\npriority = \"low\"\n";
    let route = |keys: &str| model(tables, SERVERS, keys).routes.remove(0);
    let inherited = route("");
    assert_eq!((places(&inherited), inherited.priority), (vec![1, 0], Priority::Low));
    let short = inherited.concurrency.expect("limit");
    // Both ways to write it mean the same.
    assert_eq!(route("concurrency = { limit = 7 }").concurrency, Some(short));
    assert_eq!(
        (short.limit, short.queue, short.wait),
        (7, 100, Duration::from_millis(500))
    );
    let own = route("rate_limit = [\"a\"]\nconcurrency = false\npriority = \"high\"");
    assert_eq!(
        (places(&own), own.concurrency, own.priority),
        (vec![0], None, Priority::High)
    );
    assert!(Priority::High > Priority::Normal && Priority::Normal > Priority::Low);
}

#[test]
fn redis_is_one_server_or_several() {
    let redis = |keys: &str| model(&format!("[redis]\n{keys}\n"), SERVERS, "").redis.expect("redis");
    let single = redis("url = [\"rediss://u:pa55@redis/2\"]\nprefix = \"\"");
    assert!(matches!(&single.servers, RedisServers::Single(url) if url.expose() == "rediss://u:pa55@redis/2"));
    assert_eq!(
        (&*single.prefix, single.connections, single.timeout),
        ("", 1, Duration::from_millis(20))
    );
    assert!(!format!("{single:?}").contains("pa55"), "{single:?}");

    let cluster = redis("url = [\"redis://a\", \"redis://b/0\"]\nusername = \"u\"\npassword = \"pa55\"");
    assert!(matches!(&cluster.servers, RedisServers::Cluster(urls) if urls.len() == 2));
    assert_eq!(
        cluster.password.as_ref().map(|password| password.expose()),
        Some("pa55")
    );
    assert!(!format!("{cluster:?}").contains("pa55"), "{cluster:?}");

    let sentinel = redis("sentinel = { master = \"mymaster\", urls = \"redis://a:26379\" }");
    assert!(
        matches!(&sentinel.servers, RedisServers::Sentinel { master, urls } if &**master == "mymaster" && urls.len() == 1)
    );
}

#[test]
fn secrets_of_cookies_stand_in_files_too() {
    let dir = tempfile::tempdir().expect("directory");
    std::fs::write(dir.path().join("key"), "0123456789abcdef0123456789abcdef\n").expect("file");
    let text = format!("[upstream.app]\n{SERVERS}\nsticky = {{ secret = {{ file = \"key\" }} }}\n{ROUTE}");
    let loaded = config::parse("gateway.toml", &text, dir.path(), &env).unwrap_or_else(|report| panic!("{report}"));
    let sticky = loaded.config.upstreams[0].sticky.as_ref().expect("sticky");
    assert_eq!(sticky.secret.expose().len(), 32);
    std::fs::write(dir.path().join("key"), "short\n").expect("file");
    assert!(config::parse("gateway.toml", &text, dir.path(), &env).is_err());
}
