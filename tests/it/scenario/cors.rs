//! `[cors.NAME]`: who may read which answer from another site.

use crate::support::client::{self, Response};
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, Step, reply};

const SITE: &str = "https://deals247.online";
const OURS: [&str; 7] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
    "access-control-allow-private-network",
];

/// As express with its middleware answers: everybody may read everything.
fn express(path: &str) -> Vec<Step> {
    match path {
        line if line.contains("/reset") => vec![Step::Close],
        _ => reply(
            200,
            "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: X-Secret\r\nVary: Accept\r\n",
            "ok",
        ),
    }
}

/// The application, and a gateway before it whose routes are like the contract's.
async fn site() -> (Running, Origin) {
    let origin = Origin::start(|request| express(request.line())).await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n\
         [cors.api]\norigins = [\"{SITE}\", \"http://localhost:5173\", \"https://*.deals247.online\"]\n\
         methods = [\"GET\", \"POST\", \"PUT\", \"DELETE\"]\nheaders = [\"Authorization\", \"firebase-uid\"]\n\
         expose = [\"X-Request-Id\"]\ncredentials = true\nmax_age = \"10min\"\n\
         [rate_limit.once]\nrate = \"1/d\"\n\
         [[route]]\nname = \"api\"\npath = \"/api/*\"\nupstream = \"app\"\ncors = \"api\"\n\
         [[route]]\nname = \"deals\"\npath = \"/api/deals/*\"\nmethods = [\"GET\", \"HEAD\"]\nupstream = \"app\"\ncors = \"api\"\n\
         [[route]]\nname = \"once\"\npath = \"/api/once\"\nupstream = \"app\"\ncors = \"api\"\nrate_limit = [\"once\"]\n\
         concurrency = {{ limit = 1, queue = 0 }}\n\
         [[route]]\nname = \"inside\"\npath = \"/api/inside\"\nupstream = \"app\"\ncors = \"api\"\nallow = [\"10.0.0.0/8\"]\n\
         [[route]]\nname = \"small\"\npath = \"/api/small\"\nupstream = \"app\"\ncors = \"api\"\nmax_body = \"1B\"\n\
         [[route]]\nname = \"health\"\npath = \"/api/health/*\"\nserve = \"health\"\ncors = \"api\"\n\
         [[route]]\nname = \"reads\"\npath = \"/reads\"\nmethods = [\"GET\"]\nupstream = \"app\"\n\
         [[route]]\nname = \"writes\"\npath = \"/reads\"\nupstream = \"app\"\ncors = \"api\"\n\
         [[route]]\nname = \"open\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await;
    (gateway, origin)
}

async fn preflight(gateway: &Running, path: &str, origin: &str, method: &str) -> Response {
    client::ask(
        gateway.address,
        format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: site.test\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n\
             Access-Control-Request-Headers: authorization\r\n\r\n"
        ),
    )
    .await
}

