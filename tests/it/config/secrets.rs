//! Secrets, wherever they stand and whatever is wrong beside them: nothing that people or programs are shown has one.

use deals247_gateway::config::{self, Outline, Plan};

/// Every place for a secret, and what it may be.
const PLACES: [(&str, &str); 9] = [
    ("[admin]\ntoken = SECRET", ""),
    ("[redis]\nurl = SECRET", "redis://user:SECRET@127.0.0.1:6379"),
    (
        "[redis]\nurl = [SECRET, \"rediss://other\"]",
        "rediss://:SECRET@127.0.0.1",
    ),
    ("[redis]\nurl = \"redis://a\"\nusername = SECRET\npassword = \"p\"", ""),
    ("[redis]\nurl = \"redis://a\"\npassword = SECRET", ""),
    (
        "[redis.sentinel]\nmaster = \"m\"\nurls = SECRET",
        "redis://:SECRET@127.0.0.1:26379",
    ),
    ("[auth.a]\njwt = { secret = SECRET }", ""),
    ("[upstream.app]\nsticky = { secret = SECRET }", ""),
    ("[upstream.app]\nsticky = { secret = SECRET, ttl = \"1h\" }", ""),
];

/// What is looked for in everything that is shown: no part of it is a word of the gateway's.
const MARK: &str = "zq7Xw1vK9sJ3hG5fD2aP8oI6uY4tR0eN";

/// A file with one secret, written as `written`, and further lines.
fn file(place: &str, written: &str, more: &str) -> String {
    let place = place.replace("SECRET", written);
    let upstream = if place.starts_with("[upstream") {
        format!("{place}\nservers = [\"127.0.0.1:3000\"]")
    } else {
        format!("[upstream.app]\nservers = [\"127.0.0.1:3000\"]\n{place}")
    };
    format!("{upstream}\n{more}\n[[route]]\nname = \"a\"\npath = \"/*\"\nupstream = \"app\"\n")
}

#[test]
fn no_secret_is_shown() {
    let directory = tempfile::tempdir().expect("directory");
    for (place, form) in PLACES {
        let secret = if form.is_empty() {
            MARK.to_owned()
        } else {
            form.replace("SECRET", MARK)
        };
        std::fs::write(directory.path().join("secret"), format!("{secret}\n")).expect("written");
        let env = |name: &str| (name == "THE_SECRET").then(|| secret.clone());
        for written in [
            format!("{secret:?}"),
            "\"${THE_SECRET}\"".to_owned(),
            "{ file = \"secret\" }".to_owned(),
        ] {
            let parse =
                |more: &str| config::parse("gateway.toml", &file(place, &written, more), directory.path(), &env);
            let hidden = |shown: &str, what: &str| {
                assert!(
                    !shown.contains(MARK),
                    "{what} shows the secret of\n{place}\n{written}\n{shown}"
                );
                // Not in another coat either.
                assert!(
                    !shown.contains(&MARK[..16]) && !shown.contains(&MARK[16..]),
                    "{what} shows half of it: {shown}"
                );
            };
            let good = parse("").unwrap_or_else(|report| panic!("{place}: {report}"));
            hidden(&config::print(&good), "--print");
            hidden(&format!("{good:?}"), "Debug");
            hidden(&format!("{:?}", good.config), "Debug of the model");
            hidden(&good.report.render_text(true), "a warning");
            let other = parse("[rate_limit.x]\nrate = \"1/s\"").unwrap_or_else(|report| panic!("{place}: {report}"));
            let plan = Plan::between(&Outline::of(&good), &Outline::of(&other));
            hidden(&plan.text(), "a plan");
            hidden(&plan.json().to_string(), "a plan");
            // Faults beside it, of the file and of the syntax.
            for more in ["[server]\nlisten = 1", "[server]\nthreads = ", "[server"] {
                let report = parse(more).expect_err(more);
                hidden(&report.render_text(false), "a fault");
                hidden(&report.to_string(), "a fault");
                hidden(&report.render_json().to_string(), "a fault");
            }
        }
    }
}

/// What is wrong is the secret itself, or its line.
#[test]
fn no_faulty_secret_is_shown() {
    for line in [
        format!("[admin]\ntoken = \"{MARK} {MARK}\""),
        format!("[admin]\ntoken = \"{MARK}\"\nlisten = 5"),
        format!("[redis]\nurl = \"http://:{MARK}@host\""),
        format!("[redis]\nurl = \"redis://:{MARK}@host:99999\""),
        format!("[redis]\nurl = \"redis://{MARK}@host/x/y\""),
        format!("[auth.a]\njwt = {{ secret = \"{}\" }}", &MARK[..20]),
        format!("[auth.a]\njwt = {{ secret = \"{MARK}\", algorithms = [\"RS256\"] }}"),
        format!("[auth.a]\njwt = {{ secret = \"{MARK}\", jwks_url = \"http://x\" }}"),
    ] {
        let text = format!("{line}\n[[route]]\nname = \"a\"\npath = \"/*\"\nrespond = {{ body = \"a\" }}\n");
        let report = match config::parse("gateway.toml", &text, std::path::Path::new("."), &|_| None) {
            Ok(loaded) => loaded.report,
            Err(report) => report,
        };
        for shown in [
            report.render_text(false),
            report.to_string(),
            report.render_json().to_string(),
        ] {
            assert!(!shown.contains(&MARK[..16]), "{line}\n{shown}");
        }
    }
}
