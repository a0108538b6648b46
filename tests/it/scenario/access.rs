//! Who may use a route, and with what: refused before identity, limits and caches, in the house's manner.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::support::client;
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::Origin;

/// A gateway that believes this machine's `X-Forwarded-For`; `table`: what `[access.site]` says.
async fn with(origin: &Origin, server: &str, table: &str, more: &str) -> Running {
    gateway::start(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\n{server}\n[upstream.app]\nservers = [\"{}\"]\n[access.site]\n{table}\n\
         [defaults]\naccess = \"site\"\n{more}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await
}

/// A new file in the place of the one before, at once: half of a list would be a list, too.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("written");
    std::fs::rename(new, file).expect("renamed");
}

async fn from(gateway: &Running, client: &str, path: &str, fields: &str) -> client::Response {
    client::get(gateway.address, path, &format!("X-Forwarded-For: {client}\r\n{fields}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_from_a_large_file_that_changes() {
    let origin = Origin::fixed("hello").await;
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("deny.txt");
    // 100,000 networks: every second one of 10.x.y.z/31.
    let mut list = String::from("# bad neighbours\n");
    for number in 0..100_000u32 {
        let [a, b, c] = [(number >> 14) & 0xff, (number >> 6) & 0xff, (number << 2) & 0xff];
        writeln!(list, "10.{a}.{b}.{c}/31").expect("a line");
    }
    std::fs::write(&file, &list).expect("written");
    let table = format!("deny = [\"192.0.2.0/24\", {{ file = {file:?} }}]");
    let gateway = with(&origin, "", &table, "").await;
    for (client, status) in [
        ("192.0.2.7", 403),
        ("10.0.0.0", 403),
        ("10.0.0.1", 403),
        ("10.0.0.2", 200),
        ("10.3.77.4", 403),
        ("10.3.77.6", 200),
        ("::ffff:10.3.77.5", 403),
        ("198.51.100.7", 200),
    ] {
        assert_eq!(from(&gateway, client, "/", "").await.status, status, "{client}");
    }
    replace(&file, "198.51.100.0/24\n");
    eventually("the new list is in force", async || {
        from(&gateway, "198.51.100.7", "/", "").await.status == 403
    })
    .await;
    assert_eq!(from(&gateway, "10.0.0.0", "/", "").await.status, 200);
    // A faulty list changes nothing.
    replace(&file, "198.51.100.0/24\nnobody\n");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(from(&gateway, "198.51.100.7", "/", "").await.status, 403);
    replace(&file, "");
    eventually("nobody is on the list", async || {
        from(&gateway, "198.51.100.7", "/", "").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn countries_by_a_file_of_maxminds_form() {
    let origin = Origin::fixed("hello").await;
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("countries.mmdb");
    std::fs::copy("src/country/test.mmdb", &file).expect("copied");
    let server = format!("country_file = {file:?}");
    let gateway = with(&origin, &server, "deny_countries = [\"FR\"]", "").await;
    for (client, status) in [
        ("192.0.2.1", 200),
        ("198.51.100.1", 403),
        ("203.0.113.1", 200),
        ("127.0.0.1", 200),
    ] {
        assert_eq!(from(&gateway, client, "/", "").await.status, status, "{client}");
    }
    let refused = from(&gateway, "198.51.100.1", "/", "Accept: application/json\r\n").await;
    assert_eq!(refused.json()["status"], 403);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(
        gateway
            .log()
            .await
            .iter()
            .any(|line| line["refusal"] == "country_not_allowed")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_methods_media_types_and_scanners() {
    let origin = Origin::fixed("hello").await;
    let table = "deny_agents = [\"\", \"curl/*\", \"~(?i)scrapy\"]\nscanners = true\nmethods = [\"GET\", \"POST\"]\n\
                 content_types = [\"application/json\"]";
    let gateway = with(&origin, "", table, "").await;
    let ask = async |line: &str, fields: &str, body: &str| {
        let length = body.len();
        let framing = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {length}\r\n")
        };
        let text = format!("{line} HTTP/1.1\r\nHost: site.test\r\n{fields}{framing}\r\n{body}");
        client::ask(gateway.address, text).await
    };
    let browser = "User-Agent: Mozilla/5.0\r\n";
    for (line, fields, body, status) in [
        ("GET /", browser, "", 200),
        ("GET /", "", "", 403),
        ("GET /", "User-Agent: curl/8.1\r\n", "", 403),
        ("GET /", "User-Agent: my SCRAPY bot\r\n", "", 403),
        ("GET /.env", browser, "", 404),
        ("GET /a/%2e%67it/config", browser, "", 404),
        ("GET /a//.git//config", browser, "", 404),
        ("GET /wp-login.php?x=1", browser, "", 404),
        ("DELETE /", browser, "", 405),
        (
            "POST /",
            "User-Agent: m\r\nContent-Type: application/json; charset=utf-8\r\n",
            "{}",
            200,
        ),
        ("POST /", "User-Agent: m\r\nContent-Type: text/xml\r\n", "<a/>", 415),
        ("POST /", browser, "{}", 415),
        ("POST /", browser, "", 200),
    ] {
        let answer = ask(line, fields, body).await;
        assert_eq!(answer.status, status, "{line} {fields} {body}");
        if status == 405 {
            assert_eq!(answer.header("allow"), Some("GET, POST"));
        }
    }
    assert_eq!(
        origin.received().len(),
        3,
        "what was refused did not reach the application"
    );
    assert!(gateway.log().await.iter().any(|line| line["refusal"] == "scanner_path"));
    assert!(
        gateway
            .metric("gateway_refusals_total{reason=\"agent_not_allowed\"}")
            .await
            >= 3.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_asked_before_caches_identity_and_limits() {
    let origin = Origin::start(|_| crate::support::origin::reply(200, "Cache-Control: max-age=60\r\n", "kept")).await;
    let more = "cache = \"pages\"\nrate_limit = [\"few\"]\nauth = \"staff\"";
    let gateway = gateway::start(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\n[upstream.app]\nservers = [\"{}\"]\n[access.site]\ndeny = \"192.0.2.0/24\"\n\
         [cache.pages]\n[rate_limit.few]\nrate = \"2/h\"\nburst = 1\n[auth.staff]\noptional = true\n\
         jwt = {{ secret = \"a secret that is long enough for this\" }}\n\
         [defaults]\naccess = \"site\"\n{more}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await;
    assert_eq!(from(&gateway, "198.51.100.1", "/a", "").await.text(), "kept");
    for _ in 0..5 {
        let refused = from(&gateway, "192.0.2.1", "/a", "Authorization: Bearer nonsense\r\n").await;
        assert_eq!(refused.status, 403, "what is kept is not for everybody");
    }
    // None of these counted.
    assert_eq!(from(&gateway, "198.51.100.1", "/a", "").await.status, 200);
    assert_eq!(from(&gateway, "198.51.100.1", "/a", "").await.status, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_closed_for_maintenance() {
    let origin = Origin::fixed("hello").await;
    let routes = |maintenance: &str| {
        format!(
            "trusted_proxies = [\"127.0.0.1\"]\n[upstream.app]\nservers = [\"{}\"]\n[defaults]\nmaintenance = {maintenance}\n\
             [[route]]\nname = \"health\"\npath = \"/health/*\"\nserve = \"health\"\n\
             [[route]]\nname = \"docs\"\npath = \"/docs/*\"\nmaintenance = false\nupstream = \"app\"\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
            origin.address
        )
    };
    let gateway = gateway::start(&routes("{ allow = [\"192.0.2.0/24\"], retry_after = \"10min\" }")).await;
    let closed = from(&gateway, "198.51.100.1", "/", "Accept: text/html\r\n").await;
    assert_eq!((closed.status, closed.header("retry-after")), (503, Some("600")));
    assert!(closed.text().contains("maintenance"));
    for (client, path, status) in [
        ("192.0.2.7", "/", 200),
        ("198.51.100.1", "/docs/a", 200),
        ("198.51.100.1", "/health/", 200),
        ("198.51.100.1", "/other", 503),
    ] {
        assert_eq!(from(&gateway, client, path, "").await.status, status, "{client} {path}");
    }
    gateway.reload(&routes("true")).await.expect("a reload");
    let closed = from(&gateway, "192.0.2.7", "/", "").await;
    assert_eq!((closed.status, closed.header("retry-after")), (503, Some("300")));
    gateway.reload(&routes("false")).await.expect("a reload");
    assert_eq!(from(&gateway, "198.51.100.1", "/", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_asked_the_same() {
    let origin = Origin::fixed("hello").await;
    let gateway = with(&origin, "", "deny = \"192.0.2.0/24\"\ndeny_agents = [\"curl/*\"]", "").await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(from(&gateway, "192.0.2.1", "/ws", upgrade).await.status, 403);
    let agent = format!("{upgrade}User-Agent: curl/8\r\n");
    assert_eq!(from(&gateway, "198.51.100.1", "/ws", &agent).await.status, 403);
    assert!(origin.received().is_empty());
}
