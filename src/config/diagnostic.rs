//! What is wrong, where it stands, and the cure.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

/// Diagnostics of one severity that are kept; further ones are counted only, so that a hostile file cannot fill memory.
const MAX_KEPT: usize = 500;

/// A range of bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

/// The last character boundary that is not behind this byte.
pub(super) fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Diagnostic {
    pub(crate) severity: Severity,
    pub(crate) message: String,
    /// Where; `None`: the file as a whole.
    pub(crate) span: Option<Span>,
    /// Further places that belong to it, each with a word about what is there.
    pub(crate) others: Vec<(Span, String)>,
    pub(crate) help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: span.into(),
            others: Vec::new(),
            help: None,
        }
    }

    pub(crate) fn warning(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    pub(crate) fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    pub(crate) fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.others.push((span, label.into()));
        self
    }
}

/// Everything that was found in one file, with the file's text to show the places.
#[derive(Clone)]
pub struct Report {
    pub(super) name: Arc<str>,
    pub(super) text: Arc<str>,
    pub(super) diagnostics: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Report {
    pub(super) fn new(name: &str, text: &str) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            diagnostics: Vec::new(),
            errors: 0,
            warnings: 0,
        }
    }

    /// Hides a value in the text: what is drawn around a fault must not show it. Its length stays, so that places do.
    pub(super) fn conceal(&mut self, span: Span) {
        let (start, end) = (span.start + 1, span.end.saturating_sub(1)); // its quotes stay
        let Some(value) = self.text.get(start..end) else { return };
        let hidden: String = value
            .bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { '*' })
            .collect();
        self.text = [&self.text[..start], hidden.as_str(), &self.text[end..]]
            .concat()
            .into();
    }

    /// A report of one fault of the file as a whole.
    pub(super) fn of_file(name: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        let mut report = Self::new(name, "");
        report.push(Diagnostic::error(None, message).help(help.into()));
        report
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        let count = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= MAX_KEPT {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Drops what stands at or after `end`, or nowhere: what a syntax error made unreliable.
    pub(super) fn keep_before(&mut self, end: usize) {
        let all = std::mem::take(&mut self.diagnostics);
        (self.errors, self.warnings) = (0, 0);
        for diagnostic in all {
            if diagnostic.span.is_some_and(|span| span.end <= end) {
                self.push(diagnostic);
            }
        }
    }

    /// Brings what was found into the order of the file.
    pub(super) fn sort(&mut self) {
        self.diagnostics.sort_by_key(|diagnostic| {
            let start = diagnostic.span.map(|span| span.start);
            (Reverse(start.is_none()), start)
        });
    }

    /// How many faults: with one, the file is not used.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many things are allowed but probably not meant, or not enforced by this release.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// Whether there is nothing to say about the file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.errors == 0 && self.warnings == 0
    }

    /// How many were counted but not kept.
    pub(super) fn unseen(&self) -> usize {
        self.errors + self.warnings - self.diagnostics.len()
    }
}

impl fmt::Debug for Report {
    /// Without the text: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut report = f.debug_struct("Report");
        report
            .field("name", &self.name)
            .field("diagnostics", &self.diagnostics)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render_text(false))
    }
}

impl std::error::Error for Report {}
