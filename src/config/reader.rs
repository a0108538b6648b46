//! What every element reads with: the file's text, the environment, where it is, and what was found to be wrong.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use toml::de::DeValue;

use super::diagnostic::{Diagnostic, Report, Span};
use super::shape::Shape;
use super::substitute::{Env, substitute};
use super::suggest::clip;
use super::value::{Element, Spanned};

/// A value with its place in the file.
pub(crate) type Node<'n> = &'n toml::Spanned<DeValue<'n>>;

/// A step from the file to a value.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A key of the gateway's.
    Key(&'static str),
    /// A name of the user's: `[upstream.NAME]`.
    Name(String),
    /// One of several: `[[route]]`, with its name where it has one.
    Item(String),
}

pub(crate) struct Reader<'a> {
    source: &'a str,
    /// What relative paths are relative to.
    pub(crate) dir: &'a Path,
    env: Env<'a>,
    pub(crate) report: Report,
    /// What tells, within this process, whether the secrets of two files are the same.
    pub(super) secrets: u64,
    /// The files that secrets are in.
    pub(super) credential_files: Vec<PathBuf>,
    pub(super) place: Vec<Step>,
    /// While a default is read: the place that stands for it.
    pub(super) default_of: Option<Span>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(name: &str, source: &'a str, dir: &'a Path, env: Env<'a>) -> Self {
        Self {
            source,
            dir,
            env,
            report: Report::new(name, source),
            secrets: 0,
            credential_files: Vec::new(),
            place: Vec::new(),
            default_of: None,
        }
    }

    pub(crate) fn span(&self, node: Node<'_>) -> Span {
        self.default_of.unwrap_or_else(|| node.span().into())
    }

    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.report.push(Diagnostic::error(span, message).help(help));
    }

    pub(crate) fn inside<T>(&mut self, step: Step, read: impl FnOnce(&mut Self) -> T) -> T {
        self.place.push(step);
        let result = read(self);
        self.place.pop();
        result
    }

    /// Reads a value whose type may be wrong.
    pub(crate) fn value<T: Element>(&mut self, node: Node<'_>) -> Option<Spanned<T>> {
        let span = self.span(node);
        if !T::accepts(node.get_ref()) {
            self.wrong_type(node, &T::shape());
            return None;
        }
        T::read(node, self).map(|value| Spanned {
            value,
            span,
            given: self.default_of.is_none(),
        })
    }

    /// The text of a string value with the environment put in.
    pub(crate) fn text(&mut self, node: Node<'_>) -> Option<String> {
        let text = raw_text(node)?;
        match substitute(text, self.env) {
            Ok(text) => Some(text),
            Err(error) => {
                let span = self.span(node);
                // The placeholder itself, unless escapes in the string keep it from being found.
                let within = self
                    .source
                    .get(span.start..span.end)
                    .and_then(|text| text.find(&error.placeholder));
                let span = within.map_or(span, |at| Span {
                    start: span.start + at,
                    end: span.start + at + error.placeholder.len(),
                });
                let message = match self.key() {
                    Some(key) if error.is_unset => format!("{}: `{key}` of {} needs it", error.message, self.owner()),
                    _ => error.message,
                };
                self.error(span, message, error.help);
                None
            }
        }
    }

    /// Notes a secret, without keeping it.
    pub(super) fn note_secret(&mut self, secret: &str) {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        self.secrets = HASHER.hash_one((self.secrets, secret));
    }

    fn wrong_type(&mut self, node: Node<'_>, shape: &Shape) {
        let key = self.key().map_or_else(String::new, |key| format!(" for `{key}`"));
        let found = match node.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(true) => "`true`",
            DeValue::Boolean(false) => "`false`",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let written = self
            .source
            .get(node.span())
            .filter(|text| text.len() <= 60 && !text.contains('\n'));
        let help = match (shape, node.get_ref(), self.place.as_slice()) {
            (Shape::List { of, .. }, DeValue::Table(_), [Step::Key(key)]) if matches!(**of, Shape::Table(_)) => {
                Some(format!("write `[[{key}]]`, with two brackets: there can be several"))
            }
            (Shape::Named(_), ..) => self.key().map(|key| format!("give it a name: `[{key}.NAME]`")),
            (Shape::Table(_), _, [Step::Key(key), Step::Name(_)]) => Some(format!("give it a name: `[{key}.NAME]`")),
            (Shape::Table(_), DeValue::Array(_), [Step::Key(key)]) => {
                Some(format!("write `[{key}]`, with one bracket: there is one only"))
            }
            (Shape::List { .. }, DeValue::String(_) | DeValue::Integer(_), _) => {
                written.map(|written| format!("put it in brackets: `[{written}]`"))
            }
            (Shape::Integer { .. } | Shape::Bool, DeValue::String(_), _) => Some("write it without quotes".to_owned()),
            _ => shape.example().map(|example| format!("write for example `{example}`")),
        };
        self.error(
            self.span(node),
            format!("expected {}{key}, found {found}", shape.expectation()),
            help,
        );
    }

    /// The key whose value is being read.
    pub(crate) fn key(&self) -> Option<&'static str> {
        self.place.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(*key),
            Step::Name(_) | Step::Item(_) => None,
        })
    }

    /// The table that holds the value being read, as a message names it.
    fn owner(&self) -> String {
        let last = self.place.iter().rposition(|step| matches!(step, Step::Key(_)));
        name_of(&self.place[..last.unwrap_or(0)])
    }

    /// The table being read, as a message names it.
    pub(crate) fn table(&self) -> String {
        name_of(&self.place)
    }
}

/// `[server]`, `[upstream.api]`, `[[route]] api`, `retry` of `[upstream.api]`.
fn name_of(place: &[Step]) -> String {
    let (head, rest) = match place {
        [] => return "the file".to_owned(),
        [Step::Key(key), Step::Name(name), rest @ ..] => (format!("`[{key}.{}]`", clip(name)), rest),
        [Step::Key(key), Step::Item(name), rest @ ..] if name.is_empty() => (format!("`[[{key}]]`"), rest),
        [Step::Key(key), Step::Item(name), rest @ ..] => (format!("{key} `{}`", clip(name)), rest),
        [Step::Key(key), rest @ ..] => (format!("`[{key}]`"), rest),
        [Step::Name(name) | Step::Item(name), rest @ ..] => (format!("`{}`", clip(name)), rest),
    };
    rest.iter().fold(head, |name, step| match step {
        Step::Key(key) => format!("`{key}` of {name}"),
        Step::Name(_) | Step::Item(_) => name,
    })
}

/// The text of a string value as written.
pub(crate) fn raw_text(node: Node<'_>) -> Option<&str> {
    match node.get_ref() {
        DeValue::String(text) => Some(text),
        _ => None,
    }
}
