//! The rules of HTTP caching, section by section: an answer is kept, something may happen to it, and another request comes.
//!
//! The public suite is not to be had without the network; this table holds us to what it asks for (`docs/cache.md`).

use std::time::{Duration, SystemTime};

use crate::support::client::{self, Response};
use crate::support::gateway;
use crate::support::origin::{Origin, Received, raw, reply};

/// What the second request gets.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// What was kept: the origin hears nothing.
    Kept,
    /// What was kept, after the origin was asked whether it is still good.
    Confirmed,
    /// Another answer of the origin.
    Fetched,
    /// An answer of this status; the origin hears nothing.
    Status(u16),
}
use Then::{Confirmed, Fetched, Kept, Status};

/// The section; status and fields of the answer; the fields of the second request; what that gets. `{+60}` stands for the
/// date in 60 s, `|` for the end of a line.
type Rule = (&'static str, u16, &'static str, &'static str, Then);

const ANY: &str = "Cache-Control: max-age=60";

#[rustfmt::skip]
const RULES: &[Rule] = &[
    ("9111 §3 a lifetime", 200, ANY, "", Kept),
    ("9111 §3 nothing said", 200, "", "", Fetched),
    ("9111 §3 no-store", 200, "Cache-Control: no-store, max-age=60", "", Fetched),
    ("9111 §3 No-StOrE", 200, "Cache-Control: No-StOrE, MaX-aGe=60", "", Fetched),
    ("9111 §3 private", 200, "Cache-Control: private, max-age=60", "", Fetched),
    ("9111 §3 a status without a guess", 302, "Last-Modified: {-864000}", "", Fetched),
    ("9111 §3 a lifetime for it", 302, ANY, "", Kept),
    ("9111 §3 any final status", 599, ANY, "", Kept),
    ("9111 §3 client errors", 400, ANY, "", Kept),
    ("9111 §3 must-understand, understood", 200, "Cache-Control: max-age=60, no-store, must-understand", "", Kept),
    ("9111 §3 must-understand, not understood", 499, "Cache-Control: max-age=60, must-understand", "", Fetched),
    ("9111 §3 cookies are somebody's", 200, "Cache-Control: max-age=60|Set-Cookie: a=b", "", Fetched),
    ("9111 §3.5 credentials", 200, ANY, "Authorization: x", Fetched),
    ("9111 §3.5 public", 200, "Cache-Control: public, max-age=60", "Authorization: x", Kept),
    ("9111 §3.5 s-maxage", 200, "Cache-Control: s-maxage=60", "Authorization: x", Kept),
    ("9111 §3.5 must-revalidate", 200, "Cache-Control: max-age=60, must-revalidate", "Authorization: x", Kept),
    ("9111 §4.1 Vary, both without", 200, "Cache-Control: max-age=60|Vary: Foo", "", Kept),
    ("9111 §4.1 Vary, another", 200, "Cache-Control: max-age=60|Vary: Foo", "Foo: 2", Fetched),
    ("9111 §4.1 Vary *", 200, "Cache-Control: max-age=60|Vary: *", "", Fetched),
    ("9111 §4.1 Vary, * among others", 200, "Cache-Control: max-age=60|Vary: Foo, *", "", Fetched),
    ("9111 §4.1 Vary in two lines", 200, "Cache-Control: max-age=60|Vary: Foo|Vary: Bar", "Bar: 2", Fetched),
    ("9111 §4.2.1 s-maxage first", 200, "Cache-Control: max-age=0, s-maxage=60", "", Kept),
    ("9111 §4.2.1 s-maxage first", 200, "Cache-Control: max-age=60, s-maxage=0", "", Fetched),
    ("9111 §4.2.1 max-age before Expires", 200, "Cache-Control: max-age=60|Expires: {-60}|Date: {+0}", "", Kept),
    ("9111 §4.2.1 max-age before Expires", 200, "Cache-Control: max-age=0|Expires: {+60}|Date: {+0}", "", Fetched),
    ("9111 §4.2.1 Expires", 200, "Expires: {+60}|Date: {+0}", "", Kept),
    ("9111 §4.2.1 Expires of a fast clock", 200, "Expires: {+3660}|Date: {+3600}", "", Kept),
    ("9111 §4.2.1 Expires at its Date", 200, "Expires: {+3600}|Date: {+3600}", "", Fetched),
    ("9111 §5.3 Expires: 0", 200, "Expires: 0|Date: {+0}", "", Fetched),
    ("9111 §5.3 Expires is no date", 200, "Expires: soon|Date: {+0}|Last-Modified: {-864000}", "", Confirmed),
    ("9111 §4.2.1 in quotes", 200, "Cache-Control: max-age=\"60\"", "", Kept),
    ("9111 §4.2.1 no number", 200, "Cache-Control: max-age=60.5", "", Fetched),
    ("9111 §4.2.1 negative", 200, "Cache-Control: max-age=-1", "", Fetched),
    ("9111 §1.2.2 very large", 200, "Cache-Control: max-age=99999999999", "", Kept),
    ("9111 §4.2.1 twice", 200, "Cache-Control: max-age=60, max-age=0", "", Fetched),
    ("9111 §4.2.1 in two lines", 200, "Cache-Control: a=b|Cache-Control: max-age=60", "", Kept),
    ("9111 §5.2 no directive of ours", 200, "Cache-Control: max-age-x=60", "", Fetched),
    ("9111 §4.2.2 a guess", 200, "Last-Modified: {-864000}", "", Kept),
    ("9111 §4.2.2 a guess about 404", 404, "Last-Modified: {-864000}", "", Kept),
    ("9111 §4.2.2 a guess about 204", 204, "Last-Modified: {-864000}", "", Kept),
    ("9111 §4.2.2 none about 403", 403, "Last-Modified: {-864000}", "", Fetched),
    ("9111 §4.2.2 unless it is public", 403, "Cache-Control: public|Last-Modified: {-864000}", "", Kept),
    ("9111 §4.2.3 Age counts", 200, "Cache-Control: max-age=60|Age: 61", "", Fetched),
    ("9111 §4.2.3 Age within", 200, "Cache-Control: max-age=60|Age: 30", "", Kept),
    ("9111 §4.2.3 Age and Expires", 200, "Expires: {+60}|Date: {+0}|Age: 61", "", Fetched),
    ("9111 §4.2.3 Date counts", 200, "Cache-Control: max-age=60|Date: {-61}", "", Fetched),
    ("9111 §5.1 Age is no number", 200, "Cache-Control: max-age=60|Age: x", "", Kept),
    ("9111 §5.1 the first of several", 200, "Cache-Control: max-age=60|Age: 0, 61", "", Kept),
    ("9111 §4.2.4 stale", 200, "Cache-Control: max-age=60|Age: 61|ETag: \"a\"", "", Confirmed),
    ("9111 §4.3.1 Last-Modified", 200, "Cache-Control: max-age=60|Age: 61|Last-Modified: {-99}", "", Confirmed),
    ("9111 §4.3.2 the same tag", 200, "Cache-Control: max-age=60|ETag: \"a\"", "If-None-Match: \"a\"", Status(304)),
    ("9111 §4.3.2 one of them", 200, "Cache-Control: max-age=60|ETag: \"a\"", "If-None-Match: \"b\", W/\"a\"", Status(304)),
    ("9111 §4.3.2 any", 200, "Cache-Control: max-age=60|ETag: \"a\"", "If-None-Match: *", Status(304)),
    ("9111 §4.3.2 another", 200, "Cache-Control: max-age=60|ETag: \"a\"", "If-None-Match: \"b\"", Status(200)),
    ("9111 §4.3.2 not changed since", 200, "Cache-Control: max-age=60|Last-Modified: {-99}", "If-Modified-Since: {-99}", Status(304)),
    ("9111 §4.3.2 changed since", 200, "Cache-Control: max-age=60|Last-Modified: {-99}", "If-Modified-Since: {-199}", Status(200)),
    ("9110 §13.2.2 the tag before the date", 200, "Cache-Control: max-age=60|ETag: \"a\"|Last-Modified: {-99}",
        "If-None-Match: \"b\"|If-Modified-Since: {+0}", Status(200)),
    ("9111 §5.2.1.1 max-age", 200, "Cache-Control: max-age=60|Age: 30|ETag: \"a\"", "Cache-Control: max-age=10", Confirmed),
    ("9111 §5.2.1.1 max-age", 200, ANY, "Cache-Control: max-age=10", Kept),
    ("9111 §5.2.1.2 max-stale", 200, "Cache-Control: max-age=60|Age: 70|ETag: \"a\"", "Cache-Control: max-stale", Kept),
    ("9111 §5.2.1.2 enough", 200, "Cache-Control: max-age=60|Age: 70|ETag: \"a\"", "Cache-Control: max-stale=600", Kept),
    ("9111 §5.2.1.2 too little", 200, "Cache-Control: max-age=60|Age: 70|ETag: \"a\"", "Cache-Control: max-stale=5", Confirmed),
    ("9111 §5.2.2.2 must-revalidate", 200, "Cache-Control: max-age=60, must-revalidate|Age: 70|ETag: \"a\"", "Cache-Control: max-stale", Confirmed),
    ("9111 §5.2.2.8 proxy-revalidate", 200, "Cache-Control: max-age=60, proxy-revalidate|Age: 70|ETag: \"a\"", "Cache-Control: max-stale", Confirmed),
    ("9111 §5.2.2.10 s-maxage", 200, "Cache-Control: s-maxage=60|Age: 70|ETag: \"a\"", "Cache-Control: max-stale", Confirmed),
    ("9111 §5.2.1.3 min-fresh", 200, ANY, "Cache-Control: min-fresh=3600", Fetched),
    ("9111 §5.2.1.3 min-fresh", 200, ANY, "Cache-Control: min-fresh=10", Kept),
    ("9111 §5.2.1.4 no-cache", 200, "Cache-Control: max-age=60|ETag: \"a\"", "Cache-Control: no-cache", Confirmed),
    ("9111 §5.2.1.5 no-store", 200, ANY, "Cache-Control: no-store", Kept),
    ("9111 §5.2.1.7 only-if-cached", 200, ANY, "Cache-Control: only-if-cached", Kept),
    ("9111 §5.2.1.7 and it is not", 200, "Cache-Control: no-store", "Cache-Control: only-if-cached", Status(504)),
    ("9111 §5.4 Pragma", 200, "Cache-Control: max-age=60|ETag: \"a\"", "Pragma: no-cache", Confirmed),
    ("9111 §5.4 Cache-Control before Pragma", 200, ANY, "Cache-Control: max-age=50|Pragma: no-cache", Kept),
    ("9111 §5.4 Pragma of an answer says nothing", 200, "Cache-Control: max-age=60|Pragma: no-cache", "", Kept),
    ("9111 §5.2.2.4 no-cache", 200, "Cache-Control: no-cache, max-age=60|ETag: \"a\"", "", Confirmed),
    ("9111 §5.2.2.4 no-cache before Expires", 200, "Cache-Control: no-cache|Expires: {+60}|ETag: \"a\"", "", Confirmed),
    ("5861 §3 stale-while-revalidate", 200, "Cache-Control: max-age=60, stale-while-revalidate=600|Age: 70", "", Status(200)),
    ("5861 §3 too late", 200, "Cache-Control: max-age=60, stale-while-revalidate=5|Age: 70", "", Fetched),
    ("8246 §2 immutable needs a lifetime", 200, "Cache-Control: immutable", "", Fetched),
    ("9213 §2.2 the targeted field wins", 200, "CDN-Cache-Control: max-age=60|Cache-Control: no-store", "", Kept),
    ("9213 §2.2 also when it forbids", 200, "CDN-Cache-Control: no-store|Cache-Control: max-age=60", "", Fetched),
    ("9213 §2.2 and over Expires", 200, "CDN-Cache-Control: max-age=0|Expires: {+60}", "", Fetched),
    ("9213 §2.1 not well formed", 200, "CDN-Cache-Control: max-age=;=|Cache-Control: max-age=60", "", Kept),
    ("9213 §2.1 a wrong type", 200, "CDN-Cache-Control: max-age=\"60\"|Cache-Control: no-store", "", Fetched),
    ("9110 §14.2 a part", 200, ANY, "Range: bytes=1-2", Status(206)),
    ("9110 §14.1.2 behind the end", 200, ANY, "Range: bytes=99-", Status(416)),
    ("9110 §13.1.5 If-Range, another", 200, "Cache-Control: max-age=60|ETag: \"a\"", "Range: bytes=1-2|If-Range: \"b\"", Status(200)),
    ("9110 §13.1.5 If-Range, weak", 200, "Cache-Control: max-age=60|ETag: W/\"a\"", "Range: bytes=1-2|If-Range: W/\"a\"", Status(200)),
    ("9110 §13.1.1 If-Match is the origin's", 200, "Cache-Control: max-age=60|ETag: \"a\"", "If-Match: \"a\"", Fetched),
];

/// Lines with dates in the place of `{+60}`.
fn lines(written: &str) -> String {
    let mut text = written.replace('|', "\r\n");
    while let Some(start) = text.find('{') {
        let end = start + text[start..].find('}').expect("an end");
        let seconds: i64 = text[start + 1..end].parse().expect("seconds");
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let at = match seconds < 0 {
            true => SystemTime::now() - distance,
            false => SystemTime::now() + distance,
        };
        text.replace_range(start..=end, &httpdate::fmt_http_date(at));
    }
    match text.is_empty() {
        true => text,
        false => text + "\r\n",
    }
}

/// The path of a request: `/` and the place of its rule.
fn place(request: &Received) -> Option<usize> {
    request.line().split(' ').nth(1)?.strip_prefix('/')?.parse().ok()
}

fn is_conditional(request: &Received) -> bool {
    ["if-none-match", "if-modified-since"]
        .iter()
        .any(|name| !request.headers(name).is_empty())
}

fn body(response: &Response) -> &str {
    response.text()
}

#[tokio::test]
async fn what_may_be_used_again() {
    let origin = Origin::start(|request| {
        let Some((_, status, fields, ..)) = place(request).and_then(|place| RULES.get(place)) else {
            return reply(404, "", "");
        };
        match (is_conditional(request), *status) {
            (true, _) => raw("HTTP/1.1 304 Not Modified\r\n\r\n"),
            (false, 204) => raw(&format!("HTTP/1.1 204 No Content\r\n{}\r\n", lines(fields))),
            (false, status) => reply(status, &lines(fields), "hello"),
        }
    })
    .await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\nretry = {{ attempts = 1 }}\n[cache.c]\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"c\"\n",
        origin.address
    ))
    .await;
    let mut wrong = Vec::new();
    for (number, (section, _, answer, asked, then)) in RULES.iter().enumerate() {
        let heard = || {
            let all = origin.received();
            let mine = all.into_iter().filter(|request| place(request) == Some(number));
            mine.collect::<Vec<_>>()
        };
        let path = format!("/{number}");
        let first = client::get(gateway.address, &path, "").await;
        assert_eq!(heard().len(), 1, "{section}");
        let second = client::get(gateway.address, &path, &lines(asked)).await;
        let (times, later) = (heard().len(), heard().last().cloned().unwrap_or_default());
        let right = match then {
            Kept => times == 1 && (second.status, body(&second)) == (first.status, body(&first)),
            Confirmed => times == 2 && is_conditional(&later) && body(&second) == "hello",
            Fetched => times == 2 && !is_conditional(&later) && second.status == first.status,
            // A new one may be fetched meanwhile, after the answer.
            Status(200) if answer.contains("stale-while") => second.status == 200 && second.header("age").is_some(),
            Status(status) => times == 1 && second.status == *status,
        };
        if !right {
            let told = second.header("cache-status");
            wrong.push(format!(
                "{section}: `{answer}`, then `{asked}`: {then:?}, not {times} {} {told:?}",
                second.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What happens between two requests for `/1`, and whether the second is answered from what was kept.
const CHANGES: &[(&str, &str, &str, bool)] = &[
    ("9111 §4.4 POST", "POST /1", "", false),
    ("9111 §4.4 PUT", "PUT /1", "", false),
    ("9111 §4.4 DELETE", "DELETE /1", "", false),
    ("9111 §4.4 an unknown method", "M-SEARCH /1", "", false),
    ("9111 §4.4 Location", "POST /there?l=/1", "", false),
    ("9111 §4.4 Content-Location", "POST /there?c=/1", "", false),
    (
        "9111 §4.4 of another site",
        "POST /there?l=http://other.test/1",
        "",
        true,
    ),
    ("9111 §4.4 it failed", "POST /1", "X-Fail: 1\r\n", true),
    ("9110 §9.2.1 OPTIONS is safe", "OPTIONS /1", "", true),
    ("9110 §9.3.2 HEAD is safe", "HEAD /1", "", true),
];

#[tokio::test]
async fn what_changes_something_takes_out() {
    let origin = Origin::start(|request| {
        let target = request.line().split(' ').nth(1).unwrap_or_default().to_owned();
        let named = |key: &str| target.split_once(key).map(|(_, place)| place.to_owned());
        let fields = match (named("?l="), named("?c=")) {
            (Some(place), _) => format!("Location: {place}\r\n"),
            (_, Some(place)) => format!("Content-Location: {place}\r\n"),
            _ => "Cache-Control: max-age=60\r\n".to_owned(),
        };
        match (
            request.line().starts_with("HEAD"),
            !request.headers("x-fail").is_empty(),
        ) {
            (true, _) => raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: max-age=60\r\n\r\n"),
            (_, failed) => reply(if failed { 500 } else { 200 }, &fields, "hello"),
        }
    })
    .await;
    for (section, between, fields, kept) in CHANGES {
        let gateway = gateway::start(&format!(
            "[upstream.app]\nservers = [\"{}\"]\n[cache.c]\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"c\"\n",
            origin.address
        ))
        .await;
        let gets = || {
            origin
                .received()
                .iter()
                .filter(|request| request.line() == "GET /1 HTTP/1.1")
                .count()
        };
        let before = gets();
        client::get(gateway.address, "/1", "").await;
        let framing = "Content-Length: 0\r\nConnection: close\r\n";
        let request = format!("{between} HTTP/1.1\r\nHost: site.test\r\n{fields}{framing}\r\n");
        client::ask(gateway.address, request).await;
        client::get(gateway.address, "/1", "").await;
        assert_eq!(gets() - before == 1, *kept, "{section}");
    }
}
