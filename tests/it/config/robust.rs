//! No text makes the parser panic, and every place that it reports is in the text.

use std::path::Path;

use deals247_gateway::config;
use proptest::prelude::*;

const CONTRACT: &str = include_str!("contract.toml");

fn check(text: &str) {
    let env = |name: &str| name.len().is_multiple_of(2).then(|| "x\"\n[a]".to_owned());
    let lines = text.lines().count() as u64 + 1;
    let report = match config::parse("gateway.toml", text, Path::new("nowhere"), &env) {
        Ok(loaded) => {
            let printed = config::print(&loaded);
            if let Err(report) = config::parse("printed.toml", &printed, Path::new("nowhere"), &env) {
                panic!("what was printed does not load:\n{printed}\n{report}");
            }
            loaded.report
        }
        Err(report) => {
            assert!(report.errors() > 0);
            report
        }
    };
    let _ = report.render_text(true);
    for diagnostic in report.render_json().as_array().expect("array") {
        assert!(
            diagnostic["line"]
                .as_u64()
                .is_none_or(|line| (1..=lines).contains(&line)),
            "{diagnostic}"
        );
    }
}

/// The last place between two characters that is not behind this byte.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// A place between two characters of the contract.
fn place() -> impl Strategy<Value = usize> {
    (0..CONTRACT.len()).prop_map(|at| boundary(CONTRACT, at))
}

/// What a slip of the finger, or an attacker, would write.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            "\n",
            "\"",
            "'",
            "[",
            "]",
            "[[",
            "]]",
            "{",
            "}",
            "=",
            ",",
            ".",
            "#",
            "\"\"\"",
            "\\",
            "\\u0000",
            "${A}",
            "${AB:-x}",
            "${",
            "$${",
            "false",
            "true",
            "-1",
            "0",
            "99999999999999999999",
            "1.5",
            "1979-05-27",
            "[]",
            "{}",
            "[[]]",
            "\"\"",
            "\"0/s\"",
            "\"5m\"",
            "\"*\"",
            "\u{0}",
            "\u{feff}",
            "\u{202e}",
            "\r",
            "[route]",
            "[[upstream]]",
            "[upstream]",
            "[[route]]\n",
            "~(",
            "~(?P<x",
            "/*/*",
            "[server.listen]",
            "route = 1",
            "auth = \"x\"\n",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text(text in "(\\PC|\n){0,200}") {
        check(&text);
    }

    #[test]
    fn any_toml(text in "(\\[{1,2}(server|route|dns|redis|rate_limit\\.a|upstream\\.a|headers\\.b|x)\\]{1,2}|(listen|name|path|servers|upstream|preset|set|rate|burst|delay|key|url|tls|sticky|retry|queue|hash|balance) = (\"[a-z/*$\\{}:0-9]{0,5}\"|[0-9]{1,4}|\\[.{0,5}\\]|\\{[a-z]= ?1\\})|#.{0,4}|\n){0,40}") {
        check(&text);
    }

    #[test]
    fn mutated_contracts(edits in prop::collection::vec((place(), 0usize..12, fragment()), 1..4)) {
        let mut text = CONTRACT.to_owned();
        for (at, length, fragment) in edits {
            let start = boundary(&text, at);
            let end = boundary(&text, start + length);
            text.replace_range(start..end, &fragment);
        }
        check(&text);
    }

    #[test]
    fn cut_contracts(at in place()) {
        check(&CONTRACT[..at]);
        check(&CONTRACT[at..]);
    }
}

/// Sizes that the limits allow must not take forever or overflow the stack.
#[test]
fn large_and_deep_texts() {
    for text in [
        "[".repeat(100_000),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        "a.".repeat(100_000),
        format!("[{}a]", "a.".repeat(100_000)),
        "x = 1\n".repeat(50_000),
        (0..50_000).map(|index| format!("k{index} = 1\n")).collect(),
        format!("[server]\nlisten = [{}]", "1,".repeat(100_000)),
        format!("[log]\nlevel = \"{}\"", "x".repeat(1_000_000)),
        format!("[log]\nlevel = \"{}\"", "${A:-x}".repeat(100_000)),
        "[[route]]\n".repeat(20_000),
    ] {
        check(&text);
    }
}
