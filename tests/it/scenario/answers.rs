//! Answers of the gateway's own.

use crate::support::client;
use crate::support::gateway;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_speaks_the_clients_language_and_keeps_its_connection() {
    let gateway = gateway::start("[[route]]\nname = \"x\"\npath = \"/x\"\nrespond = { body = \"x\" }\n").await;
    let mut connection = gateway.connect().await;
    for (accept, media_type) in [
        ("application/json", "application/problem+json"),
        ("*/*", "application/problem+json"),
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/html; charset=utf-8",
        ),
        ("text/plain", "text/plain; charset=utf-8"),
    ] {
        let answer = connection
            .ask(&format!("GET /nothing HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"))
            .await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, Some(media_type)),
            "{accept}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("connection"), Some("keep-alive"));
        assert!(!answer.text().to_lowercase().contains("pingora"));
        let id = answer.header("x-request-id").expect("an id").to_owned();
        assert!(
            answer.text().contains(&id),
            "a person can quote the id: {}",
            answer.text()
        );
    }
    let head = connection.ask("HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
    assert_eq!(
        connection.ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await.text(),
        "x",
        "the connection is still good"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fixed_answers_are_as_written() {
    let gateway = gateway::start(
        "[[route]]\nname = \"health\"\npath = \"/health\"\naccess_log = false\n\
         respond = { status = 200, content_type = \"text/plain\", body = \"healthy\\n\", headers = { X-A = \"b\" } }\n\
         [[route]]\nname = \"gone\"\npath = \"/gone\"\nrespond = { status = 204 }\n",
    )
    .await;
    let answer = gateway.get("/health").await;
    assert_eq!((answer.status, answer.text()), (200, "healthy\n"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!(answer.header("x-a"), Some("b"));
    let gone = gateway.get("/gone").await;
    assert_eq!((gone.status, gone.header("content-length")), (204, None));
    // A body that nobody wants does not spoil the connection's next request.
    let mut connection = gateway.connect().await;
    connection
        .send("POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    assert_eq!(connection.response(false).await.expect("an answer").text(), "healthy\n");
    assert_eq!(
        gateway.logged(1).await["route"],
        "gone",
        "the other route is not logged"
    );
    let _ = client::get(gateway.address, "/gone", "").await;
}
