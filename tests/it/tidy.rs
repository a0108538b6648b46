//! The habits of the repository, kept by the repository. Each test lists everything that is wrong at once.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file: its path from the root of the repository, with `/`, and its text.
struct Text {
    path: String,
    text: String,
}

/// The files below these places whose name ends so, in order.
fn files(places: &[&str], endings: &[&str]) -> Vec<Text> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending: Vec<PathBuf> = places.iter().map(|place| root.join(place)).collect();
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.ends_with("target") {
            continue; // what a build of the fuzzers left
        }
        if path.is_dir() {
            pending.extend(
                fs::read_dir(&path)
                    .expect("a folder")
                    .map(|entry| entry.expect("an entry").path()),
            );
        } else if path.is_file() && endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
            let text = fs::read_to_string(&path).expect("text in UTF-8");
            let path = path
                .strip_prefix(root)
                .expect("a path below the root")
                .to_string_lossy()
                .replace('\\', "/");
            found.push(Text { path, text });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn code() -> Vec<Text> {
    let code = files(&["src", "tests", "examples", "benches"], &[".rs"]);
    assert!(code.len() > 20, "the sources were not found");
    code
}

fn documents() -> Vec<Text> {
    let root = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
    ];
    files(&[&root[..], &["docs", "config", "deploy"]].concat(), &[".md"])
}

/// The lines of a source that are neither comment nor the inside of a literal on one line, numbered from 1.
fn bare_lines(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines().enumerate().map(|(index, line)| {
        let mut bare = String::new();
        for (place, part) in line.split('"').enumerate() {
            if place % 2 == 0 {
                if let Some(comment) = part.find("//") {
                    bare.push_str(&part[..comment]);
                    break;
                }
                bare.push_str(part);
            }
        }
        (index + 1, bare)
    })
}

/// Fails with everything that was found.
#[track_caller]
fn nothing(wrong: Vec<String>, rule: &str) {
    assert!(wrong.is_empty(), "{rule}\n  {}", wrong.join("\n  "));
}

#[test]
fn only_edge_and_proxy_name_pingora() {
    let mut wrong = Vec::new();
    for Text { path, text } in files(&["src"], &[".rs"]) {
        if path.starts_with("src/edge/") || path.starts_with("src/proxy/") {
            continue;
        }
        let named = bare_lines(&text).filter(|(_, line)| line.contains("pingora"));
        wrong.extend(named.map(|(number, line)| format!("{path}:{number}: {}", line.trim())));
    }
    nothing(wrong, "only src/edge/ and src/proxy/ may name pingora");
}

