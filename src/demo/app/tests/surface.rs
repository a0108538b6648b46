//! What every answer looks like: sizes, fields, entity tags; how paths are taken.

use super::*;
use crate::demo::data::{ADMIN, USER};

/// What is wrong with a size: it should be within a twentieth of the observed one, or the same where that is short.
fn deviation(target: &str, answer: &Answer, observed: usize) -> Option<String> {
    let (length, tolerance) = (answer.body.len(), if observed < 100 { 0 } else { observed / 20 });
    (length.abs_diff(observed) > tolerance).then(|| format!("{target}: {length} instead of {observed}"))
}

#[tokio::test]
async fn sizes_are_those_observed() {
    let server = replica().await;
    let mut wrong = Vec::new();
    for (target, size) in [
        ("/api/health", 51),
        ("/api/deals/7", 800),
        ("/api/deals/999", 26),
        ("/api/deals", 9_911),
        ("/api/deals?limit=100", 82_237),
        ("/api/deals?limit=500", 406_058),
        ("/api/categories", 2_775),
        ("/api/categories/2", 152),
        ("/api/stores", 1_300),
        ("/api/stores/2", 107),
        ("/api/subscriptions/plans", 579),
        ("/api/newsletter/count", 2),
        ("/api/reviews/deal/7", 1_500),
        ("/api/shortener", 6_500),
        ("/s/absent", 97),
        ("/s/d001", 79),
    ] {
        let answer = get(&server, target).await;
        wrong.extend(deviation(target, &answer, size));
        assert_eq!(
            answer.header("content-length"),
            Some(&*answer.body.len().to_string()),
            "{target}"
        );
    }
    for (target, size) in [
        ("/api/favorites", 19_063),
        ("/api/favorites/1/check", 20),
        ("/api/users", 12_000),
        (&*format!("/api/users/profile/{USER}"), 200),
        ("/api/notifications", 5_500),
        ("/api/notifications/unread-count", 12),
        ("/api/subscriptions/status", 151),
        ("/api/bulk/deals/export", 255_812),
        ("/api/bulk/deals/export?format=csv", 178_000),
        ("/api/analytics/summary", 12_000),
        ("/api/analytics/users/engagement", 19_560),
    ] {
        let answer = ask(server.address(), &format!("GET {target}"), &[&uid(ADMIN)], b"").await;
        assert_eq!(answer.status, 200, "{target}");
        wrong.extend(deviation(target, &answer, size));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn the_fields_are_these_and_no_others() {
    let server = replica().await;
    let base = [
        "access-control-allow-origin",
        "connection",
        "content-length",
        "date",
        "x-powered-by",
    ];
    let expect = |more: &[&'static str]| {
        let mut names = [&base[..], more].concat();
        names.sort_unstable();
        names
    };
    let address = server.address();
    for (line, fields, status, more) in [
        ("GET /api/deals", &[][..], 200, &["content-type", "etag"][..]),
        ("HEAD /api/deals", &[], 200, &["content-type", "etag"]),
        ("GET /api/deals/0", &[], 404, &["content-type", "etag"]),
        ("GET /api/favorites", &[], 401, &["content-type", "etag"]),
        ("GET /api/deals?limit=x", &[], 500, &["content-type", "etag"]),
        ("GET /s/d001", &[], 302, &["content-type", "location", "vary"]),
        (
            "GET /nowhere",
            &[],
            404,
            &["content-security-policy", "content-type", "x-content-type-options"],
        ),
        ("OPTIONS /nowhere", &[], 204, &["access-control-allow-methods", "vary"]),
        (
            "OPTIONS /api/deals",
            &["Access-Control-Request-Headers: firebase-uid,content-type"],
            204,
            &["access-control-allow-methods", "access-control-allow-headers", "vary"],
        ),
    ] {
        let answer = ask(address, line, fields, b"").await;
        assert_eq!(answer.status, status, "{line}");
        let mut names = expect(more);
        if status == 204 {
            // hyper leaves out a length that RFC 9110 §8.6 forbids on a 204.
            names.retain(|name| *name != "content-length");
        }
        assert_eq!(answer.names(), names, "{line}");
        assert_eq!(answer.header("x-powered-by"), Some("Express"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    let preflight = ask(address, "OPTIONS /x", &["Access-Control-Request-Headers: a, b"], b"").await;
    assert_eq!(preflight.header("access-control-allow-headers"), Some("a, b"));
}

#[tokio::test]
async fn entity_tags_revalidate() {
    let server = replica().await;
    let whole = get(&server, "/api/stores").await;
    let tag = whole.header("etag").unwrap();
    assert!(
        tag.starts_with(&format!("W/\"{:x}-", whole.body.len())) && tag.len() == 35,
        "{tag}"
    );
    let known = format!("If-None-Match: \"other\", {tag}");
    for line in ["GET /api/stores", "HEAD /api/stores"] {
        let answer = ask(server.address(), line, &[&known], b"").await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{line}");
        assert_eq!(answer.header("etag"), Some(tag));
        assert_eq!(
            (answer.header("content-type"), answer.header("content-length")),
            (None, None)
        );
    }
    let reload = ask(
        server.address(),
        "GET /api/stores",
        &[&known, "Cache-Control: no-cache"],
        b"",
    )
    .await;
    assert_eq!(reload.status, 200);
    let other = ask(server.address(), "GET /api/stores", &["If-None-Match: W/\"x\""], b"").await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn paths_are_taken_as_they_are() {
    let server = replica().await;
    for (target, status) in [
        ("/api/health", 200),
        ("/API/Health/", 200),
        ("//api/health", 404),
        ("/x/../api/health", 404),
        ("/%61pi/health", 404),
        ("/api/health/x", 404),
        ("/api", 404),
        ("/api/deals/%zz", 500),
        ("/s/%ff", 500),
        ("/api/deals/seven", 404),
        ("/api/deals?sortBy=ending_soon", 500),
        ("/api/deals?limit=-1", 500),
        ("/api/sponsored/deals", 500),
    ] {
        assert_eq!(get(&server, target).await.status, status, "{target}");
    }
    let page = get(&server, "/nowhere/\"b\"").await;
    assert!(
        (130..165).contains(&page.body.len()) && page.text().contains("Cannot GET /nowhere/&quot;b&quot;"),
        "{}",
        page.text()
    );
    assert_eq!(ask(server.address(), "PATCH /api/deals/1", &[], b"").await.status, 404);
}

#[tokio::test]
async fn csv_is_an_attachment() {
    let server = replica().await;
    let answer = ask(
        server.address(),
        "GET /api/bulk/deals/export?format=csv",
        &[&uid(ADMIN)],
        b"",
    )
    .await;
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(
        answer
            .header("content-disposition")
            .unwrap()
            .starts_with("attachment; filename=\"deals_export_20")
    );
    assert_eq!(answer.text().lines().count(), 501);
}

#[tokio::test]
async fn echoes_the_request() {
    let server = replica().await;
    let answer = ask(
        server.address(),
        "POST /__echo?a=%2F..",
        &["X-A: 1", "X-A: 2"],
        b"12345",
    )
    .await;
    let seen = answer.json();
    assert_eq!(
        (&seen["method"], &seen["target"], &seen["body_bytes"]),
        (&"POST".into(), &"/__echo?a=%2F..".into(), &5.into())
    );
    let lines = seen["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| line.as_str());
    assert_eq!(
        lines.filter(|line| line.starts_with("x-a")).collect::<Vec<_>>(),
        ["x-a: 1", "x-a: 2"]
    );
    assert_eq!(get(&server, "/__echo?status=503").await.status, 503);
    assert_eq!(get(&server, "/__echo?status=101&delay=1").await.status, 200);
}
