//! What a request costs: by route, by method, and by what the application says.

use super::{get, limited};
use crate::support::client;
use crate::support::gateway;
use crate::support::origin::{Origin, reply};

/// How much is left, as draft 10 tells it.
fn left(answer: &client::Response) -> u32 {
    let stand = answer.header("ratelimit").expect("ratelimit");
    let left = stand.split(';').find_map(|part| part.strip_prefix("r=")).expect("r");
    left.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_names_a_limit_with_a_cost_of_its_own() {
    let gateway = gateway::start(
        "[rate_limit.api]\nrate = \"10/d\"\nmethod_costs = { POST = 2 }\n\
         [[route]]\nname = \"dear\"\npath = \"/dear\"\nrate_limit = [{ name = \"api\", cost = 4 }]\nrespond = {}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nrate_limit = [\"api\"]\nrespond = {}\n",
    )
    .await;
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(left(&gateway.get("/dear").await), 6);
    assert_eq!(left(&gateway.get("/x").await), 5);
    assert_eq!(
        left(&client::ask(gateway.address, post("/dear")).await),
        1,
        "the route's cost, whatever the method"
    );
    assert_eq!(gateway.get("/dear").await.status, 429);
    assert_eq!(client::ask(gateway.address, post("/x")).await.status, 429);
    assert_eq!(left(&gateway.get("/x").await), 0, "what was refused was not charged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_have_their_cost() {
    let limit = "[rate_limit.api]\nrate = \"10/d\"\ncost = 3\nmethod_costs = { POST = 5, HEAD = 0 }";
    let gateway = limited(limit, "\"api\"").await;
    assert_eq!(left(&get(&gateway, "").await), 7);
    let ask = async |method: &str| {
        let request = format!("{method} /x HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n");
        client::ask(gateway.address, request).await
    };
    assert_eq!(left(&ask("POST").await), 2);
    assert_eq!(ask("POST").await.status, 429);
    for _ in 0..5 {
        let free = ask("HEAD").await;
        assert_eq!((free.status, free.header("ratelimit")), (200, None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_says_what_a_request_has_cost() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/four") => reply(200, "X-Cost: 4\r\n", "ok"),
        line if line.contains("/none") => reply(200, "X-Cost: 0\r\n", "ok"),
        line if line.contains("/word") => reply(200, "X-Cost: much\r\n", "ok"),
        line if line.contains("/all") => reply(500, "X-Cost: 1\r\nX-Cost: 999999999999\r\n", "ok"),
        _ => reply(200, "", "ok"),
    })
    .await;
    let gateway = gateway::start(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\n\
         [rate_limit.api]\nrate = \"10/d\"\ncost_header = \"X-Cost\"\nallow = [\"10.0.0.0/8\"]\n\
         [upstream.app]\nservers = [\"{}\"]\n\
         [[route]]\nname = \"open\"\npath = \"/open/*\"\nupstream = \"app\"\n\
         [[route]]\nname = \"app\"\npath = \"/*\"\nrate_limit = [\"api\"]\nupstream = \"app\"\n",
        origin.address
    ))
    .await;
    for (path, expected) in [("/x", 9), ("/four", 5), ("/none", 4), ("/word", 3), ("/x", 2)] {
        let answer = gateway.get(path).await;
        assert_eq!((answer.status, left(&answer)), (200, expected), "{path}");
        assert_eq!(answer.header("x-cost"), None, "{path}");
    }
    // It cannot be refused any more, and leaves nothing.
    let answer = gateway.get("/all").await;
    assert_eq!((answer.status, left(&answer)), (500, 0));
    assert!(
        answer
            .headers
            .iter()
            .all(|(name, _)| !name.eq_ignore_ascii_case("x-cost"))
    );
    assert_eq!(gateway.get("/x").await.status, 429);
    // The field is taken from those who are not counted, too; elsewhere it is a field like any other.
    let exempt = client::get(gateway.address, "/four", "X-Forwarded-For: 10.1.1.1\r\n").await;
    assert_eq!((exempt.status, exempt.header("x-cost")), (200, None));
    assert_eq!(gateway.get("/open/four").await.header("x-cost"), Some("4"));
}
