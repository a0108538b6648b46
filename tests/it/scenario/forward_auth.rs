//! The application decides who may: asked before each request, over the connections of its upstream.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::task::JoinSet;

use crate::support::gateway::{self, Running};
use crate::support::origin::{Flag, Origin, Received, Step, raw, reply};
use crate::support::{client, eventually};

/// What the deciding application does: by the cookie that it is shown.
fn decide(asked: &Received) -> Vec<Step> {
    match asked.header("cookie").unwrap_or_default() {
        "session=ann" => reply(
            200,
            "X-User: ann\r\nX-Role: admin\r\nX-Role: staff\r\nX-Inner: 1\r\n",
            "a body that nobody reads",
        ),
        "session=bob" => reply(204, "X-User: bob\r\n", "")
            .into_iter()
            .map(without_length)
            .collect(),
        "session=forbidden" => reply(403, "X-Inner: 1\r\n", "the application's own words"),
        "session=expired" => raw(
            "HTTP/1.1 302 Found\r\nLocation: https://login.test/?back=x\r\nSet-Cookie: session=; Max-Age=0\r\nSet-Cookie: next=1\r\nContent-Length: 0\r\n\r\n",
        ),
        "session=careful" => reply(200, "X-User: careful\r\nCache-Control: no-store\r\n", ""),
        "session=broken" => reply(500, "", ""),
        "session=slow" => vec![Step::Hang],
        "session=cut" => vec![Step::Close],
        _ => reply(401, "WWW-Authenticate: Cookie realm=\"app\"\r\n", ""),
    }
}

fn without_length(step: Step) -> Step {
    match step {
        Step::Send(bytes) => Step::Send(
            String::from_utf8_lossy(&bytes)
                .replace("Content-Length: 0\r\n", "")
                .into_bytes(),
        ),
        step => step,
    }
}

async fn site(app: &Origin, judge: &Origin, more: &str) -> Running {
    site_with(app, judge, "", more).await
}

/// `asked`: further keys of `forward_auth`; `more`: further lines of the table. The judge may take long on a busy machine.
async fn site_with(app: &Origin, judge: &Origin, asked: &str, more: &str) -> Running {
    gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n[upstream.judge]\nservers = [\"{}\"]\nretry = {{ attempts = 1 }}\n\
         [auth.session]\nforward_auth = {{ upstream = \"judge\", path = \"/check?v=1\"{asked} }}\n\
         forward = {{ \"x-user\" = \"x-user\", \"x-role\" = \"x-role\" }}\n{more}\n\
         [[route]]\nname = \"admin\"\npath = \"/admin/*\"\nupstream = \"app\"\nauth = {{ by = \"session\", require = {{ x-role = \"admin\" }} }}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\nauth = \"session\"\n",
        app.address, judge.address
    ))
    .await
}

