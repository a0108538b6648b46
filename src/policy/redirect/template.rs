//! The target of a redirection as written in the file.

use std::fmt;

use regex::Regex;

use super::placeholder::{Piece, placeholder};
use crate::route::{escaped_byte, normalise_host};

/// A target with placeholders: `${scheme}`, `${host}`, `${path}`, `${query}`, `$1`, `${name}` (captures of the route's regex).
///
/// A target is a path, or a URL whose host is written out or `${host}`: no other placeholder may stand in the host, so
/// that no request can choose it. `$$` is a dollar sign; a `?` or `&` before an absent `${query}` is left out.
#[derive(Debug, Clone)]
pub struct Template {
    /// Scheme and authority; empty for a path.
    pub(super) origin: Vec<Piece>,
    /// What follows.
    pub(super) rest: Vec<Piece>,
}

/// A template that cannot be used, in words for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// Reads a target as written in the file. `captures`: the route's path expression, whose names and numbers may be used.
    ///
    /// # Errors
    /// [`TemplateError`] for a placeholder that does not exist, a target that is neither a path nor a URL of HTTP, a
    /// host that the request could choose, text that cannot stand in a URI.
    pub fn parse(text: &str, captures: Option<&Regex>) -> Result<Self, TemplateError> {
        let mut pieces = pieces(text, captures)?;
        let after_scheme = match pieces.first() {
            Some(Piece::Text(text)) if text.starts_with("//") => {
                return Err(fault(
                    "a target that begins with `//` is another host",
                    format!("`https:{text}`"),
                ));
            }
            Some(Piece::Text(text)) if text.starts_with('/') => None,
            Some(Piece::Path | Piece::Capture(_)) => None,
            Some(Piece::Text(text)) if text.starts_with("http://") || text.starts_with("https://") => {
                Some((1, text.split_once("://").map_or(0, |(scheme, _)| scheme.len() + 3)))
            }
            Some(Piece::Scheme) => match pieces.get(1) {
                Some(Piece::Text(text)) if text.starts_with("://") => Some((2, 3)),
                _ => {
                    return Err(fault(
                        "`${scheme}` is followed by `://`",
                        "`${scheme}://${host}${path}`",
                    ));
                }
            },
            Some(Piece::Host) => {
                return Err(fault(
                    "a target does not begin with a host",
                    "`${scheme}://${host}${path}`",
                ));
            }
            _ => {
                return Err(fault(
                    "a target begins with `/`, `https://`, `http://` or `${scheme}://`",
                    "`https://${host}${path}?${query}`, for example",
                ));
            }
        };
        let Some((text_end, authority)) = after_scheme else {
            return Ok(Self {
                origin: Vec::new(),
                rest: pieces,
            });
        };
        let rest = split_origin(&mut pieces, text_end - 1, authority);
        check_authority(&pieces[text_end - 1..], authority)?;
        Ok(Self { origin: pieces, rest })
    }
}

/// Leaves scheme and authority in `pieces`, gives what follows. The authority begins `from` bytes into piece `first`.
fn split_origin(pieces: &mut Vec<Piece>, first: usize, from: usize) -> Vec<Piece> {
    let mut from = from;
    for index in first..pieces.len() {
        match &pieces[index] {
            Piece::Text(text) => {
                if let Some(end) = text[from..].find(['/', '?', '#']).map(|end| from + end) {
                    let (origin, rest) = (Box::from(&text[..end]), Box::from(&text[end..]));
                    let after = pieces.split_off(index + 1);
                    pieces[index] = Piece::Text(origin);
                    return [Piece::Text(rest)].into_iter().chain(after).collect();
                }
                from = 0;
            }
            Piece::Host => {}
            Piece::Scheme | Piece::Path | Piece::Query | Piece::Capture(_) => return pieces.split_off(index),
        }
    }
    Vec::new()
}

/// Checks the authority; it begins `from` bytes into the first piece.
fn check_authority(pieces: &[Piece], from: usize) -> Result<(), TemplateError> {
    // `${host}` stands for something like this.
    let sample: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text,
            _ => "host",
        })
        .collect();
    let authority = &sample[from..];
    if authority.is_empty() {
        return Err(fault(
            "the host of a target is written out or `${host}`: the request must not choose it",
            "`https://${host}${path}`",
        ));
    }
    match normalise_host(authority) {
        Ok(_) => Ok(()),
        Err(error) => Err(TemplateError {
            message: format!("the host of the target cannot be used: {error}"),
            help: None,
        }),
    }
}

