//! Tests of the module above.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;

const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A site, and a secret beside it.
struct Site {
    _outside: TempDir,
    files: Files,
}

fn site() -> Site {
    let outside = tempfile::tempdir().unwrap();
    let base = outside.path();
    let root = base.join("site");
    for directory in ["docs", "empty", ".git", ".well-known/acme-challenge", "a b"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for (path, contents) in [
        ("index.html", "<h1>home</h1>"),
        ("app.js", "0123456789"),
        ("sw.js", "worker"),
        ("LICENSE", "words"),
        ("nothing.txt", ""),
        ("docs/index.html", "<h1>docs</h1>"),
        ("a b/c d.txt", "spaced"),
        ("%2f.txt", "literal"),
        (".env", "SECRET"),
        (".git/config", "SECRET"),
        (".well-known/acme-challenge/token", "token"),
        (".well-known/.hidden", "SECRET"),
        ("../secret.txt", "SECRET"),
        ("../site-other.txt", "SECRET"),
    ] {
        fs::write(root.join(path), contents).unwrap();
    }
    fs::create_dir(base.join("site2")).unwrap();
    fs::write(base.join("site2/index.html"), "SECRET").unwrap();
    for (target, link) in [
        (Path::new("app.js"), "inside.js"),
        (&root.join("docs"), "manual"),
        (Path::new("../secret.txt"), "out.txt"),
        (Path::new("/etc/passwd"), "passwd.txt"),
        (Path::new("../site2"), "other"),
        (Path::new("loop.txt"), "loop.txt"),
        (Path::new("gone"), "dangling.txt"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let fifo = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, root.join("pipe.txt"), FileType::Fifo, fifo, 0).unwrap();
    fs::create_dir(root.join("piped")).unwrap();
    mknodat(CWD, root.join("piped/index.html"), FileType::Fifo, fifo, 0).unwrap();
    let long_ago = httpdate::parse_http_date(THEN).unwrap();
    fs::File::open(root.join("app.js"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    Site {
        _outside: outside,
        files: Files {
            rewrite: None,
            root,
            index: "index.html".into(),
            spa_fallback: None,
        },
    }
}

fn with_fallback(mut site: Site) -> Site {
    site.files.spa_fallback = Some("index.html".into());
    site
}

async fn get(site: &Site, path: &str, request: &[(&'static str, &str)]) -> Result<(Served, String), Answer> {
    let mut headers = HeaderMap::new();
    for (name, value) in request {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let mut served = open(&site.files, &Method::GET, path, None, &headers).await?;
    let mut body = Vec::new();
    if let Some(stream) = &mut served.body {
        while let Some(chunk) = stream.next_chunk().await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        assert_eq!(text(&served, "content-length"), Some(body.len().to_string().as_str()));
    }
    Ok((served, String::from_utf8(body).unwrap()))
}

fn text<'a>(served: &'a Served, name: &str) -> Option<&'a str> {
    served.headers.get(name).map(|value| value.to_str().unwrap())
}

fn reason(answer: Answer) -> Reason {
    match answer {
        Answer::Refusal { reason, .. } => reason,
        other => panic!("not a refusal: {other:?}"),
    }
}

#[tokio::test]
async fn files_are_served_as_what_they_are() {
    let site = site();
    for (path, body, media_type, cache) in [
        ("/", "<h1>home</h1>", "text/html; charset=utf-8", Some("no-cache")),
        (
            "/index.html",
            "<h1>home</h1>",
            "text/html; charset=utf-8",
            Some("no-cache"),
        ),
        ("/docs/", "<h1>docs</h1>", "text/html; charset=utf-8", Some("no-cache")),
        (
            "/manual/",
            "<h1>docs</h1>",
            "text/html; charset=utf-8",
            Some("no-cache"),
        ),
        ("/app.js", "0123456789", "text/javascript; charset=utf-8", None),
        ("/app%2ejs", "0123456789", "text/javascript; charset=utf-8", None),
        ("/inside.js", "0123456789", "text/javascript; charset=utf-8", None),
        ("/sw.js", "worker", "text/javascript; charset=utf-8", Some("no-cache")),
        ("/LICENSE", "words", "application/octet-stream", None),
        ("/nothing.txt", "", "text/plain; charset=utf-8", None),
        ("/a%20b/c%20d.txt", "spaced", "text/plain; charset=utf-8", None),
        ("/%252f.txt", "literal", "text/plain; charset=utf-8", None),
        (
            "/.well-known/acme-challenge/token",
            "token",
            "application/octet-stream",
            None,
        ),
    ] {
        let (served, contents) = get(&site, path, &[]).await.unwrap();
        assert_eq!(served.status, 200, "{path}");
        assert_eq!(contents, body, "{path}");
        assert_eq!(text(&served, "content-type"), Some(media_type), "{path}");
        assert_eq!(text(&served, "cache-control"), cache, "{path}");
        assert_eq!(text(&served, "accept-ranges"), Some("bytes"), "{path}");
        assert!(text(&served, "last-modified").is_some(), "{path}");
    }
}

/// None of these may answer anything but 404, whatever the fallback.
#[tokio::test]
async fn nothing_else_is_served() {
    let site = site();
    for path in [
        "/missing.txt",
        "/app.js/",
        "/app.js/x",
        "/../secret.txt",
        "/docs/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "//etc/passwd",
        "/%2fetc/passwd.txt",
        "/../site-other.txt",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.git/",
        "/.well-known/.hidden",
        "/out.txt",
        "/passwd.txt",
        "/loop.txt",
        "/dangling.txt",
        "/pipe.txt",
        "/index.html%00.txt",
        &format!("/{}.txt", "a".repeat(300)),
        &format!("{}/b.txt", "/a".repeat(4000)),
    ] {
        assert_eq!(
            reason(get(&site, path, &[]).await.unwrap_err()),
            Reason::NotFound,
            "{path}"
        );
    }
    for path in [
        "/empty/",
        "/empty",
        "/piped/",
        "/piped",
        "/other",
        "/other/",
        "/other/index.html",
        "/deal/5",
    ] {
        assert_eq!(
            reason(get(&site, path, &[]).await.unwrap_err()),
            Reason::NotFound,
            "{path}"
        );
    }
    let site = with_fallback(site);
    for path in [
        "/missing.txt",
        "/.env",
        "/.git/config",
        "/.git/",
        "/pipe.txt",
        "/out.txt",
        "/../x",
        "/a%00",
    ] {
        assert_eq!(
            reason(get(&site, path, &[]).await.unwrap_err()),
            Reason::NotFound,
            "{path}"
        );
    }
}

#[tokio::test]
async fn pages_of_the_application_fall_back() {
    let site = with_fallback(site());
    let html = "text/html,application/xhtml+xml,*/*;q=0.8";
    for path in [
        "/deal/5", "/deal/5/", "/empty/", "/empty", "/other/", "/piped/", "/search",
    ] {
        for request in [&[][..], &[("accept", html)], &[("accept", "*/*")]] {
            let (served, contents) = get(&site, path, request).await.unwrap();
            assert_eq!(contents, "<h1>home</h1>", "{path}");
            assert_eq!(served.status, 200);
            assert_eq!(text(&served, "content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(text(&served, "cache-control"), Some("no-cache"));
        }
        for accept in ["application/json", "image/*", "text/html;q=0, */*"] {
            let answer = get(&site, path, &[("accept", accept)]).await.unwrap_err();
            assert_eq!(reason(answer), Reason::NotFound, "{path} {accept}");
        }
    }
    let (_, contents) = get(&site, "/app.js", &[("accept", "application/json")]).await.unwrap();
    assert_eq!(contents, "0123456789", "what exists needs no fallback");

    let mut astray = with_fallback(site);
    for fallback in ["../secret.txt", "gone.html", "out.txt", "docs"] {
        astray.files.spa_fallback = Some(fallback.into());
        let answer = get(&astray, "/deal/5", &[]).await.unwrap_err();
        assert_eq!(reason(answer), Reason::NotFound, "{fallback}");
    }
}

#[tokio::test]
async fn directories_get_their_slash() {
    let site = site();
    for (path, query, expected) in [
        ("/docs", None, "/docs/"),
        ("/manual", None, "/manual/"),
        ("/docs", Some("a=b&c=%20"), "/docs/?a=b&c=%20"),
        ("/docs", Some(""), "/docs/?"),
        ("/docs", Some("a=<€>"), "/docs/?a=%3C%E2%82%AC%3E"),
        ("/%64ocs", None, "/%64ocs/"),
    ] {
        match open(&site.files, &Method::GET, path, query, &HeaderMap::new()).await {
            Err(Answer::Redirect { status, location }) => {
                assert_eq!((status.as_u16(), location.to_str().unwrap()), (308, expected), "{path}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn only_get_and_head() {
    let site = site();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = open(&site.files, &method, "/app.js", None, &HeaderMap::new())
            .await
            .unwrap_err();
        match answer {
            Answer::Refusal {
                reason: Reason::MethodNotAllowed,
                fields,
                ..
            } => {
                assert_eq!(fields, [(ALLOW, HeaderValue::from_static("GET, HEAD"))]);
            }
            other => panic!("{method}: {other:?}"),
        }
    }
    for path in ["/app.js", "/nothing.txt"] {
        let (get, _) = get(&site, path, &[]).await.unwrap();
        let head = open(&site.files, &Method::HEAD, path, None, &HeaderMap::new())
            .await
            .unwrap();
        assert_eq!(head.headers, get.headers);
        assert_eq!(head.status, 200);
        assert!(head.body.is_none());
    }
}

#[tokio::test]
async fn conditions_are_judged() {
    let site = site();
    let (served, _) = get(&site, "/app.js", &[]).await.unwrap();
    let etag = text(&served, "etag").unwrap().to_owned();
    assert!(etag.starts_with('"'), "strong");
    assert_eq!(text(&served, "last-modified"), Some(THEN));
    for request in [[("if-none-match", etag.as_str())], [("if-modified-since", THEN)]] {
        let (served, contents) = get(&site, "/app.js", &request).await.unwrap();
        assert_eq!(served.status, 304, "{request:?}");
        assert_eq!(text(&served, "etag"), Some(etag.as_str()));
        assert_eq!(text(&served, "content-length"), None);
        assert!(served.body.is_none());
        assert_eq!(contents, "");
    }
    let answer = get(&site, "/app.js", &[("if-match", "\"x\"")]).await.unwrap_err();
    assert_eq!(reason(answer), Reason::PreconditionFailed);
    let (served, contents) = get(&site, "/app.js", &[("if-none-match", "\"x\"")]).await.unwrap();
    assert_eq!((served.status.as_u16(), contents.as_str()), (200, "0123456789"));
}

#[tokio::test]
async fn ranges_are_cut_to_the_byte() {
    let site = site();
    let (served, _) = get(&site, "/app.js", &[]).await.unwrap();
    let etag = text(&served, "etag").unwrap().to_owned();
    for (range, status, content_range, body) in [
        ("bytes=0-3", 206, Some("bytes 0-3/10"), "0123"),
        ("bytes=4-", 206, Some("bytes 4-9/10"), "456789"),
        ("bytes=-3", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=9-100", 206, Some("bytes 9-9/10"), "9"),
        ("bytes=0-1,4-5", 200, None, "0123456789"),
        ("lines=1-2", 200, None, "0123456789"),
    ] {
        for if_range in [None, Some(etag.as_str()), Some(THEN)] {
            let mut request = vec![("range", range)];
            request.extend(if_range.map(|validator| ("if-range", validator)));
            let (served, contents) = get(&site, "/app.js", &request).await.unwrap();
            assert_eq!(served.status, status, "{range}");
            assert_eq!(text(&served, "content-range"), content_range, "{range}");
            assert_eq!(contents, body, "{range}");
        }
    }
    let request = [("range", "bytes=0-3"), ("if-range", "\"older\"")];
    let (served, contents) = get(&site, "/app.js", &request).await.unwrap();
    assert_eq!((served.status.as_u16(), contents.as_str()), (200, "0123456789"));
    match get(&site, "/app.js", &[("range", "bytes=10-")]).await {
        Err(Answer::Refusal {
            reason: Reason::RangeNotSatisfiable,
            fields,
            ..
        }) => {
            assert_eq!(fields, [(CONTENT_RANGE, HeaderValue::from_static("bytes */10"))]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_replaced_file_of_the_same_length_and_date_has_another_tag() {
    let site = site();
    let (before, _) = get(&site, "/app.js", &[]).await.unwrap();
    let path = site.files.root.join("app.js");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let tag = |served: &Served| text(served, "etag").unwrap().to_owned();
    // The clock of a file system may tick slowly: replaced until the time of change has moved.
    for _ in 0..10_000 {
        fs::write(&path, "9876543210").unwrap();
        fs::File::open(&path).unwrap().set_modified(modified).unwrap();
        let (after, contents) = get(&site, "/app.js", &[]).await.unwrap();
        assert_eq!(contents, "9876543210");
        assert_eq!(text(&after, "last-modified"), Some(THEN));
        if tag(&after) != tag(&before) {
            return;
        }
    }
    panic!("the tag never changed");
}

#[tokio::test]
async fn a_root_behind_a_link_is_followed_when_it_moves() {
    let site = site();
    let base = site.files.root.parent().unwrap();
    let current = base.join("current");
    symlink("site", &current).unwrap();
    let files = Files {
        root: current.clone(),
        ..site.files.clone()
    };
    let moved = Site {
        _outside: tempfile::tempdir().unwrap(),
        files,
    };
    assert_eq!(get(&moved, "/", &[]).await.unwrap().1, "<h1>home</h1>");
    fs::remove_file(&current).unwrap();
    symlink("site2", &current).unwrap();
    assert_eq!(get(&moved, "/", &[]).await.unwrap().1, "SECRET");
    fs::remove_file(&current).unwrap();
    assert_eq!(reason(get(&moved, "/", &[]).await.unwrap_err()), Reason::Internal);
}

#[test]
fn dates_that_say_nothing_are_left_out() {
    const SECOND: i128 = 1_000_000_000;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_766_000_000);
    for (nanos, expected) in [
        (784_111_777 * SECOND, Some(THEN)),
        (784_111_777 * SECOND + 999_999_999, Some(THEN)),
        (0, None),
        (SECOND, None),
        (315_532_800 * SECOND, None),
        (-1, None),
        (1_766_000_001 * SECOND, None),
        (1_000_000_000_000 * SECOND, None),
        (i128::from(i64::MAX) * SECOND, None),
        (i128::from(i64::MIN) * SECOND, None),
    ] {
        let date = last_modified(nanos, now);
        assert_eq!(date.as_ref().map(|date| date.to_str().unwrap()), expected, "{nanos}");
    }
}
