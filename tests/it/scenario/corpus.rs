//! Messages that two readers could read in two ways, each with its rule: nothing ambiguous reaches the application, and
//! nothing ambiguous of its answers reaches a client. An origin that records every byte is the judge.

mod answers;
mod requests;

use crate::support::client::Connection;
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, Received, reply};

/// What becomes of a request.
#[derive(Clone, Copy)]
enum Fate {
    /// It is refused with one of these, and the connection is closed: nobody knows where the next request begins.
    Refused(&'static [u16]),
    /// It is refused with this; where it ends is known.
    Answered(u16),
    /// It reaches the application with exactly this body, and without these names in any line of its head.
    Passes {
        body: &'static [u8],
        without: &'static [&'static str],
    },
}

/// A request, byte by byte.
struct Case {
    /// The rule: RFC and section, and what it is about.
    rule: &'static str,
    bytes: Vec<u8>,
    fate: Fate,
}

fn refused(statuses: &'static [u16]) -> impl Fn((&'static str, Vec<u8>)) -> Case {
    move |(rule, bytes)| Case {
        rule,
        bytes,
        fate: Fate::Refused(statuses),
    }
}

async fn before(origin: &Origin) -> Running {
    gateway::start(&format!(
        "header_timeout = \"2s\"\nbody_timeout = \"2s\"\n[upstream.app]\nservers = [\"{}\"]\nretry = {{ attempts = 1 }}\n\
         outlier = false\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await
}

/// What may stand in a head that the gateway wrote: one request line, fields with a name and a value, each on a line.
fn is_sound(request: &Received) -> bool {
    let mut lines = request.head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let names = |line: &str| {
        line.split_once(": ").is_some_and(|(name, _)| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        })
    };
    let fields: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let count = |name: &str| {
        fields
            .iter()
            .filter(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))
            .count()
    };
    line.split(' ').count() == 3
        && line.ends_with(" HTTP/1.1")
        && fields
            .iter()
            .all(|line| names(line) && !line.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f))
        && count("host") == 1
        && count("content-length") + count("transfer-encoding") <= 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_read_in_one_way_only() {
    let mut cases = requests::all();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    // Several at a time: the gate lingers with whom it has refused.
    let mut running = tokio::task::JoinSet::new();
    while !cases.is_empty() {
        let part = cases.split_off(cases.len().saturating_sub(20));
        running.spawn(judged(part));
    }
    let wrong: Vec<String> = running.join_all().await.concat();
    assert!(wrong.is_empty(), "{} wrong\n  {}", wrong.len(), wrong.join("\n  "));
}

/// What is wrong with what became of these.
async fn judged(cases: Vec<Case>) -> Vec<String> {
    let origin = Origin::start(|_| reply(200, "", "ok")).await;
    let gateway = before(&origin).await;
    let mut wrong = Vec::new();
    for Case { rule, bytes, fate } in cases {
        let seen = origin.received().len();
        let mut connection = Connection::open(gateway.address).await;
        connection.send(&bytes).await;
        // What was smuggled would be answered before this.
        connection
            .send("GET /sentinel HTTP/1.1\r\nHost: site.test\r\n\r\n")
            .await;
        let status = final_status(&mut connection, bytes.starts_with(b"HEAD ")).await;
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        let mut complain = |why: String| wrong.push(format!("{rule}: {why}\n      {text:?}"));
        match fate {
            Fate::Refused(statuses) => {
                if !status.is_some_and(|status| statuses.contains(&status)) {
                    complain(format!("answered with {status:?}, not {statuses:?}"));
                }
                if !connection.is_closed().await {
                    complain("the connection was left open".to_owned());
                }
                if origin.received().len() != seen {
                    complain(format!("the application was asked: {:?}", &origin.received()[seen..]));
                }
            }
            Fate::Answered(wanted) => {
                if status != Some(wanted) {
                    complain(format!("answered with {status:?}, not {wanted}"));
                }
                let next = final_status(&mut connection, false).await;
                let lines: Vec<String> = origin.received()[seen..]
                    .iter()
                    .map(|one| one.line().to_owned())
                    .collect();
                if next != Some(200) || lines != ["GET /sentinel HTTP/1.1"] {
                    complain(format!("{next:?}, and the application was asked {lines:?}"));
                }
            }
            Fate::Passes { body, without } => {
                let next = final_status(&mut connection, false).await;
                if (status, next) != (Some(200), Some(200)) {
                    complain(format!("answered with {status:?}, then {next:?}"));
                }
                let told = origin.received().get(seen).cloned().unwrap_or_default();
                if told.body != body {
                    complain(format!("its body became {:?}", String::from_utf8_lossy(&told.body)));
                }
                let head = told.head.to_ascii_lowercase();
                for name in without {
                    if head.lines().skip(1).any(|line| line.starts_with(&format!("{name}:"))) {
                        complain(format!("`{name}` passed: {head}"));
                    }
                }
            }
        }
        for request in &origin.received()[seen..] {
            // `192.0.2.1`: whom strangers claim to be.
            if request.line().contains("/smuggled") || request.head.contains("192.0.2.1") || !is_sound(request) {
                wrong.push(format!(
                    "{rule}: reached the application: {:?}\n      {text:?}",
                    request.head
                ));
            }
        }
    }
    wrong
}

/// The status of the next answer that is not an interim one; `None`: the connection was closed.
async fn final_status(connection: &mut Connection, head: bool) -> Option<u16> {
    loop {
        match connection.response(head).await {
            Some(answer) if answer.status == 100 => {}
            answer => return answer.map(|answer| answer.status),
        }
    }
}

/// What Pingora's reader makes one thing of, where ours refuses it: clients get an answer that they cannot misread, but not
/// the 502 that it should be. It does not show us what it has read.
const PINGORA: [&str; 6] = [
    "9112 §6.3: both framings",
    "9112 §6.3: both framings, the other way",
    "9112 §5.1: a space before the colon",
    "9112 §4: a head that is too large",
    "9112 §7.1: no size",
    "9112 §7.1: a space behind the size",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_read_in_one_way_only() {
    let cases = answers::all();
    assert!(cases.len() >= 50, "{} cases", cases.len());
    let scripts = answers::all();
    let origin = Origin::start(move |request| {
        let number = request
            .line()
            .strip_prefix("GET /")
            .and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
        match number.and_then(|number| scripts.get(number)) {
            Some(case) => case.steps(),
            None => reply(200, "", "honest"),
        }
    })
    .await;
    let gateway = before(&origin).await;
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let mut connection = Connection::open(gateway.address).await;
        connection
            .send(format!("GET /{number} HTTP/1.1\r\nHost: site.test\r\n\r\n"))
            .await;
        let answer = loop {
            match connection.response(false).await {
                Some(answer) if (100..200).contains(&answer.status) && answer.status != 101 => {}
                answer => break answer,
            }
        };
        let taken = answer.as_ref().is_some_and(|answer| !answer.text().contains("evil"));
        let lenient = !gateway::fast_lane() && PINGORA.contains(&case.rule) && taken;
        if let Err(why) = case.judge(answer.as_ref())
            && !lenient
        {
            wrong.push(format!("{}: {why}; {answer:?}", case.rule));
        }
        // Whoever comes next gets an answer of his own.
        for _ in 0..2 {
            let next = gateway.get("/next").await;
            if next.text() != "honest" {
                wrong.push(format!("{}: the next client got {next:?}", case.rule));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n  {}", wrong.len(), wrong.join("\n  "));
    eventually("nothing panicked", async || {
        gateway.metric("gateway_panics_total").await == 0.0
    })
    .await;
}
