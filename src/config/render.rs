//! How a report reads: in rustc's manner for people, as JSON for machines.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::diagnostic::{Diagnostic, Report, Severity, Span, floor};
use super::suggest::printable;

/// Longer lines are not shown, only their place: they are data, and the renderer would trim them anyway.
const MAX_LINE: usize = 1000;

impl Report {
    /// The report for people: message, place, the line, what to do; a blank line between two. Empty where nothing is wrong.
    #[must_use]
    pub fn render_text(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let lines = Lines::new(&self.text);
        let mut text = String::new();
        for diagnostic in &self.diagnostics {
            if !text.is_empty() {
                text.push('\n');
            }
            for line in renderer.render(&[self.group(diagnostic, &lines)]).lines() {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        if self.unseen() > 0 {
            text.push_str(&format!("\n{} more of these are not shown\n", self.unseen()));
        }
        text
    }

    /// The report for logs: one line each, with place and cure, and without lines of the file: they may hold secrets.
    #[must_use]
    pub fn render_brief(&self) -> String {
        let lines = Lines::new(&self.text);
        let mut text = String::new();
        for diagnostic in &self.diagnostics {
            let place = diagnostic.span.map_or_else(String::new, |span| {
                let (line, column) = lines.position(span.start);
                format!(":{line}:{column}")
            });
            let help = diagnostic.help.as_deref().map(|help| format!(" (help: {help})"));
            let line = format!(
                "{}: {} at {}{place}{}",
                word(diagnostic.severity),
                diagnostic.message,
                self.name,
                help.unwrap_or_default()
            );
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&printable(&line));
        }
        if self.unseen() > 0 {
            text.push_str(&format!("\n{} more of these are not shown", self.unseen()));
        }
        text
    }

    /// The report for machines: an array of objects with `severity`, `message`, `file`, `line`, `column`, `end_line`,
    /// `end_column` (from 1, columns in characters, the end is behind the last one; null for the file as a whole),
    /// `help` (or null) and `related` (further places, each with a `message`).
    #[must_use]
    pub fn render_json(&self) -> Value {
        let lines = Lines::new(&self.text);
        let place = |span: Option<Span>| {
            let (start, end) = (
                span.map(|span| lines.position(span.start)),
                span.map(|span| lines.position(span.end)),
            );
            json!({
                "file": &*self.name,
                "line": start.map(|at| at.0), "column": start.map(|at| at.1),
                "end_line": end.map(|at| at.0), "end_column": end.map(|at| at.1),
            })
        };
        let merge = |mut head: Value, tail: Value| {
            if let (Value::Object(head), Value::Object(tail)) = (&mut head, tail) {
                head.extend(tail);
            }
            head
        };
        let mut all: Vec<Value> = self
            .diagnostics
            .iter()
            .map(|diagnostic| {
                let related: Vec<Value> = diagnostic
                    .others
                    .iter()
                    .map(|(span, message)| merge(json!({ "message": message }), place(Some(*span))))
                    .collect();
                let head = json!({ "severity": word(diagnostic.severity), "message": diagnostic.message });
                let tail = json!({ "help": diagnostic.help, "related": related });
                merge(merge(head, place(diagnostic.span)), tail)
            })
            .collect();
        if self.unseen() > 0 {
            let severity = if self.errors() > 0 {
                Severity::Error
            } else {
                Severity::Warning
            };
            let head =
                json!({ "severity": word(severity), "message": format!("{} more are not shown", self.unseen()) });
            all.push(merge(merge(head, place(None)), json!({ "help": null, "related": [] })));
        }
        Value::Array(all)
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic, lines: &Lines<'a>) -> Group<'a> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(printable(&diagnostic.message));
        let mut group = match diagnostic.span {
            None => Group::with_title(title).element(Origin::path(printable(&self.name))),
            Some(span) => match self.snippet(span, AnnotationKind::Primary, "", lines) {
                Ok(snippet) => Group::with_title(title).element(snippet),
                Err(origin) => Group::with_title(title).element(origin),
            },
        };
        for (span, label) in &diagnostic.others {
            if let Ok(snippet) = self.snippet(*span, AnnotationKind::Context, label, lines) {
                group = group.element(snippet);
            }
        }
        match &diagnostic.help {
            Some(help) => group.element(Level::HELP.message(printable(help))),
            None => group,
        }
    }

    /// The line of a span with the marks under it; of a span over several lines the first.
    fn snippet<'a>(
        &'a self,
        span: Span,
        kind: AnnotationKind,
        label: &'a str,
        lines: &Lines<'a>,
    ) -> Result<Snippet<'a, annotate_snippets::Annotation<'a>>, Origin<'a>> {
        let (number, start, line) = lines.at(span.start);
        if line.len() > MAX_LINE {
            let (line, column) = lines.position(span.start);
            return Err(Origin::path(printable(&self.name)).line(line).char_column(column));
        }
        let from = floor(line, span.start.saturating_sub(start));
        let to = floor(line, span.end.saturating_sub(start).max(from));
        let annotation = kind.span(from..to);
        Ok(Snippet::source(line)
            .path(printable(&self.name))
            .line_start(number)
            .annotation(if label.is_empty() {
                annotation
            } else {
                annotation.label(label)
            }))
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Where each line of a text begins.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        Self {
            text,
            starts: starts.collect(),
        }
    }

    /// Number (from 1), first byte and text of the line that holds this byte.
    fn at(&self, byte: usize) -> (usize, usize, &'a str) {
        let number = self.starts.partition_point(|start| *start <= byte).max(1);
        let start = self.starts[number - 1];
        let line = self.text[start..].split('\n').next().unwrap_or_default();
        (number, start, line.trim_end_matches('\r'))
    }

    /// Line and column, both from 1.
    fn position(&self, byte: usize) -> (usize, usize) {
        let (number, start, line) = self.at(byte);
        let before = floor(line, byte.saturating_sub(start));
        (number, line[..before].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report(text: &str, start: usize, end: usize) -> Report {
        let mut report = Report::new("gateway.toml", text);
        let span = Span { start, end };
        report.push(
            Diagnostic::error(span, "unknown key `burts` in `[rate_limit.api]`")
                .also(span, "here")
                .help("did you mean `burst`?".to_owned()),
        );
        report
    }

    #[test]
    fn reads_like_rustc() {
        let mut report = Report::new("gateway.toml", "a = 1\nburts = 40\n");
        report.push(
            Diagnostic::error(Span { start: 6, end: 11 }, "unknown key `burts`")
                .help("did you mean `burst`?".to_owned()),
        );
        let expected = "error: unknown key `burts`\n --> gateway.toml:2:1\n  |\n2 | burts = 40\n  | ^^^^^\n  |\n  \
                        = help: did you mean `burst`?\n";
        assert_eq!(report.render_text(false), expected);
        assert!(report.render_text(true).contains("\u{1b}["));
    }

    #[test]
    fn json_counts_characters_from_one() {
        let json = report("é = 1\nbü = 2\n", 7, 10).render_json();
        assert_eq!(json[0]["line"], 2);
        assert_eq!(json[0]["column"], 1);
        assert_eq!(json[0]["end_line"], 2);
        assert_eq!(json[0]["end_column"], 3);
        assert_eq!(json[0]["related"][0]["message"], "here");
    }

    #[test]
    fn what_is_not_shown_is_counted() {
        let mut report = Report::new("f", "x");
        for _ in 0..1000 {
            report.push(Diagnostic::error(None, "bad"));
        }
        assert_eq!(report.errors(), 1000);
        assert!(
            report
                .render_text(false)
                .ends_with("\n500 more of these are not shown\n")
        );
        assert_eq!(report.render_json().as_array().map(Vec::len), Some(501));
    }

    #[test]
    fn a_line_without_end_is_named_but_not_shown() {
        let text = "x".repeat(100_000);
        let shown = report(&text, 99_000, 99_001).render_text(false);
        assert!(shown.contains("gateway.toml:1:99001") && shown.len() < 1000, "{shown}");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z\u{1}\u{85}\u{202e}é\u{1f600}\r\n\t =]{0,40}", start in 0usize..60, length in 0usize..60) {
            let report = report(&text, start, start + length);
            let _ = (report.render_text(true), report.render_json());
        }
    }
}
