//! Static files, over the wire.

use crate::support::client;
use crate::support::gateway;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_page_site_is_served_from_disk() {
    let site = tempfile::tempdir().expect("directory");
    let write = |name: &str, text: &str| {
        let path = site.path().join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        std::fs::write(path, text).expect("file");
    };
    write("index.html", "<p>page");
    write("assets/app.js", &"x();".repeat(5000));
    write(".env", "SECRET=1");
    let gateway = gateway::start(&format!(
        "[[route]]\nname = \"site\"\npath = \"/*\"\ncompress = true\nfiles = {{ root = {:?}, spa_fallback = \"index.html\" }}\n",
        site.path()
    ))
    .await;
    for path in ["/", "/index.html", "/deal/7", "/search"] {
        let answer = client::get(gateway.address, path, "Accept: text/html\r\n").await;
        assert_eq!((answer.status, answer.text()), (200, "<p>page"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}");
    }
    let script = gateway.get("/assets/app.js").await;
    assert!(
        script
            .header("content-type")
            .expect("type")
            .starts_with("text/javascript")
    );
    assert_eq!(script.body.len(), 20_000);
    let tag = script.header("etag").expect("an ETag").to_owned();
    let same = client::get(gateway.address, "/assets/app.js", &format!("If-None-Match: {tag}\r\n")).await;
    assert_eq!((same.status, same.header("etag")), (304, Some(&*tag)));
    let part = client::get(gateway.address, "/assets/app.js", "Range: bytes=0-3\r\n").await;
    assert_eq!(
        (part.status, part.text(), part.header("content-range")),
        (206, "x();", Some("bytes 0-3/20000"))
    );
    let beyond = client::get(gateway.address, "/assets/app.js", "Range: bytes=90000-\r\n").await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */20000"))
    );
    let small = client::get(gateway.address, "/assets/app.js", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(small.header("content-encoding"), Some("gzip"));
    assert!(small.body.len() < 1000);
    for path in ["/.env", "/assets/gone.js", "/assets/../.env", "/%2e%65nv"] {
        let answer = client::get(gateway.address, path, "Accept: text/html\r\n").await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("SECRET"), "{path}");
    }
    let posted = client::ask(
        gateway.address,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
}