fn none_of_ours(answer: &Response) {
    for name in OURS {
        assert_eq!(answer.header(name), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preflights_are_answered_here_and_cost_nothing() {
    let (gateway, origin) = site().await;
    // Whichever route serves the method, and also where the route refuses the method of the preflight itself.
    for (path, method) in [
        ("/api/users", "PUT"),
        ("/api/deals/7", "GET"),
        ("/api/deals/7", "POST"),
        ("/api/deals/7", "DELETE"),
        ("/api/health/live", "GET"),
        ("/reads", "PUT"),
        // The route of the GET says nothing about other sites: the route of the OPTIONS answers.
        ("/reads", "GET"),
        ("/api/once", "POST"),
        ("/api/once", "POST"),
        ("/api/once", "POST"),
        ("/api/small", "POST"),
    ] {
        let answer = preflight(&gateway, path, SITE, method).await;
        assert_eq!(answer.status, 204, "{path} {method}");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(SITE),
            "{path} {method}"
        );
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(
            answer.header("access-control-allow-methods"),
            Some("GET, POST, PUT, DELETE")
        );
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some("Authorization, firebase-uid")
        );
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
        assert_eq!(answer.header("access-control-expose-headers"), None);
        assert_eq!(answer.header("vary"), Some("Origin"));
        assert_eq!(answer.header("content-length"), None);
        assert_eq!(answer.header("ratelimit"), None);
    }
    assert!(origin.received().is_empty(), "none reached the application");
    gateway.logged(11).await;
    assert!(gateway.log().await.iter().all(|line| line["limit"].is_null()));

    let stranger = preflight(&gateway, "/api/users", "https://evil.example", "PUT").await;
    assert_eq!((stranger.status, stranger.header("vary")), (204, Some("Origin")));
    none_of_ours(&stranger);
    // Addresses come first.
    assert_eq!(preflight(&gateway, "/api/inside", SITE, "PUT").await.status, 403);

    // What is no preflight, and what no policy answers, is the application's.
    let options = "OPTIONS /api/users HTTP/1.1\r\nHost: site.test\r\nOrigin: https://deals247.online\r\n\r\n";
    assert_eq!(client::ask(gateway.address, options).await.status, 200);
    assert_eq!(preflight(&gateway, "/x", SITE, "PUT").await.status, 200);
    assert_eq!(origin.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_applications_word_is_replaced() {
    let (gateway, _origin) = site().await;
    let get = async |path: &str, fields: &str| client::get(gateway.address, path, fields).await;
    for origin in [SITE, "http://localhost:5173", "https://www.deals247.online"] {
        let answer = get("/api/deals/7", &format!("Origin: {origin}\r\n")).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("access-control-expose-headers"), Some("X-Request-Id"));
        assert_eq!(answer.header("vary"), Some("Accept, Origin"));
        assert_eq!(answer.text(), "ok");
    }
    for fields in [
        "",
        "Origin: null\r\n",
        "Origin: https://deals247.online.evil.example\r\n",
    ] {
        let answer = get("/api/deals/7", fields).await;
        assert_eq!((answer.status, answer.header("vary")), (200, Some("Accept, Origin")));
        none_of_ours(&answer);
    }
    // A route without a policy leaves it alone.
    let answer = get("/x", "Origin: https://evil.example\r\n").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-expose-headers"), Some("X-Secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_can_be_read_by_who_may_read_answers() {
    let (gateway, _origin) = site().await;
    let ask = async |method: &str, path: &str, origin: &str, fields: &str, body: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: site.test\r\nOrigin: {origin}\r\n{fields}\r\n{body}");
        client::ask(gateway.address, head).await
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(ask("GET", "/api/once", SITE, "", "").await.status, 200);
    for (method, path, fields, body, status) in [
        ("GET", "/api/once", "", "", 429),
        ("GET", "/api/inside", "", "", 403),
        ("GET", "/api/reset", "", "", 502),
        ("POST", "/api/small", "Content-Length: 2\r\n", "", 413),
        ("POST", "/api/small", chunked, "2\r\nxx\r\n0\r\n\r\n", 413),
        ("DELETE", "/api/health/live", "", "", 405),
    ] {
        let answer = ask(method, path, SITE, fields, body).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(SITE),
            "{status} {path}"
        );
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("vary"), Some("Origin"), "{status} {path}");
        let stranger = ask(method, path, "https://evil.example", fields, body).await;
        assert_eq!((stranger.status, stranger.header("vary")), (status, Some("Origin")));
        none_of_ours(&stranger);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_hold_where_no_route_answers_and_everybody_is_everybody() {
    let gateway = gateway::start(
        "[cors.open]\norigins = [\"*\"]\nheaders = [\"*\"]\n[defaults]\ncors = \"open\"\n\
         [[route]]\nname = \"a\"\npath = \"/a\"\nrespond = { body = \"a\" }\n\
         [[route]]\nname = \"b\"\npath = \"/b\"\ncors = false\nrespond = { body = \"b\" }\n",
    )
    .await;
    for (path, fields, status, expected) in [
        ("/a", "", 200, Some("*")),
        ("/a", "Origin: null\r\n", 200, Some("*")),
        ("/none", "Origin: null\r\n", 404, Some("*")),
        ("/b", "Origin: null\r\n", 200, None),
    ] {
        let answer = client::get(gateway.address, path, fields).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), expected, "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("vary"), None, "the same for everybody");
    }
    let answer = preflight(&gateway, "/a", "null", "GET").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization"));
    assert_eq!(answer.header("vary"), Some("Access-Control-Request-Headers"));
}