fn pieces(text: &str, captures: Option<&Regex>) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            literal.push('$');
            rest = after;
            continue;
        }
        let (piece, after) = placeholder(after, captures)?;
        push_text(&mut pieces, &mut literal)?;
        pieces.push(piece);
        rest = after;
    }
    literal.push_str(rest);
    push_text(&mut pieces, &mut literal)?;
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, literal: &mut String) -> Result<(), TemplateError> {
    let bytes = literal.as_bytes();
    for (at, c) in literal.char_indices() {
        let good = match c {
            '%' => escaped_byte(bytes, at).is_some(),
            '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' => false,
            c => c.is_ascii_graphic(),
        };
        if !good {
            let mut buffer = [0; 4];
            let encoded = c.encode_utf8(&mut buffer).bytes().map(|byte| format!("%{byte:02X}"));
            return Err(fault(
                format!("{c:?} cannot stand in a URI"),
                format!("`{}`", encoded.collect::<String>()),
            ));
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(std::mem::take(literal).into()));
    }
    Ok(())
}

pub(super) fn fault(message: impl Into<String>, help: impl Into<String>) -> TemplateError {
    TemplateError {
        message: message.into(),
        help: Some(help.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn origin_and_rest() {
        let text = |text: &str| Piece::Text(text.into());
        let table = [
            ("/a", vec![], vec![text("/a")]),
            ("${path}", vec![], vec![Piece::Path]),
            ("https://a.b/c", vec![text("https://a.b")], vec![text("/c")]),
            ("https://a.b", vec![text("https://a.b")], vec![]),
            ("https://a.b${path}", vec![text("https://a.b")], vec![Piece::Path]),
            (
                "https://a.b:1?${query}",
                vec![text("https://a.b:1")],
                vec![text("?"), Piece::Query],
            ),
            (
                "${scheme}://w.${host}:1/x",
                vec![Piece::Scheme, text("://w."), Piece::Host, text(":1")],
                vec![text("/x")],
            ),
            ("http://${host}", vec![text("http://"), Piece::Host], vec![]),
        ];
        for (target, origin, rest) in table {
            let template = Template::parse(target, None).expect(target);
            assert_eq!((template.origin, template.rest), (origin, rest), "{target}");
        }
    }

    #[test]
    fn faults_are_explained() {
        let table = [
            ("", "for example"),
            ("example.com/x", "for example"),
            ("ftp://h/x", "for example"),
            ("javascript:alert(1)", "for example"),
            ("${query}", "for example"),
            ("//evil.example/x", "`https://evil.example/x`"),
            ("${host}/x", "`${scheme}://${host}${path}`"),
            ("${scheme}${host}", "`${scheme}://${host}${path}`"),
            ("https://$1/x", "`https://${host}${path}`"),
            ("https://${path}", "`https://${host}${path}`"),
            ("https:///x", "`https://${host}${path}`"),
            ("/${hots}", "did you mean `${host}`?"),
            ("/${nmae}", "did you mean `${name}`?"),
            (
                "/${cookie_session}",
                "there are `${scheme}`, `${host}`, `${path}`, `${query}`, `${0}`, `${1}`, `${name}`",
            ),
            ("/$3", "there are"),
            ("/$host", "`${host}`"),
            ("https://${host}$request_uri", "`${path}?${query}`"),
            ("/$", "`$$`"),
            ("/${x", "`$$`"),
            ("/a b", "`%20`"),
            ("/caf\u{e9}", "`%C3%A9`"),
            ("/a\r\n", "`%0D`"),
            ("/100%", "`%25`"),
            ("/a\\b", "`%5C`"),
        ];
        let regex = Regex::new("^/(x)(?<name>y)").unwrap();
        for (target, help) in table {
            let error = Template::parse(target, Some(&regex)).expect_err(target);
            assert!(
                error.help.as_deref().is_some_and(|given| given.contains(help)),
                "{target}: {error:?}"
            );
        }
        let error = Template::parse("/$1", None).unwrap_err();
        assert!(error.help.is_some_and(|help| help.contains("captures need")));
        for target in [
            "https://user@h/x",
            "https://a,b/",
            "https://h:99999/",
            "https://${host}x y/",
        ] {
            assert!(Template::parse(target, None).is_err(), "{target}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in prop_oneof!["(https?://|\\$\\{scheme\\}://|\\$\\{host\\}|\\$[{}a-z1]*|[a-z/?#:@.%é]){0,8}", any::<String>()]) {
            let _ = Template::parse(&text, None);
        }
    }
}
