//! Response fields and content coding, on every kind of answer.

use std::io::Read;

use crate::support::client;
use crate::support::gateway;
use crate::support::origin::{Origin, Step, raw, reply};

const TEXT: &str = "a text that compresses, a text that compresses, a text that compresses, again and again; ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_fields_stand_once_on_every_answer() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/helmet") => reply(
            200,
            "X-Frame-Options: DENY\r\nx-content-type-options: nosniff\r\nContent-Security-Policy: default-src 'self'\r\n\
             X-Powered-By: Express\r\nStrict-Transport-Security: max-age=1\r\n",
            "ok",
        ),
        line if line.contains("/reset") => vec![Step::Close],
        _ => reply(200, "", "ok"),
    })
    .await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n\
         [headers.web]\npreset = \"web\"\ncontent_security_policy = \"upstream\"\nremove = [\"X-Powered-By\"]\n\
         set = {{ X-Team = \"deals\" }}\nappend = {{ Link = \"</a>\" }}\n\
         [defaults]\nheaders = \"web\"\n\
         [[route]]\nname = \"app\"\npath = \"/app/*\"\nupstream = \"app\"\n\
         [[route]]\nname = \"fixed\"\npath = \"/fixed\"\nrespond = {{ body = \"ok\" }}\n\
         [[route]]\nname = \"bare\"\npath = \"/bare\"\nheaders = false\nrespond = {{ body = \"ok\" }}\n",
        origin.address
    ))
    .await;
    for (path, status) in [
        ("/app/x", 200),
        ("/app/helmet", 200),
        ("/app/reset", 502),
        ("/fixed", 200),
        ("/none", 404),
    ] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("SAMEORIGIN"), "{path}");
        assert!(answer.header("referrer-policy").is_some(), "{path}");
        assert!(answer.header("permissions-policy").is_some(), "{path}");
        assert_eq!(
            answer.header("strict-transport-security"),
            None,
            "{path}: never in clear text"
        );
        assert_eq!(answer.header("x-powered-by"), None, "{path}");
        assert_eq!(answer.header("x-team"), Some("deals"), "{path}");
        assert_eq!(answer.header("link"), Some("</a>"), "{path}");
        assert!(answer.header("x-request-id").is_some(), "{path}");
    }
    let helmet = gateway.get("/app/helmet").await;
    assert_eq!(
        helmet.header("content-security-policy"),
        Some("default-src 'self'"),
        "never two policies"
    );
    assert_eq!(gateway.get("/fixed").await.header("content-security-policy"), None);
    assert_eq!(gateway.get("/bare").await.header("x-frame-options"), None);
    // What is refused before there is a route.
    let refused = client::ask(gateway.address, "GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(
        (refused.status, refused.header("x-frame-options")),
        (400, Some("SAMEORIGIN"))
    );
}

