//! Replacements as people write them: text and captures.

use regex::Regex;

use crate::route::{PatternError, escaped_byte};

/// Checks the text between captures, and that the captures exist; reads `$` as the `regex` crate expands it.
pub(super) fn check(replacement: &str, regex: &Regex) -> Result<(), PatternError> {
    let mut rest = replacement;
    while let Some((literal, after)) = rest.split_once('$') {
        check_literal(literal)?;
        rest = if let Some(after) = after.strip_prefix('$') {
            after
        } else if let Some((name, after)) = after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            check_capture(name, regex)?;
            after
        } else {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let name = &after[..after.find(|c| !is_name(c)).unwrap_or(after.len())];
            if name.is_empty() {
                return Err(PatternError::with_help(
                    "`$` stands before a capture",
                    "`$$` for a dollar sign",
                ));
            }
            check_capture(name, regex)?;
            &after[name.len()..]
        };
    }
    check_literal(rest)
}

fn check_literal(text: &str) -> Result<(), PatternError> {
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'?' => {
                return Err(PatternError::with_help(
                    "a rewrite changes the path; the query stays as it is",
                    "leave out what begins at `?`",
                ));
            }
            b'%' => match escaped_byte(bytes, at) {
                None => {
                    return Err(PatternError::with_help(
                        "`%` without two hexadecimal digits",
                        "`%25` for a percent sign",
                    ));
                }
                Some(0..=0x1F | b'/' | b'\\' | 0x7F) => {
                    return Err(PatternError::new(
                        "the replacement has an escape that is refused in every path",
                    ));
                }
                Some(_) => {}
            },
            0..=b' ' | b'#' | b'\\' | 0x7F.. => {
                return Err(PatternError::with_help(
                    "the replacement has a character that cannot stand in a path",
                    format!("its bytes are written `%{byte:02X}` …"),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_capture(name: &str, regex: &Regex) -> Result<(), PatternError> {
    let number = name.parse::<usize>();
    let exists = match number {
        Ok(number) => number < regex.captures_len(),
        Err(_) => regex.capture_names().flatten().any(|known| known == name),
    };
    if exists {
        return Ok(());
    }
    let digits = &name[..name.bytes().take_while(u8::is_ascii_digit).count()];
    let help = if !digits.is_empty() && digits.len() < name.len() {
        format!("`${{{digits}}}{}`: braces end the name", &name[digits.len()..])
    } else {
        let names = regex.capture_names().enumerate().map(|(number, name)| match name {
            Some(name) => format!("`${{{name}}}`"),
            None => format!("`${number}`"),
        });
        format!("it has {}", names.collect::<Vec<_>>().join(", "))
    };
    Err(PatternError::with_help(
        format!("the expression has no capture `{name}`"),
        help,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_explained() {
        let regex = Regex::new("^/(a)(?<b>b)").unwrap();
        let replacement = |text| check(text, &regex).expect_err(text);
        for (text, help) in [
            ("/$3", "it has `$0`, `$1`, `${b}`"),
            ("/${c}", "it has"),
            ("/$1x", "`${1}x`"),
            ("/$", "`$$`"),
            ("/${1", "`$$`"),
            ("/x?y=$1", "`?`"),
            ("/%", "`%25`"),
            ("/%4$1", "`%25`"),
            ("/a b", "`%20`"),
            ("/a#b", "`%23`"),
            ("/caf\u{e9}", "`%C3`"),
        ] {
            let error = replacement(text);
            assert!(
                error.help.as_deref().is_some_and(|given| given.contains(help)),
                "{text}: {error:?}"
            );
        }
        for text in ["/a%2fb", "/%00", "/%5C"] {
            assert!(replacement(text).message.contains("refused"), "{text}");
        }
        for text in ["", "/$1/${b}", "${1}x", "$0$$", "/a%20b", "$b"] {
            assert_eq!(check(text, &regex), Ok(()), "{text}");
        }
    }
}
