//! What the handlers do: identity, bodies, writes, short links.

use super::*;
use crate::demo::data::{ADMIN, USER};

#[tokio::test]
async fn identity_is_whatever_is_said_in_this_order() {
    let server = replica().await;
    let address = server.address();
    let ask = async |target: &str, fields: Vec<String>| {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let answer = ask(address, &format!("GET {target}"), &fields, b"").await;
        (answer.status, answer.text().to_owned())
    };
    let target = "/api/users";
    assert_eq!(
        ask(target, vec![]).await,
        (401, r#"{"error":"Authentication required"}"#.to_owned())
    );
    assert_eq!(ask(target, vec!["Authorization: Bearer x".to_owned()]).await.0, 401);
    assert_eq!(
        ask(target, vec![uid("nobody")]).await,
        (401, r#"{"error":"User not found"}"#.to_owned())
    );
    assert_eq!(
        ask(target, vec![uid(USER)]).await,
        (403, r#"{"error":"Admin access required"}"#.to_owned())
    );
    assert_eq!(ask(target, vec![uid(ADMIN)]).await.0, 200);
    assert_eq!(ask("/api/users?firebase_uid=nobody", vec![uid(ADMIN)]).await.0, 401);
    assert_eq!(
        ask("/api/users?firebase_uid=fbAdmin000000000000000000001", vec![uid(USER)])
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn a_body_outranks_the_header() {
    let server = replica().await;
    let body = format!(r#"{{"dealId":499,"firebase_uid":"{USER}"}}"#);
    let fields = ["Content-Type: application/json", &uid("nobody")];
    let answer = ask(server.address(), "POST /api/favorites", &fields, body.as_bytes()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let again = ask(server.address(), "POST /api/favorites", &fields, body.as_bytes()).await;
    assert_eq!(again.status, 409);
}

#[tokio::test]
async fn bodies_it_does_not_like_are_its_own_fault() {
    let server = replica().await;
    let broken = r#"{"error":"Something went wrong!"}"#;
    for (what, media_type, body) in [
        ("malformed", "application/json", b"{".to_vec()),
        ("neither object nor array", "application/json", b"1".to_vec()),
        (
            "too large",
            "application/json",
            [&b"{\"a\":\""[..], &vec![b'x'; 300_000], b"\"}"].concat(),
        ),
        ("not parsed", "multipart/form-data; boundary=x", b"--x--".to_vec()),
    ] {
        let field = format!("Content-Type: {media_type}");
        let answer = ask(server.address(), "POST /api/deals", &[&field], &body).await;
        assert_eq!((answer.status, answer.text()), (500, broken), "{what}");
    }
    let form = ask(
        server.address(),
        "POST /api/contact",
        &["Content-Type: application/x-www-form-urlencoded"],
        b"name=a&email=b%40example.org&message=c+d",
    )
    .await;
    assert_eq!(form.status, 200);
    let incomplete = send(&server, "POST /api/contact", "{}").await;
    assert_eq!(
        (incomplete.status, &incomplete.json()["success"]),
        (400, &serde_json::Value::Bool(false))
    );
}

#[tokio::test]
async fn writes_have_their_answers() {
    let server = replica().await;
    for (line, body, status, length) in [
        ("POST /api/deals", r#"{"title":"x","store":"y"}"#, 201, 48),
        ("PUT /api/deals/501", r#"{"title":"z"}"#, 200, 39),
        ("POST /api/deals/501/view", r#"{"userId":1}"#, 200, 32),
        ("POST /api/deals/501/view", "{}", 400, 31),
        ("POST /api/engagement/deal/501/click", "{}", 200, 41),
    ] {
        let answer = send(&server, line, body).await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (status, length),
            "{line}: {}",
            answer.text()
        );
    }
    let admin = uid(ADMIN);
    let delete = ask(server.address(), "DELETE /api/deals/501", &[&admin], b"").await;
    assert_eq!((delete.status, delete.body.len()), (200, 39));
    assert_eq!(get(&server, "/api/deals/501").await.status, 404);
    let restore = ask(server.address(), "POST /api/deals/501/restore", &[&admin], b"").await;
    assert_eq!((restore.status, restore.body.len()), (200, 40));
    assert_eq!(get(&server, "/api/deals/501").await.json()["total_clicks"], 1);
}

#[tokio::test]
async fn short_links_count_and_redirect() {
    let server = replica().await;
    let clicks = |list: &Answer| list.json()["data"][0]["clicks"].as_u64().unwrap();
    let before = clicks(&get(&server, "/api/shortener").await);
    let text = get(&server, "/s/d001").await;
    let location = text.header("location").unwrap();
    assert_eq!(text.text(), format!("Found. Redirecting to {location}"));
    let html = ask(
        server.address(),
        "GET /api/shortener/d001",
        &["Accept: text/html,*/*;q=0.8"],
        b"",
    )
    .await;
    assert_eq!(html.text(), format!("<p>Found. Redirecting to {location}</p>"));
    assert_eq!(ask(server.address(), "HEAD /s/d001", &[], b"").await.status, 302);
    assert_eq!(clicks(&get(&server, "/s").await), before + 3);

    let made = send(
        &server,
        "POST /api/shortener",
        r#"{"longUrl":"https://example.org/x","customCode":"mine"}"#,
    )
    .await;
    assert_eq!(made.json()["shortUrl"], "http://localhost:5000/s/mine");
    assert_eq!(
        get(&server, "/s/mine").await.header("location"),
        Some("https://example.org/x")
    );
    assert_eq!(
        send(&server, "POST /s", r#"{"longUrl":"https://a","customCode":"mine"}"#)
            .await
            .status,
        409
    );
    assert_eq!(send(&server, "POST /s", r#"{"longUrl":"ftp://a"}"#).await.status, 400);
    assert_eq!(ask(server.address(), "DELETE /s/31", &[], b"").await.status, 200);
    assert_eq!(get(&server, "/s/mine").await.status, 404);
}
