//! What is wrong with the TOML itself, once per fault.

use super::diagnostic::{Diagnostic, Report, Span};
use super::suggest::clip;

/// Reports syntax errors. Returns where the text stops being reliable: what is read from behind it may be the echo of a
/// fault, such as keys that ended up in the wrong table.
pub(super) fn report(text: &str, errors: &[toml::de::Error], report: &mut Report) -> Option<usize> {
    let mut faults: Vec<(Span, &str)> = errors
        .iter()
        .map(|error| (error.span().unwrap_or(0..0).into(), error.message()))
        .collect();
    faults.sort_by_key(|(span, _)| span.start);
    let mut last_line = None;
    let mut reliable = None;
    for (span, message) in faults {
        let line = line_start(text, span.start);
        let is_duplicate = message == "duplicate key";
        // A second fault of a line is nearly always the first one seen from elsewhere.
        if last_line == Some(line) {
            continue;
        }
        last_line = Some(line);
        report.push(diagnostic(text, span, message));
        if is_duplicate {
            continue;
        }
        reliable.get_or_insert(line);
        // What is left open swallows the lines that follow, each of which is then reported as well.
        if ["array", "inline table", "key-value pairs", "multi-line"]
            .iter()
            .any(|open| message.contains(open))
        {
            break;
        }
    }
    reliable
}

fn diagnostic(text: &str, span: Span, message: &str) -> Diagnostic {
    let written = text.get(span.start..span.end).unwrap_or_default();
    let (message, help) = match message {
        "duplicate key" => (
            format!("`{}` is there twice", clip(written)),
            Some("a key and a table can be there once: remove one of them, or give one another name"),
        ),
        _ if message.starts_with("string values must be quoted") || message.starts_with("invalid boolean") => {
            if written.is_empty() {
                (
                    "the value is missing".to_owned(),
                    Some("write it behind the `=`; text stands in double quotes"),
                )
            } else {
                let bare = written.split_whitespace().next().unwrap_or_default();
                (
                    format!("`{}` is not a value", clip(bare)),
                    Some("text stands in double quotes: `\"…\"`"),
                )
            }
        }
        _ if message.starts_with("invalid basic string") || message.starts_with("invalid literal string") => (
            "the text does not end".to_owned(),
            Some("close it with the quote that it begins with, on the same line"),
        ),
        _ if message.contains("array elements") || message.starts_with("unclosed array, ") => (
            message.to_owned(),
            Some("perhaps a list before this is not closed with `]`"),
        ),
        _ if message.starts_with("key with no value") => {
            (message.to_owned(), Some("write `key = value`, one on a line"))
        }
        _ => (message.to_owned(), None),
    };
    Diagnostic::error(span, message).help(help.map(str::to_owned))
}

fn line_start(text: &str, at: usize) -> usize {
    let at = text.floor_char_boundary(at);
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}