async fn ask(gateway: &Running, path: &str, session: &str, fields: &str) -> client::Response {
    client::get(gateway.address, path, &format!("Cookie: session={session}\r\n{fields}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_applications_word_counts() {
    let (app, judge) = (Origin::fixed("inside").await, Origin::start(decide).await);
    let gateway = site(&app, &judge, "").await;

    let forged = "X-User: root\r\nX_User: root\r\nX-Role: admin\r\n";
    assert_eq!(ask(&gateway, "/a?b=c", "ann", forged).await.text(), "inside");
    let told = app.last();
    assert_eq!(told.header("x-user"), Some("ann"));
    assert_eq!(told.header("x-role"), Some("admin,staff"));
    assert!(
        !told.head.contains("root") && !told.head.to_ascii_lowercase().contains("x-inner"),
        "{}",
        told.head
    );
    let asked = judge.last();
    assert_eq!(asked.line(), "GET /check?v=1 HTTP/1.1");
    assert_eq!(asked.header("x-forwarded-method"), Some("GET"));
    assert_eq!(asked.header("x-forwarded-uri"), Some("/a?b=c"));
    assert_eq!(asked.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(asked.header("host"), Some("site.test"));
    assert_eq!(asked.headers("x-user"), Vec::<&str>::new());

    // Another one has no role, although the client says so.
    assert_eq!(ask(&gateway, "/", "bob", forged).await.status, 200);
    assert_eq!(
        (app.last().header("x-user"), app.last().header("x-role")),
        (Some("bob"), None)
    );
    let before = app.received().len();
    assert_eq!(ask(&gateway, "/admin/x", "ann", "").await.status, 200);
    assert_eq!(ask(&gateway, "/admin/x", "bob", forged).await.status, 403);

    let forbidden = ask(&gateway, "/", "forbidden", "Accept: application/json\r\n").await;
    assert_eq!((forbidden.status, forbidden.header("x-inner")), (403, None));
    assert_eq!(forbidden.json()["status"], 403);
    let unknown = ask(&gateway, "/", "nobody", "").await;
    assert_eq!(
        (unknown.status, unknown.header("www-authenticate")),
        (401, Some("Cookie realm=\"app\""))
    );
    let login = ask(&gateway, "/", "expired", "").await;
    assert_eq!(
        (login.status, login.header("location")),
        (302, Some("https://login.test/?back=x"))
    );
    assert_eq!(
        login
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
            .count(),
        2
    );
    let impatient = site_with(&app, &judge, ", timeout = \"500ms\"", "").await;
    for (gateway, session) in [(&gateway, "broken"), (&impatient, "slow"), (&gateway, "cut")] {
        let refused = ask(gateway, "/", session, "").await;
        assert_eq!(refused.status, 503, "{session}");
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(
        app.received().len(),
        before + 1,
        "who was refused did not reach the application"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_is_for_the_application_only() {
    let (app, judge) = (Origin::fixed("inside").await, Origin::start(decide).await);
    let gateway = site(&app, &judge, "").await;
    let mut connection = gateway.connect().await;
    for number in 0..3 {
        let request = format!(
            "POST /p{number} HTTP/1.1\r\nHost: site.test\r\nCookie: session=ann\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"
        );
        connection.send(request).await;
        let answer = loop {
            let answer = connection.response(false).await.expect("an answer");
            if answer.status != 100 {
                break answer;
            }
        };
        assert_eq!(answer.status, 200);
        assert_eq!(app.last().body, b"hello");
        let asked = judge.last();
        assert_eq!(
            (asked.header("x-forwarded-method"), asked.header("content-length")),
            (Some("POST"), None)
        );
        assert!(asked.body.is_empty());
    }
    assert_eq!(judge.connections(), 1, "one connection for all questions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn optional_means_nobody_and_a_dead_judge_lets_nobody_in() {
    let (app, judge) = (Origin::fixed("inside").await, Origin::start(decide).await);
    let gateway = site(&app, &judge, "optional = true").await;
    assert_eq!(ask(&gateway, "/", "nobody", "X-User: root\r\n").await.status, 200);
    assert_eq!(app.last().header("x-user"), None);
    assert_eq!(ask(&gateway, "/", "forbidden", "").await.status, 403);
    drop(judge);
    eventually("nobody is let in", async || {
        ask(&gateway, "/", "ann", "").await.status == 503
    })
    .await;
    assert_eq!(ask(&gateway, "/", "nobody", "").await.status, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_question_is_asked_once() {
    let (app, judge) = (Origin::fixed("inside").await, Origin::start(decide).await);
    let gateway = site_with(&app, &judge, ", cache = \"1h\"", "").await;
    let expect = async |path: &str, session: &str, status: u16, asked: bool| {
        let before = judge.received().len();
        let forged = "X-User: root\r\nX-Forwarded-For: 192.0.2.1\r\n";
        assert_eq!(
            ask(&gateway, path, session, forged).await.status,
            status,
            "{path} {session}"
        );
        assert_eq!(judge.received().len() - before, usize::from(asked), "{path} {session}");
    };
    for (path, session, status) in [
        ("/", "ann", 200),
        ("/", "bob", 200),
        ("/x", "ann", 200),
        ("/x?y", "ann", 200),
        ("/admin/x", "bob", 403),
        ("/", "forbidden", 403),
        ("/", "nobody", 401),
    ] {
        expect(path, session, status, true).await;
        expect(path, session, status, false).await;
        if status == 200 {
            assert_eq!(app.last().header("x-user"), Some(session));
        }
    }
    // For another method, and another host, it is another question.
    let fields = "Cookie: session=ann\r\nX-User: root\r\nX-Forwarded-For: 192.0.2.1\r\n";
    for head in [
        "DELETE / HTTP/1.1\r\nHost: site.test",
        "GET / HTTP/1.1\r\nHost: other.test",
    ] {
        let before = judge.received().len();
        let answer = client::ask(gateway.address, format!("{head}\r\n{fields}\r\n")).await;
        assert_eq!((answer.status, judge.received().len() - before), (200, 1), "{head}");
    }
    // What says nothing, or says that it is for once, is asked each time.
    for (session, status) in [("careful", 200), ("expired", 302), ("broken", 503)] {
        expect("/", session, status, true).await;
        expect("/", session, status, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_may_be_good_for_whatever_is_asked_for_and_ends() {
    let (app, judge) = (Origin::fixed("inside").await, Origin::start(decide).await);
    let all = ", cache = { ttl = \"1h\", by = \"credentials\" }";
    let gateway = site_with(&app, &judge, all, "").await;
    for path in ["/", "/x?y", "/admin/z"] {
        assert_eq!(ask(&gateway, path, "ann", "").await.status, 200);
        assert_eq!(ask(&gateway, path, "nobody", "").await.status, 401);
    }
    assert_eq!(judge.received().len(), 2);

    let brief = site_with(&app, &judge, ", cache = \"50ms\"", "").await;
    eventually("it is asked again", async || {
        assert_eq!(ask(&brief, "/", "ann", "").await.status, 200);
        judge.received().len() >= 4
    })
    .await;
}

/// A judge that thinks until it is given a sign, and says something else to the first one who asks.
async fn thoughtful(first: &'static str) -> (Origin, Flag) {
    let sign = Flag::default();
    let given = sign.clone();
    let somebody = AtomicBool::new(false);
    let judge = Origin::start(move |asked| {
        let mut verdict = match somebody.swap(true, SeqCst) {
            false if !first.is_empty() => raw(first),
            _ => decide(asked),
        };
        verdict.insert(0, Step::Await(given.clone()));
        verdict
    });
    (judge.await, sign)
}

const PATIENT: &str = "timeout = \"20s\"";

/// So many at once; their statuses in order. `meanwhile`: while they wait.
async fn crowd(gateway: &Running, size: usize, session: &'static str, meanwhile: impl AsyncFnOnce()) -> Vec<u16> {
    let mut clients = JoinSet::new();
    for _ in 0..size {
        clients.spawn(client::ask(gateway.address, request(session)));
    }
    meanwhile().await;
    let answers = clients.join_all().await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses
}

fn request(session: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: site.test\r\nCookie: session={session}\r\n\r\n")
}

async fn in_flight(gateway: &Running, size: usize) {
    eventually("so many are in flight", async || {
        gateway.metric("gateway_requests_in_flight{route=\"all\"}").await == size as f64
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_who_ask_the_same_at_once_are_one_question() {
    const SIZE: usize = 50;
    for (session, status, cache, questions) in [
        ("ann", 200, "1h", 1),
        ("nobody", 401, "1h", 1),
        ("ann", 200, "", SIZE),
        // What is for one request is for one: each asks.
        ("careful", 200, "1h", SIZE),
        ("expired", 302, "1h", SIZE),
    ] {
        let (app, (judge, sign)) = (Origin::fixed("inside").await, thoughtful("").await);
        let cache = match cache {
            "" => format!(", {PATIENT}"),
            cache => format!(", {PATIENT}, cache = \"{cache}\""),
        };
        let gateway = site_with(&app, &judge, &cache, "").await;
        let statuses = crowd(&gateway, SIZE, session, async || {
            in_flight(&gateway, SIZE).await;
            sign.raise();
        })
        .await;
        assert_eq!(statuses, [status; SIZE], "{session}");
        assert_eq!(judge.received().len(), questions, "{session} {cache}");
        let users: Vec<_> = app
            .received()
            .iter()
            .map(|told| told.header("x-user").map(str::to_owned))
            .collect();
        assert!(users.iter().all(|user| user.as_deref() == Some(session)), "{users:?}");
    }
}

/// A question that failed says nothing about those who wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_fails_is_the_failure_of_one() {
    const SIZE: usize = 10;
    for failure in [
        "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 nonsense\r\n\r\n",
    ] {
        let (app, (judge, sign)) = (Origin::fixed("inside").await, thoughtful(failure).await);
        let gateway = site_with(&app, &judge, &format!(", {PATIENT}, cache = \"1h\""), "").await;
        let statuses = crowd(&gateway, SIZE, "ann", async || {
            in_flight(&gateway, SIZE).await;
            sign.raise();
        })
        .await;
        assert_eq!(statuses, [&[200; SIZE - 1][..], &[503]].concat(), "{failure}");
        assert_eq!(judge.received().len(), SIZE, "{failure}");
    }
}

/// Whether the question goes on or another one asks, nobody waits for what never comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_answered_although_the_first_one_leaves() {
    const SIZE: usize = 10;
    let (app, (judge, sign)) = (Origin::fixed("inside").await, thoughtful("").await);
    let gateway = site_with(&app, &judge, &format!(", {PATIENT}, cache = \"1h\""), "").await;
    let mut first = gateway.connect().await;
    first.send(request("ann")).await;
    eventually("it is asked about", async || judge.received().len() == 1).await;
    let statuses = crowd(&gateway, SIZE, "ann", async || {
        in_flight(&gateway, SIZE + 1).await;
        drop(first);
        sign.raise();
    })
    .await;
    assert_eq!(statuses, [200; SIZE]);
    let asked = judge.received().len();
    assert!(asked <= 2, "{asked} questions");
}