fn decode(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut out).expect("gzip")),
        "br" => drop(
            brotli::Decompressor::new(body, 4096)
                .read_to_end(&mut out)
                .expect("brotli"),
        ),
        "zstd" => out = zstd::stream::decode_all(body).expect("zstd"),
        other => panic!("{other}"),
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_encoded_as_the_client_likes_it() {
    let origin = Origin::start(|request| {
        let text = TEXT.repeat(2000);
        match request.line() {
            line if line.contains("/chunked") => {
                let mut out =
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                for part in text.as_bytes().chunks(7001) {
                    out.extend(format!("{:x}\r\n", part.len()).bytes());
                    out.extend(part);
                    out.extend(b"\r\n");
                }
                out.extend(b"0\r\n\r\n");
                vec![Step::Send(out)]
            }
            line if line.contains("/close") => [
                raw(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n{text}"
                )),
                vec![Step::Close],
            ]
            .concat(),
            line if line.contains("/small") => reply(200, "Content-Type: text/plain\r\n", "small"),
            line if line.contains("/image") => reply(200, "Content-Type: image/png\r\n", &text),
            line if line.contains("/encoded") => {
                reply(200, "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n", &text)
            }
            line if line.contains("/no-transform") => reply(
                200,
                "Content-Type: text/plain\r\nCache-Control: no-transform\r\n",
                &text,
            ),
            line if line.contains("/partial") => reply(
                206,
                "Content-Type: text/plain\r\nContent-Range: bytes 0-9/99\r\n",
                &text,
            ),
            line if line.contains("/events") => reply(200, "Content-Type: text/event-stream\r\n", &text),
            _ => reply(
                200,
                "Content-Type: application/json; charset=utf-8\r\nETag: \"strong\"\r\nAccept-Ranges: bytes\r\n",
                &text,
            ),
        }
    })
    .await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncompress = true\n",
        origin.address
    ))
    .await;
    let text = TEXT.repeat(2000).into_bytes();
    for path in ["/json", "/chunked", "/close"] {
        for (accepted, coding) in [
            ("gzip", "gzip"),
            ("br", "br"),
            ("zstd", "zstd"),
            ("gzip;q=0.5, br", "br"),
            ("gzip, br, zstd", "zstd"),
        ] {
            let mut connection = gateway.connect().await;
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {accepted}\r\n\r\n");
            let answer = connection.ask(&request).await;
            assert_eq!(answer.header("content-encoding"), Some(coding), "{path} {accepted}");
            assert!(
                answer
                    .header("vary")
                    .expect("Vary")
                    .to_lowercase()
                    .contains("accept-encoding")
            );
            assert!(!answer.truncated, "{path} {accepted}");
            assert!(decode(coding, &answer.body) == text, "{path} {accepted}");
            assert!(answer.body.len() < text.len() / 10);
            let again = connection.ask(&request).await;
            assert_eq!(again.status, 200, "the connection is still good");
        }
    }
    let json = client::get(gateway.address, "/json", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(json.header("etag"), Some("W/\"strong\""));
    assert_eq!(json.header("accept-ranges"), None);
    for (path, accepted) in [
        ("/json", "gzip;q=0"),
        ("/json", "identity"),
        ("/json", ""),
        ("/small", "gzip"),
        ("/image", "gzip"),
        ("/no-transform", "gzip"),
        ("/partial", "gzip"),
        ("/events", "gzip"),
    ] {
        let answer = client::get(gateway.address, path, &format!("Accept-Encoding: {accepted}\r\n")).await;
        assert_eq!(answer.header("content-encoding"), None, "{path} {accepted:?}");
    }
    let encoded = client::get(gateway.address, "/encoded", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(
        (encoded.header("content-encoding"), encoded.body.len()),
        (Some("gzip"), text.len())
    );
    let old = client::ask(
        gateway.address,
        "GET /json HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n",
    )
    .await;
    assert!(decode("gzip", &old.body) == text);
    let head = client::ask(
        gateway.address,
        "HEAD /json HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n",
    )
    .await;
    assert!(head.header("vary").is_some() && head.body.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_trickles_is_readable_at_once() {
    let origin = Origin::hasty(|_| {
        vec![
            Step::Send(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
                    .to_vec(),
            ),
            Step::Hang,
        ]
    })
    .await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncompress = true\n",
        origin.address
    ))
    .await;
    let mut connection = gateway.connect().await;
    connection
        .send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        .await;
    let mut seen = Vec::new();
    loop {
        seen.extend(connection.read_some().await);
        let Some(body) = seen
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|end| &seen[end + 4..])
        else {
            continue;
        };
        let Some(data) = body
            .windows(2)
            .position(|window| window == b"\r\n")
            .map(|end| &body[end + 2..])
        else {
            continue;
        };
        let mut text = [0; 5];
        if flate2::read::GzDecoder::new(data).read_exact(&mut text).is_ok() {
            assert_eq!(&text, b"first");
            break;
        }
    }
}

#[tokio::test]
async fn less_effort_is_spent_where_the_file_says_so() {
    let text: String = (1..4000_u32)
        .map(|number| format!("deal {} of 4000, ", number.wrapping_mul(2_654_435_761) % 10_000))
        .collect();
    let said = text.clone();
    let origin = Origin::start(move |_| reply(200, "Content-Type: text/plain\r\n", &said)).await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n[defaults]\ncompress = true\n\
         [[route]]\nname = \"fast\"\npath = \"/fast\"\nupstream = \"app\"\ncompress = {{ effort = \"fast\" }}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await;
    for coding in ["gzip", "br", "zstd"] {
        let fields = format!("Accept-Encoding: {coding}\r\n");
        let fast = client::get(gateway.address, "/fast", &fields).await;
        let balanced = client::get(gateway.address, "/", &fields).await;
        for answer in [&fast, &balanced] {
            assert_eq!(decode(coding, &answer.body), text.as_bytes(), "{coding}");
        }
        // What Zstandard makes of so little is decided by chance.
        assert!(coding == "zstd" || fast.body.len() > balanced.body.len(), "{coding}");
    }
}
