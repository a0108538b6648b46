//! What is wrong with the TOML itself, once per fault.

use super::diagnostic::{Diagnostic, Report, Span, floor};
use super::suggest::clip;

/// Reports syntax errors. Returns where the text stops being reliable: what is read from behind it may be the echo of a
/// fault, such as keys that ended up in the wrong table.
pub(super) fn report(text: &str, errors: &[toml::de::Error], report: &mut Report) -> Option<usize> {
    let mut faults: Vec<Fault<'_>> = errors
        .iter()
        .map(|error| Fault {
            line: 0,
            span: error.span().unwrap_or(0..0).into(),
            message: error.message(),
        })
        .collect();
    faults.sort_by_key(|fault| fault.span.start);
    find_lines(text, &mut faults);
    // Of the faults of one line, all but one are nearly always the same one seen from elsewhere: what is said about the
    // whole of a list or table explains the others.
    faults.sort_by_key(|fault| (fault.line, !is_structural(fault.message), fault.span.start));
    faults.dedup_by_key(|fault| fault.line);
    let mut reliable = None;
    for Fault { line, span, message } in faults {
        report.push(diagnostic(text, span, message));
        if message == "duplicate key" {
            continue;
        }
        reliable.get_or_insert(line);
        // What is left open swallows the lines that follow, each of which is then reported as well.
        if is_structural(message) {
            break;
        }
    }
    reliable
}

/// Whether the fault is about a list, an inline table or a text of several lines.
fn is_structural(message: &str) -> bool {
    [
        "array,",
        "array elements",
        "inline table",
        "key-value pairs",
        "multi-line",
    ]
    .iter()
    .any(|part| message.contains(part))
}

fn diagnostic(text: &str, span: Span, message: &str) -> Diagnostic {
    let written = text.get(span.start..span.end).unwrap_or_default();
    let (message, help) = match message {
        "duplicate key" => (
            format!("`{}` is there twice", clip(written)),
            Some("a key and a table can be there once: remove one of them, or give one another name"),
        ),
        _ if [
            "string values must be quoted",
            "invalid boolean",
            "invalid float",
            "invalid integer",
        ]
        .iter()
        .any(|start| message.starts_with(start)) =>
        {
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
        _ if message.contains("multi-line") => (message.to_owned(), Some("close the text with three quotes")),
        _ if message.starts_with("invalid basic string") || message.starts_with("invalid literal string") => (
            "the text does not end".to_owned(),
            Some("close it with the quote that it begins with, on the same line"),
        ),
        _ if message.contains("array elements") || message.contains(" array,") => (
            message.to_owned(),
            Some("perhaps a list that begins before is not closed with `]`"),
        ),
        _ if is_structural(message) => (
            message.to_owned(),
            Some("in `{ … }` there is a comma between two keys, and `}` at the end"),
        ),
        _ if message.starts_with("key with no value") => {
            (message.to_owned(), Some("write `key = value`, one on a line"))
        }
        _ => (message.to_owned(), None),
    };
    Diagnostic::error(span, message).help(help.map(str::to_owned))
}

/// A syntax error, with the first byte of its line.
struct Fault<'e> {
    line: usize,
    span: Span,
    message: &'e str,
}

/// Finds the lines of faults that are in the order of the text, in one pass over it.
fn find_lines(text: &str, faults: &mut [Fault<'_>]) {
    let (mut line, mut seen) = (0, 0);
    for fault in faults {
        let at = floor(text, fault.span.start).max(seen);
        if let Some(newline) = text[seen..at].rfind('\n') {
            line = seen + newline + 1;
        }
        seen = at;
        fault.line = line;
    }
}
