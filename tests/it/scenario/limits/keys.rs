//! Who is counted, by every kind of key.

use super::{get, limited};
use crate::support::client;
use crate::support::gateway;

/// Asks with these targets and fields, once each; the rate is one a day.
async fn counted(key: &str, asks: &[(&str, &str, u16)]) {
    let gateway = limited(&format!("[rate_limit.one]\nrate = \"1/d\"\nkey = {key}"), "\"one\"").await;
    for (place, (path, fields, status)) in asks.iter().enumerate() {
        let answer = client::get(gateway.address, path, fields).await;
        assert_eq!(answer.status, *status, "{key}: {place}: {path} {fields}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_header() {
    counted(
        "\"header:X-Key\"",
        &[
            ("/x", "X-Key: a\r\n", 200),
            ("/x", "x-key:  a \r\n", 429),
            ("/x", "X-Key: A\r\n", 200),
            // Two of them: nobody can tell which one the application reads.
            ("/x", "X-Key: b\r\nX-Key: c\r\n", 200),
            ("/x", "X-Key: d\r\nX-Key: e\r\n", 429),
            ("/x", "X-Key: b\r\n", 200),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_cookie() {
    counted(
        "\"cookie:sid\"",
        &[
            ("/x", "Cookie: a=1; sid=one; b=2\r\n", 200),
            ("/x", "Cookie: sid=one\r\n", 429),
            ("/x", "Cookie: a=1\r\nCookie: sid=one\r\n", 429),
            ("/x", "Cookie: sid=two\r\n", 200),
            ("/x", "Cookie: xsid=three\r\n", 200),
            ("/x", "Cookie: xsid=four\r\n", 429),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_query_parameter() {
    counted(
        "\"query:key\"",
        &[
            ("/x?key=a&b=c", "", 200),
            ("/y?b=d&key=%61", "", 429),
            ("/y?k%65y=a", "", 429),
            ("/x?key=b", "", 200),
            ("/x?key=", "", 200),
            ("/x", "", 429),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_list() {
    counted(
        "[\"client-ip\", \"header:X-Key\"]",
        &[
            ("/x", "X-Forwarded-For: 192.0.2.1\r\nX-Key: a\r\n", 200),
            ("/x", "X-Forwarded-For: 192.0.2.1\r\nX-Key: a\r\n", 429),
            ("/x", "X-Forwarded-For: 192.0.2.1\r\nX-Key: b\r\n", 200),
            ("/x", "X-Forwarded-For: 192.0.2.2\r\nX-Key: a\r\n", 200),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_host_and_by_route() {
    let gateway = gateway::start(
        "[rate_limit.host]\nrate = \"1/d\"\nkey = \"host\"\n[rate_limit.route]\nrate = \"1/d\"\nkey = \"route\"\n\
         [[route]]\nname = \"a\"\npath = \"/a/*\"\nrate_limit = [\"route\"]\nrespond = {}\n\
         [[route]]\nname = \"b\"\npath = \"/b/*\"\nrate_limit = [\"route\"]\nrespond = {}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nrate_limit = [\"host\"]\nrespond = {}\n",
    )
    .await;
    for (host, path, status) in [
        ("one.test", "/", 200),
        ("ONE.test:80", "/x", 429),
        ("two.test", "/", 200),
        ("two.test", "/a/1", 200),
        ("three.test", "/a/2", 429),
        ("three.test", "/b/1", 200),
        ("two.test", "/b/1", 429),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            client::ask(gateway.address, request).await.status,
            status,
            "{host} {path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_for_its_period() {
    // What comes back while the test runs is less than one, but for the first: there the answer says so.
    for (rate, window) in [("1000/s", 1), ("1000/min", 60), ("1000/h", 3600), ("1000/d", 86_400)] {
        let gateway = limited(&format!("[rate_limit.one]\nrate = \"{rate}\""), "\"one\"").await;
        let answer = get(&gateway, "").await;
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some(&*format!("\"one\";q=1000;w={window}")),
            "{rate}"
        );
        assert_eq!(
            answer.header("ratelimit"),
            Some(&*format!(
                "\"one\";r=999;t={}",
                (window / 1000).max(1) + u64::from(window > 1000)
            )),
            "{rate}"
        );
    }
}
