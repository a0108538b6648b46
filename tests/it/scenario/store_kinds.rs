//! Redis in its other shapes: over TLS, found by a sentinel, as a Cluster.

use crate::support::client;
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::port;
use crate::support::redis::Redis;
use crate::support::tls::Authority;

async fn start(redis: &str, tables: &str, names: &str) -> Running {
    gateway::start(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\n[redis]\ntimeout = \"2s\"\n{redis}\n{tables}\n[[route]]\nname = \"all\"\npath = \"/*\"\n\
         rate_limit = [{names}]\nrespond = {{ body = \"ok\" }}\n"
    ))
    .await
}

async fn get(gateway: &Running, client: &str, key: &str) -> u16 {
    let fields = format!("X-Forwarded-For: {client}\r\nX-Key: {key}\r\n");
    client::get(gateway.address, "/", &fields).await.status
}

async fn is_shared(gateway: &Running) {
    eventually("the store is in use", async || {
        gateway.metric("gateway_limiter_degraded").await == 0.0
    })
    .await;
}

const FIVE: &str = "[rate_limit.five]\nrate = \"5/d\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_whose_certificate_is_verified() {
    let authority = Authority::new();
    let (cert, key) = authority.site("redis", &["localhost"]);
    let port = port::free().port().to_string();
    let text = |path: &std::path::Path| path.to_str().expect("path").to_owned();
    let (cert, key, ca) = (text(&cert), text(&key), text(&authority.file()));
    let options = [
        ["--tls-port", &port],
        ["--tls-cert-file", &cert],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &ca],
        ["--tls-auth-clients", "yes"],
    ];
    let redis = Redis::start_with("", options.as_flattened()).await;
    let (own, own_key) = authority.client();
    let table = format!(
        "url = \"rediss://localhost:{port}\"\ntls = {{ ca = {ca:?}, cert = {:?}, key = {:?} }}",
        text(&own),
        text(&own_key)
    );
    let gateways = [
        start(&table, FIVE, "\"five\"").await,
        start(&table, FIVE, "\"five\"").await,
    ];
    let mut passed = 0;
    for index in 0..12 {
        is_shared(&gateways[index % 2]).await;
        passed += usize::from(get(&gateways[index % 2], "192.0.2.1", "").await == 200);
    }
    assert_eq!(passed, 5);
    redis.knows_gateways(2).await;

    // Somebody else's authority is not believed.
    let other = Authority::new();
    let table = format!(
        "url = \"rediss://localhost:{port}\"\ntls = {{ ca = {:?}, cert = {:?}, key = {:?} }}",
        text(&other.file()),
        text(&own),
        text(&own_key)
    );
    let gateway = start(&table, FIVE, "\"five\"").await;
    assert_eq!(get(&gateway, "192.0.2.1", "").await, 200, "it counts by itself");
    let ready = client::admin(gateway.admin, "/readyz").await.json();
    let reason = ready["redis"]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("TLS"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_says_where_the_master_is() {
    let mut master = Redis::start().await;
    let replica = Redis::start_with("", &["--replicaof", &format!("127.0.0.1 {}", master.port)]).await;
    eventually("the replica follows", async || {
        replica
            .ask::<String>(&["INFO", "replication"])
            .await
            .contains("master_link_status:up")
    })
    .await;
    let sentinel = Redis::start_with(
        "",
        &[
            "--sentinel",
            &format!("sentinel monitor limits 127.0.0.1 {} 1", master.port),
            "sentinel down-after-milliseconds limits 500",
            "sentinel failover-timeout limits 3000",
        ],
    )
    .await;
    eventually("the sentinel knows the replica", async || {
        sentinel.ask::<String>(&["INFO", "sentinel"]).await.contains("slaves=1")
    })
    .await;
    let table = format!(
        "sentinel = {{ master = \"limits\", urls = [\"redis://127.0.0.1:{}\", \"redis://127.0.0.1:{}\"] }}",
        port::free().port(),
        sentinel.port
    );
    let gateway = start(&table, FIVE, "\"five\"").await;
    is_shared(&gateway).await;
    assert_eq!(get(&gateway, "192.0.2.1", "").await, 200);
    master.knows_gateways(1).await;

    master.kill().await;
    eventually("the replica is the master", async || {
        let status = get(&gateway, "192.0.2.2", "").await;
        assert!(matches!(status, 200 | 429), "{status}");
        // Sentinel closes the connections of whom it promotes, this one too.
        let role = replica.try_ask::<String>(&["INFO", "replication"]).await;
        role.is_ok_and(|role| role.contains("role:master"))
    })
    .await;
    let stored = "gateway_limiter_decisions_total{policy=\"five\",source=\"store\"}";
    let before = gateway.metric(stored).await;
    eventually("the new master decides", async || {
        get(&gateway, "192.0.2.3", "").await;
        gateway.metric(stored).await > before
    })
    .await;
    replica.knows_gateways(1).await;
}

/// Three masters, each with a third of the slots.
pub(super) async fn cluster() -> Vec<Redis> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let bus = port::free().port().to_string();
        nodes.push((
            Redis::start_with("", &["--cluster-enabled", "yes", "--cluster-port", &bus]).await,
            bus,
        ));
    }
    for (index, (node, _)) in nodes.iter().enumerate() {
        let (from, to) = [("0", "5460"), ("5461", "10922"), ("10923", "16383")][index];
        node.ask::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])
            .await;
        node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", from, to]).await;
        let (first, bus) = &nodes[0];
        if index > 0 {
            node.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &first.port.to_string(), bus])
                .await;
        }
    }
    for (node, _) in &nodes {
        eventually("the Cluster is whole", async || {
            let info = node.ask::<String>(&["CLUSTER", "INFO"]).await;
            info.contains("cluster_state:ok") && info.contains("cluster_size:3")
        })
        .await;
    }
    nodes.into_iter().map(|(node, _)| node).collect()
}