#[test]
fn policies_do_not_know_each_other() {
    let policies = files(&["src/policy"], &[".rs"]);
    let name = |path: &str| {
        path.trim_start_matches("src/policy/")
            .split(['/', '.'])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let names: Vec<String> = policies
        .iter()
        .map(|policy| name(&policy.path))
        .filter(|name| name != "mod")
        .collect();
    let mut wrong = Vec::new();
    for Text { path, text } in policies.iter().filter(|policy| policy.path != "src/policy/mod.rs") {
        let own = name(path);
        for (number, line) in bare_lines(text) {
            let sibling = names
                .iter()
                .filter(|name| **name != own)
                .any(|name| line.contains(&format!("super::{name}")) || line.contains(&format!("policy::{name}")));
            if sibling || line.contains("crate::policy::{") || line.starts_with("use super::{") {
                wrong.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    nothing(wrong, "a policy imports another one; what both need belongs to neither");
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent = |text: &Text| !text.text.starts_with("//! ");
    let wrong = code().into_iter().filter(silent).map(|text| text.path).collect();
    nothing(wrong, "a module begins with a line of documentation (//!)");
}

#[test]
fn nothing_is_left_over() {
    // In pieces, so that this file does not find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let calls = [
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("db", "g!("),
    ];
    let is_word = |line: &str, word: &str| {
        line.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|part| part == word)
    };
    let mut wrong = Vec::new();
    for Text { path, text } in code() {
        for (number, line) in (1..).zip(text.lines()) {
            if words.iter().any(|word| is_word(line, word)) || calls.iter().any(|call| line.contains(call)) {
                wrong.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    nothing(wrong, "finish it or leave it out");
}

#[test]
fn exceptions_from_lints_expect_something() {
    let forbidden = [concat!("#[al", "low("), concat!("#![al", "low(")];
    let mut wrong = Vec::new();
    for Text { path, text } in code() {
        let found = bare_lines(&text).filter(|(_, line)| forbidden.iter().any(|attribute| line.contains(attribute)));
        wrong.extend(found.map(|(number, _)| format!("{path}:{number}")));
    }
    nothing(wrong, "use #[expect(lint, reason = \"…\")]");
}

#[test]
fn files_stay_short() {
    const MOST: usize = 400;
    let length = |text: Text| (text.text.lines().count(), text.path);
    let long = files(&["src"], &[".rs"])
        .into_iter()
        .map(length)
        .filter(|(lines, path)| *lines > MOST && !path.ends_with("/tests.rs")); // tables of cases may be long
    nothing(
        long.map(|(lines, path)| format!("{path}: {lines} lines")).collect(),
        "no file over 400 lines",
    );
}

#[test]
fn configurations_that_documents_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let part_of_path = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let mut wrong = Vec::new();
    for Text { path, text } in documents() {
        for (number, line) in (1..).zip(text.lines()) {
            let words = line
                .split(|c: char| !part_of_path(c))
                .map(|word| word.trim_start_matches("./"));
            let named = words.filter(|word| word.starts_with("config/") || word.starts_with("examples/"));
            let absent = named.filter(|word| word.ends_with(".toml") && !root.join(word).is_file());
            wrong.extend(absent.map(|word| format!("{path}:{number}: {word}")));
        }
    }
    nothing(wrong, "a document names a file that does not exist");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for Text { path, text } in documents() {
        let folder = root.join(&path).parent().unwrap().to_owned();
        for (number, line) in (1..).zip(text.lines()) {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let local = targets.filter(|target| !target.contains("://") && !target.starts_with(['#', '<']));
            let file = |target: &str| target.split('#').next().unwrap_or_default().to_owned();
            let dead = local.map(file).filter(|target| !folder.join(target).exists());
            wrong.extend(dead.map(|target| format!("{path}:{number}: {target}")));
        }
    }
    nothing(wrong, "a link leads nowhere");
}

#[test]
fn make_targets_that_documents_name_exist() {
    let makefile = files(&["Makefile"], &["Makefile"]).remove(0).text;
    let exists = |target: &str| makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
    let mut wrong = Vec::new();
    for Text { path, text } in documents() {
        for (number, line) in (1..).zip(text.lines()) {
            let commands = line
                .split('`')
                .skip(1)
                .step_by(2)
                .chain(std::iter::once(line.trim_start_matches("$ ")));
            let targets = commands.filter_map(|command| command.strip_prefix("make ")?.split_whitespace().next());
            let absent = targets.filter(|target| !exists(target));
            wrong.extend(absent.map(|target| format!("{path}:{number}: make {target}")));
        }
    }
    nothing(wrong, "a document names a target that the Makefile does not have");
}

#[test]
fn nobodys_machine_is_in_it() {
    // In pieces, so that this file does not find itself.
    let homes = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("/ho", "me/"),
    ];
    let places = [
        "src", "tests", "examples", "benches", "docs", "config", "deploy", ".ci", ".github", "fuzz",
    ];
    let single = [
        "Makefile",
        "Dockerfile",
        "Cargo.toml",
        "deny.toml",
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
    ];
    let endings = [
        ".rs", ".md", ".toml", ".yml", ".json", ".conf", ".sh", ".stderr", "file", "run", "need",
    ];
    let mut wrong = Vec::new();
    for Text { path, text } in files(&[&places[..], &single].concat(), &endings) {
        if path.starts_with("fuzz/target/") {
            continue;
        }
        let found = (1..)
            .zip(text.lines())
            .filter(|(_, line)| homes.iter().any(|home| line.contains(home)));
        wrong.extend(found.map(|(number, line)| format!("{path}:{number}: {}", line.trim())));
    }
    nothing(wrong, "a path of somebody's machine");
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = files(&["Cargo.toml"], &["Cargo.toml"]).remove(0).text;
    let reasons = files(&["docs/decisions/0004-dependencies.md"], &[".md"]).remove(0).text;
    let row = |line: &str| line.strip_prefix("| `")?.split('`').next().map(str::to_owned);
    let explained: Vec<String> = reasons.lines().filter_map(row).collect();
    let mut used = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]" || line == "[dev-dependencies]";
        } else if inside && !line.starts_with('#') {
            used.extend(line.split_once('=').map(|(name, _)| name.trim().to_owned()));
        }
    }
    assert!(used.len() > 20, "the dependencies were not found");
    let absent = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|name| !those.contains(name)).cloned().collect()
    };
    nothing(
        absent(&used, &explained),
        "a dependency without a row in docs/decisions/0004-dependencies.md",
    );
    nothing(
        absent(&explained, &used),
        "a row in docs/decisions/0004-dependencies.md for what Cargo.toml does not have",
    );
}

#[test]
fn lines_are_stripped_of_comments_and_texts() {
    let text = "use pingora; // pingora\n//! pingora\nlet x = \"pingora\"; y\nlet url = \"a//b\"; z";
    let lines: Vec<String> = bare_lines(text).map(|(_, line)| line).collect();
    assert_eq!(lines, ["use pingora; ", "", "let x = ; y", "let url = ; z"]);
}
