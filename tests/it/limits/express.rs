//! The real express-rate-limit, run by node, and our fields in its styles: byte for byte.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use deals247_gateway::answer::Answer;
use deals247_gateway::limit::{Announce, Bucket, Charge, Charges, Key, Level, Levels, Policy, fields};
use http::HeaderMap;
use serde::Deserialize;

/// What `express/ask.mjs` prints.
#[derive(Deserialize)]
struct Recording {
    /// Of express-rate-limit.
    version: String,
    /// Milliseconds since 1970.
    now: u64,
    /// The partition key, before base64.
    partition: String,
    recorded: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    style: String,
    limit: u32,
    window: u64,
    asked: u32,
    reset: u64,
    status: u16,
    fields: Vec<(String, String)>,
}

fn sorted(fields: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut fields: Vec<_> = fields.collect();
    fields.sort();
    fields
}

fn text(fields: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    (fields.iter()).map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned()))
}

/// Where the packages are; installs them where they are not.
fn packages(root: &Path) -> PathBuf {
    let installed = Command::new(root.join(".ci/need")).arg("express").status();
    assert!(
        installed.expect(".ci/need").success(),
        "`.ci/need express` installs them"
    );
    root.join("target/tools/express")
}

/// Asks the real one.
fn ask() -> Recording {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = packages(root);
    // Beside the packages, for that is where node looks for them.
    let script = packages.join("ask.mjs");
    std::fs::copy(root.join("tests/it/limits/express/ask.mjs"), &script).expect("a copy");
    let run = Command::new("node").arg(&script).output().expect("node");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).expect("JSON")
}

#[test]
fn fields_are_those_of_express_rate_limit() {
    let recording = ask();
    assert!(recording.version.starts_with("8."), "{}", recording.version);
    let now = UNIX_EPOCH + Duration::from_millis(recording.now);
    let id = u128::from_str_radix(&recording.partition, 16).expect("hexadecimal") << 80;
    assert!(recording.recorded.len() >= 30);
    for recorded in recording.recorded {
        let Recorded {
            style, limit, asked, ..
        } = &recorded;
        let announce = match style.as_str() {
            "legacy" => Announce::Legacy,
            "draft-6" => Announce::Draft6,
            "draft-7" => Announce::Draft7,
            "draft-8" => Announce::Draft8,
            other => panic!("no such style: {other}"),
        };
        let bucket = Bucket::new((*limit).into(), Duration::from_millis(recorded.window), *limit);
        let policy = Policy {
            announce,
            ..Policy::new("api", bucket)
        };
        let key = Key { id, aggregate: 0 };
        let charges: Charges<'_> = [Charge {
            policy: &policy,
            key,
            cost: 1,
        }]
        .into_iter()
        .collect();
        let refused = asked >= limit;
        let mut levels = Levels::default();
        levels.push(Level {
            room: limit.saturating_sub(asked + 1),
            next_in: 1,
            full_in: recorded.reset * 1_000_000,
            retry_in: u64::from(refused),
        });
        let (status, sent) = if refused {
            let answer = fields::refuse(&charges, &levels, || now);
            assert!(matches!(answer, Answer::Refusal { .. }));
            let rendered = answer.render(None, "");
            let limits = |name: &str| name.contains("ratelimit") || name == "retry-after";
            let sent = sorted(text(&rendered.headers).filter(|field| limits(&field.0)));
            (rendered.status.as_u16(), sent)
        } else {
            let mut fields = HeaderMap::new();
            fields::announce(fields::stands(&charges, &levels), || now, &mut fields);
            (200, sorted(text(&fields)))
        };
        let expected = sorted(recorded.fields.iter().cloned());
        assert_eq!((status, sent), (recorded.status, expected), "{style} {limit} {asked}");
    }
}
