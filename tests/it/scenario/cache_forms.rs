//! Compressed forms of what is kept: made once, given to all who take the coding.

use std::io::Read as _;

use crate::support::client::{self, Response};
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, reply};

const FIELDS: &str = "Cache-Control: max-age=60\r\nContent-Type: text/plain\r\nETag: \"strong\"\r\n";

async fn before(body: String) -> (Origin, Running) {
    let origin = Origin::start(move |_| reply(200, FIELDS, &body)).await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n[cache.c]\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"c\"\n\
         compress = {{ codings = [\"gzip\", \"br\"] }}\n",
        origin.address
    ))
    .await;
    (origin, gateway)
}

async fn get(gateway: &Running, coding: &str) -> Response {
    client::get(gateway.address, "/", &format!("Accept-Encoding: {coding}\r\n")).await
}

fn decoded(response: &Response) -> String {
    let mut text = String::new();
    let mut gzip = flate2::read::GzDecoder::new(&response.body[..]);
    gzip.read_to_string(&mut text).expect("gzip");
    text
}

#[tokio::test]
async fn a_hit_is_not_compressed_again() {
    // Numbers: what is left of them compressed is more than what an entry takes beside its body.
    let numbers = (1..4000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_string());
    let body = format!("deals {}", numbers.collect::<String>());
    let (origin, gateway) = before(body.clone()).await;
    let first = get(&gateway, "gzip").await;
    assert!(decoded(&first) == body);
    let second = get(&gateway, "gzip").await;
    let length = second.header("content-length").map(str::to_owned);
    assert_eq!(length, Some(second.body.len().to_string()), "it is known");
    assert!(decoded(&second) == body);
    let weight = gateway.metric("gateway_cache_bytes{cache=\"c\"}").await;
    let both = (body.len() + second.body.len()) as f64;
    assert!(weight > both, "it counts in the memory of the cache: {weight}, {both}");
    for _ in 0..3 {
        let again = get(&gateway, "gzip").await;
        assert_eq!(
            (again.body == second.body, again.header("content-length")),
            (true, length.as_deref())
        );
        assert_eq!(again.header("content-encoding"), Some("gzip"));
        assert_eq!(again.header("etag"), Some("W/\"strong\""));
        assert_eq!(again.header("vary"), Some("Accept-Encoding"));
        assert!(again.header("cache-status").is_some_and(|said| said.contains("; hit")));
    }
    assert_eq!(gateway.metric("gateway_cache_bytes{cache=\"c\"}").await, weight);

    let other = get(&gateway, "br").await;
    assert_eq!(other.header("content-encoding"), Some("br"));
    assert_eq!(
        other.header("content-length"),
        Some(other.body.len().to_string().as_str())
    );
    let none = get(&gateway, "identity").await;
    assert_eq!(
        (none.text(), none.header("etag"), none.header("vary")),
        (&*body, Some("\"strong\""), Some("Accept-Encoding"))
    );
    let known = client::get(
        gateway.address,
        "/",
        "Accept-Encoding: gzip\r\nIf-None-Match: W/\"strong\"\r\n",
    )
    .await;
    assert_eq!((known.status, known.header("etag")), (304, Some("W/\"strong\"")));
    let part = client::get(gateway.address, "/", "Accept-Encoding: gzip\r\nRange: bytes=0-4\r\n").await;
    assert_eq!(
        (part.status, part.text()),
        (206, "deals"),
        "a range is of the plain bytes"
    );
    assert_eq!(origin.received().len(), 1);
}

#[tokio::test]
async fn a_large_one_is_compressed_aside() {
    let body = "deals ".repeat(100_000);
    let (origin, gateway) = before(body.clone()).await;
    get(&gateway, "gzip").await;
    eventually("it is kept compressed", async || {
        let answer = get(&gateway, "gzip").await;
        assert!(decoded(&answer) == body);
        answer.header("content-length").is_some()
    })
    .await;
    assert_eq!(origin.received().len(), 1);
}