pub(super) fn urls(nodes: &[Redis]) -> String {
    let urls: Vec<String> = nodes[..2].iter().map(|node| format!("{:?}", node.url())).collect();
    format!("url = [{}]", urls.join(", "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_has_the_keys_on_its_nodes() {
    let nodes = cluster().await;
    let tables = "[rate_limit.five]\nrate = \"5/d\"\n[rate_limit.hot]\nrate = \"100/s\"\nburst = 999";
    let mut gateways = Vec::new();
    for _ in 0..2 {
        gateways.push(start(&urls(&nodes), tables, "\"five\", \"hot\"").await);
    }
    for gateway in &gateways {
        is_shared(gateway).await;
    }
    for client in 0..30 {
        let mut passed = 0;
        for index in 0..8 {
            passed += usize::from(get(&gateways[index % 2], &format!("192.0.{client}.1"), "").await == 200);
        }
        assert_eq!(passed, 5, "{client}");
    }
    for node in &nodes {
        let keys: Vec<String> = node.ask(&["KEYS", "gw:{*"]).await;
        assert!(keys.len() > 2, "each has some of them: {keys:?}");
    }
    for gateway in &gateways {
        let local = "gateway_limiter_decisions_total{policy=\"five\",source=\"local\"}";
        assert_eq!(gateway.metric(local).await, 0.0);
        eventually("each knows of the other", async || {
            gateway.metric("gateway_limiter_gateways").await == 2.0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_on_several_nodes_are_all_charged_or_given_back() {
    let nodes = cluster().await;
    let tables = "[rate_limit.wide]\nrate = \"4/d\"\nkey = \"route\"\n[rate_limit.narrow]\nrate = \"1/d\"\nkey = \"header:X-Key\"";
    let gateway = start(&urls(&nodes), tables, "\"wide\", \"narrow\"").await;
    is_shared(&gateway).await;
    let settled = async || {
        for node in &nodes {
            for key in node.ask::<Vec<String>>(&["KEYS", "gw:{*"]).await {
                let out: Vec<Option<u64>> = node.ask(&["HMGET", &key, "o"]).await;
                if out != [Some(0)] && out != [None] {
                    return false;
                }
            }
        }
        true
    };
    for (key, status) in [
        ("a", 200),
        ("a", 429),
        ("a", 429),
        ("b", 200),
        ("b", 429),
        ("c", 200),
        ("d", 200),
        ("e", 429),
    ] {
        assert_eq!(get(&gateway, "192.0.2.1", key).await, status, "{key}");
        eventually("what was charged in vain is given back", settled).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_takes_only_its_keys_along() {
    let mut nodes = cluster().await;
    // The others go on serving their slots.
    for node in &nodes {
        node.ask::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"])
            .await;
    }
    let gateway = start(&urls(&nodes), FIVE, "\"five\"").await;
    is_shared(&gateway).await;
    nodes[2].kill().await;
    eventually("it is noticed", async || {
        gateway.metric("gateway_limiter_degraded").await == 1.0
    })
    .await;
    for client in 0..60 {
        let mut passed = 0;
        for _ in 0..7 {
            let status = get(&gateway, &format!("192.0.{client}.1"), "").await;
            assert!(matches!(status, 200 | 429), "{status}");
            passed += usize::from(status == 200);
        }
        assert_eq!(passed, 5, "{client}");
    }
    for source in ["store", "local"] {
        let decided = format!("gateway_limiter_decisions_total{{policy=\"five\",source=\"{source}\"}}");
        assert!(gateway.metric(&decided).await > 30.0, "{source}");
    }
    nodes[2].restart().await;
    is_shared(&gateway).await;
}
