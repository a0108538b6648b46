//! The preview server over real sockets.

use super::files::{ICON_SIZE, IMAGE_SIZE, PAGE_SIZE, SCRIPT_SIZE, STYLE_SIZE};
use super::*;
use crate::demo::wire::{Answer, ask, listener, parse, raw};

async fn server() -> Server {
    spawn(listener().await).unwrap()
}

async fn get(server: &Server, target: &str, fields: &[&str]) -> Answer {
    ask(server.address(), &format!("GET {target}"), fields, b"").await
}

fn asset(prefix: &str, extension: &str) -> &'static str {
    paths()
        .find(|path| path.starts_with(prefix) && path.ends_with(extension))
        .unwrap()
}

#[tokio::test]
async fn files_have_the_sizes_of_the_build() {
    let server = server().await;
    for (path, size, media_type) in [
        ("/", PAGE_SIZE, "text/html;charset=utf-8"),
        ("/index.html", PAGE_SIZE, "text/html;charset=utf-8"),
        (asset("/assets/index-", ".js"), SCRIPT_SIZE, "application/javascript"),
        (asset("/assets/index-", ".css"), STYLE_SIZE, "text/css"),
        ("/Deal247.png", IMAGE_SIZE, "image/png"),
        ("/pwa-icon.svg", ICON_SIZE, "image/svg+xml"),
        (asset("/assets/x-", ".js"), 310, "application/javascript"),
    ] {
        let answer = get(&server, path, &[]).await;
        assert_eq!((answer.status, answer.body.len()), (200, size), "{path}");
        assert_eq!(answer.header("content-type"), Some(media_type), "{path}");
        assert_eq!(
            answer.header("etag"),
            Some(&*format!("W/\"{size}-1766016000000\"")),
            "{path}"
        );
    }
    let assets: Vec<_> = paths().filter(|path| path.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 42, "{assets:?}");
    let name = |path: &str| path.rsplit_once('.').unwrap().0.rsplit_once('-').unwrap().1.to_owned();
    assert!(assets.iter().all(|path| name(path).len() == 8));
}

#[tokio::test]
async fn the_fields_are_these_and_no_others() {
    let server = server().await;
    let whole = get(&server, "/hot", &[]).await;
    let names = [
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "etag",
        "last-modified",
        "vary",
    ];
    assert_eq!(whole.names(), names);
    assert_eq!(whole.header("cache-control"), Some("no-cache"));
    assert_eq!(whole.header("vary"), Some("Origin"));
    let known = format!("If-None-Match: {}", whole.header("etag").unwrap());
    let unchanged = get(&server, "/hot", &[&known]).await;
    assert_eq!(
        (unchanged.status, unchanged.names()),
        (304, vec!["connection", "date", "vary"])
    );
    let since = get(&server, "/hot", &["If-Modified-Since: Fri, 01 Jan 2027 00:00:00 GMT"]).await;
    assert_eq!(since.status, 200);
}

#[tokio::test]
async fn every_path_without_an_extension_is_the_page() {
    let server = server().await;
    for (line, status) in [
        ("GET /deal/7", 200),
        ("GET /a/../hot", 200),
        ("GET /%2e%2e/x", 200),
        ("GET /search?x=a.b", 200),
        ("POST /hot", 200),
        ("GET /absent.js", 404),
        ("GET /assets/absent-00000000.js", 404),
        ("GET /api/health", 500),
        ("GET /apifoo", 500),
        ("OPTIONS /x", 204),
    ] {
        let answer = ask(server.address(), line, &[], b"").await;
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(answer.body.len() == PAGE_SIZE, status == 200, "{line}");
    }
    let head = ask(server.address(), "HEAD /", &["Accept-Encoding: gzip"], b"").await;
    assert_eq!((head.body.len(), head.header("content-length")), (0, Some("1307")));
    assert_eq!(head.header("content-encoding"), None);
}

#[tokio::test]
async fn text_is_compressed_without_saying_that_it_varies() {
    let server = server().await;
    let script = asset("/assets/index-", ".js");
    let plain = get(&server, script, &[]).await;
    let coded = get(&server, script, &["Accept-Encoding: gzip, br"]).await;
    assert_eq!(coded.header("content-encoding"), Some("gzip"));
    assert_eq!(coded.header("transfer-encoding"), Some("chunked"));
    assert_eq!(
        (coded.header("content-length"), coded.header("vary")),
        (None, Some("Origin"))
    );
    assert_eq!(coded.gunzipped(), plain.body);
    assert!(coded.body.len().abs_diff(153_968) < 8_000, "{}", coded.body.len());
    for path in ["/Deal247.png", "/pwa-icon.svg", "/manifest.webmanifest"] {
        let answer = get(&server, path, &["Accept-Encoding: gzip"]).await;
        assert_eq!(answer.header("content-encoding"), None, "{path}");
    }
}

#[tokio::test]
async fn ranges_and_their_bug() {
    let server = server().await;
    for (range, status, content_range, length) in [
        ("bytes=0-99", 206, Some("bytes 0-99/269887"), 100),
        ("bytes=269886-", 206, Some("bytes 269886-269886/269887"), 1),
        ("bytes=-100", 206, Some("bytes 0-100/269887"), 101),
        ("bytes=1-999999", 206, Some("bytes 1-269886/269887"), 269_886),
        ("bytes=999999-", 416, Some("bytes */269887"), 0),
        ("bytes=9-3", 416, Some("bytes */269887"), 0),
    ] {
        let answer = get(&server, "/Deal247.png", &[&format!("Range: {range}")]).await;
        assert_eq!((answer.status, answer.body.len()), (status, length), "{range}");
        assert_eq!(answer.header("content-range"), content_range, "{range}");
    }
}

#[tokio::test]
async fn knows_localhost_and_addresses_only() {
    let server = server().await;
    for (host, status) in [
        ("localhost", 200),
        ("LocalHost:3000", 200),
        ("app.localhost", 200),
        ("192.0.2.1:3000", 200),
        ("[::1]:3000", 200),
        ("deals247.online", 403),
        ("localhost.evil.example", 403),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = parse(&raw(server.address(), request.as_bytes()).await);
        assert_eq!(answer.status, status, "{host}");
        if status == 403 {
            assert_eq!(answer.header("content-type"), Some("text/plain"));
            assert!(answer.text().contains(host));
        }
    }
}
