//! Which route takes a request, and what routes do by themselves.

use crate::support::client;
use crate::support::gateway;
use crate::support::origin::{Origin, reply};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_specific_route_wins() {
    let route = |name: &str, conditions: &str| {
        format!("[[route]]\nname = \"{name}\"\n{conditions}\nrespond = {{ body = \"{name}\" }}\n")
    };
    let gateway = gateway::start(
        &[
            route("all", "path = \"/*\""),
            route("api", "path = \"/api/*\""),
            route("exact", "path = \"/api/exact\""),
            route("regex", "path = '~^/r/[0-9]+$'\nhost = \"regex.example\""),
            route("posts", "path = \"/api/*\"\nmethods = [\"POST\"]"),
            route("images", "path = \"/*\"\nextensions = [\"png\"]"),
            route("beta", "path = \"/api/*\"\nwhen = { header = { x-beta = \"1\" } }"),
            route("host", "path = \"/*\"\nhost = \"special.test\""),
            route("wild", "path = \"/*\"\nhost = \"*.test\""),
        ]
        .concat(),
    )
    .await;
    let ask = async |method: &str, host: &str, path: &str, fields: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{fields}\r\n");
        client::ask(gateway.address, request).await.text().to_owned()
    };
    assert_eq!(ask("GET", "a", "/", "").await, "all");
    assert_eq!(ask("GET", "a", "/api", "").await, "api");
    assert_eq!(ask("GET", "a", "/api/x", "").await, "api");
    assert_eq!(ask("GET", "a", "/apix", "").await, "all");
    assert_eq!(ask("GET", "a", "/%61pi/x", "").await, "api");
    assert_eq!(ask("GET", "a", "/x/..//api/x", "").await, "api");
    assert_eq!(ask("GET", "a", "/api/exact", "").await, "exact");
    assert_eq!(ask("GET", "regex.example", "/r/12", "").await, "regex");
    assert_eq!(ask("GET", "regex.example", "/r/x", "").await, "all");
    assert_eq!(ask("POST", "a", "/api/x", "").await, "posts");
    assert_eq!(ask("GET", "a", "/logo.PNG", "").await, "images");
    assert_eq!(ask("GET", "a", "/api/x", "X-Beta: 1\r\n").await, "beta");
    assert_eq!(ask("GET", "Special.test:80", "/api/x", "").await, "host");
    assert_eq!(ask("GET", "other.test", "/api/exact", "").await, "wild");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_fill_in_what_was_asked() {
    let gateway = gateway::start(
        "[[route]]\nname = \"old\"\npath = '~^/old/(?<id>[0-9]+)$'\nredirect = { to = \"/new/${id}\", status = 301 }\n\
         [[route]]\nname = \"www\"\nhost = \"www.site.test\"\npath = \"/*\"\n\
         redirect = { to = \"https://site.test${path}?${query}\", status = 308 }\n",
    )
    .await;
    let answer = gateway.get("/old/17").await;
    assert_eq!((answer.status, answer.header("location")), (301, Some("/new/17")));
    let answer = client::ask(gateway.address, "GET /a?b=c HTTP/1.1\r\nHost: www.site.test\r\n\r\n").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (308, Some("https://site.test/a?b=c"))
    );
    assert_eq!(gateway.get("/old/x").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_raw_path_is_forwarded_and_rewritten_only_on_demand() {
    let origin = Origin::start(|_| reply(200, "", "")).await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n\
         [[route]]\nname = \"strip\"\npath = \"/v1/*\"\nupstream = \"app\"\nrewrite = {{ strip_prefix = \"/v1\", add_prefix = \"/api\" }}\n\
         [[route]]\nname = \"regex\"\npath = \"/item/*\"\nupstream = \"app\"\nrewrite = {{ regex = '^/item/(\\d+)$', replace = '/items/$1' }}\n",
        origin.address
    ))
    .await;
    for (asked, forwarded) in [
        ("/a//b/./c%41?x=%20&y=|", "/a//b/./c%41?x=%20&y=|"),
        ("/a/b/..", "/a/b/.."),
        ("/v1/deals?limit=3", "/api/deals?limit=3"),
        ("/v1", "/api"),
        ("/item/17?x", "/items/17?x"),
    ] {
        assert_eq!(gateway.get(asked).await.status, 200, "{asked}");
        assert_eq!(origin.last().line(), format!("GET {forwarded} HTTP/1.1"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_list_lets_in_whom_it_names() {
    let gateway = gateway::start(
        "trusted_proxies = [\"127.0.0.0/8\"]\n[[route]]\nname = \"inside\"\npath = \"/\"\nallow = [\"10.0.0.0/8\"]\nrespond = { body = \"in\" }\n",
    )
    .await;
    assert_eq!(
        client::get(gateway.address, "/", "X-Forwarded-For: 10.1.2.3\r\n")
            .await
            .status,
        200
    );
    assert_eq!(
        client::get(gateway.address, "/", "X-Forwarded-For: 10.1.2.3, 192.0.2.1\r\n")
            .await
            .status,
        403
    );
    assert_eq!(gateway.get("/").await.status, 403);
}
