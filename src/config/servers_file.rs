//! The file that `servers_file` of an upstream names: one server a line.
//!
//! ```text
//! # the pool of the second rack
//! 10.0.0.5:3000
//! api.internal:3000 weight=2 max_requests=50
//! unix:/run/app.sock backup
//! ```

use std::collections::HashSet;
use std::path::Path;

use super::file::servers::{MAX_REQUESTS, MAX_WEIGHT};
use super::model::{Address, Target};
use super::plain_file;
use super::suggest::{clip, did_you_mean};
use super::text::{Fault, FromText};

/// The largest file, bytes.
const MAX_SIZE: u64 = 1024 * 1024;

/// Most servers of an upstream.
pub(super) const MAX_SERVERS: usize = 4096;

/// Reads a servers file: its servers, in file order, none of them twice. An empty file has none.
///
/// # Errors
/// Why the file cannot be read, or the first line that is no server, with its number and the cure.
pub fn servers_file(path: &Path) -> Result<Vec<Address>, String> {
    read(path).map_err(|unusable| match unusable {
        Unusable::File(why) => why,
        Unusable::Line(number, fault) => match fault.help {
            Some(help) => format!("line {number}: {}: {help}", fault.message),
            None => format!("line {number}: {}", fault.message),
        },
    })
}

/// Why there are no servers.
#[derive(Debug)]
pub(super) enum Unusable {
    /// The file cannot be read.
    File(String),
    /// The line of this number is no server.
    Line(usize, Fault),
}

pub(super) fn read(path: &Path) -> Result<Vec<Address>, Unusable> {
    parse(&plain_file::read(path, MAX_SIZE).map_err(Unusable::File)?)
}

fn parse(text: &str) -> Result<Vec<Address>, Unusable> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut servers: Vec<Address> = Vec::new();
    let mut seen: HashSet<Target> = HashSet::new();
    for (index, line) in text.lines().enumerate() {
        let at = |fault: Fault| Unusable::Line(index + 1, fault);
        let Some(server) = server(line).map_err(at)? else {
            continue;
        };
        if !seen.insert(server.target.clone()) {
            return Err(at(Fault::new(format!(
                "`{}` is there twice",
                clip(&server.to_string())
            ))
            .help("a server that shall get more requests has a weight: `weight=2`")));
        }
        if servers.len() == MAX_SERVERS {
            return Err(at(Fault::new(format!(
                "more than {MAX_SERVERS} servers are not supported"
            ))));
        }
        servers.push(server);
    }
    Ok(servers)
}

/// The server of a line; `None`: a blank line or a comment.
fn server(line: &str) -> Result<Option<Address>, Fault> {
    let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
    let Some(target) = words.next() else {
        return Ok(None);
    };
    let mut server = Address {
        target: Target::from_text(target)?,
        weight: 1,
        backup: false,
        max_requests: None,
    };
    for word in words {
        match word.split_once('=') {
            None if word == "backup" => server.backup = true,
            Some(("weight", number)) if !matches!(server.target, Target::Srv(_)) => {
                server.weight = bounded("weight", number, MAX_WEIGHT)?;
            }
            Some(("weight", _)) => {
                return Err(Fault::new("an SRV name has no weight of its own").help("DNS has those of its servers"));
            }
            Some(("max_requests", number)) => {
                server.max_requests = Some(bounded("max_requests", number, MAX_REQUESTS)?);
            }
            _ => {
                return Err(Fault {
                    message: format!("unknown word `{}` behind the server", clip(word)),
                    help: did_you_mean(word, &["weight=N", "max_requests=N", "backup"], "there are"),
                });
            }
        }
    }
    Ok(Some(server))
}

fn bounded(key: &str, number: &str, max: u64) -> Result<u32, Fault> {
    number
        .parse()
        .ok()
        .filter(|number| (1..=max).contains(&u64::from(*number)))
        .ok_or_else(|| Fault::new(format!("`{key}` must be between 1 and {max}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_a_server() {
        let servers = parse(
            "\u{feff}# rack 2\r\n\n  10.0.0.5:3000\n\tAPI:80 weight=2 max_requests=50 # the big one\nunix:/run/a#b.sock backup\nsrv:_http._tcp.api\n",
        )
        .expect("servers");
        let shown: Vec<_> = servers
            .iter()
            .map(|server| (server.to_string(), server.weight, server.backup, server.max_requests))
            .collect();
        assert_eq!(
            shown,
            [
                ("10.0.0.5:3000".to_owned(), 1, false, None),
                ("api:80".to_owned(), 2, false, Some(50)),
                ("unix:/run/a#b.sock".to_owned(), 1, true, None),
                ("srv:_http._tcp.api".to_owned(), 1, false, None),
            ]
        );
        assert!(parse("\n# nobody\n").is_ok_and(|servers| servers.is_empty()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("servers.txt");
        let many: String = (0..=MAX_SERVERS).map(|index| format!("s{index}:80\n")).collect();
        for (text, says) in [
            (
                "a:80\nb\n",
                "line 2: `b` is not the address of a server: the port is missing",
            ),
            ("a:80\n\nA:80", "line 3: `a:80` is there twice"),
            ("a:80 weight=0", "line 1: `weight` must be between 1 and 1000"),
            ("a:80 weight=-1", "line 1: `weight` must be between"),
            ("a:80 max_requests=9999999999", "`max_requests` must be between"),
            ("a:80 bakcup", "did you mean `backup`?"),
            ("a:80 b:80", "unknown word `b:80`"),
            ("srv:_http._tcp.api weight=2", "has no weight of its own"),
            (many.as_str(), "line 4097: more than 4096 servers"),
        ] {
            std::fs::write(&path, text).expect("file");
            let error = servers_file(&path).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let dir = tempfile::tempdir().expect("directory");
        let large = dir.path().join("large");
        std::fs::write(&large, vec![b'#'; 1024 * 1024 + 1]).expect("file");
        for (path, says) in [
            (dir.path().to_owned(), "not a file"),
            (large, "larger than 1024 KB"),
            (dir.path().join("none"), "No such file"),
        ] {
            let error = servers_file(&path).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(\\PC|\n|\t){0,100}") {
            let _ = parse(&text);
        }
    }
}
