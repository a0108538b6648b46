//! What every element reads with: the file's text, the environment, where it is, and what was found to be wrong.

use std::path::Path;

use toml::de::{DeString, DeTable, DeValue};

use super::diagnostic::{Diagnostic, Report, Span};
use super::shape::Shape;
use super::substitute::{Env, substitute};
use super::suggest::{clip, closest, did_you_mean};
use super::table::Table;
use super::value::{Element, Field, Spanned};

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
    place: Vec<Step>,
    /// While a default is read: the place that stands for it.
    default_of: Option<Span>,
    /// Words of the value being read that are not enforced yet.
    planned: Vec<(Span, &'static str)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(name: &str, source: &'a str, dir: &'a Path, env: Env<'a>) -> Self {
        Self {
            source,
            dir,
            env,
            report: Report::new(name, source),
            place: Vec::new(),
            default_of: None,
            planned: Vec::new(),
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

    /// Notes that a word of the value being read is not enforced yet.
    pub(crate) fn note_planned(&mut self, span: Span, word: &'static str) {
        self.planned.push((span, word));
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

/// The keys of one table while it is read: what nobody asked for is unknown.
pub(crate) struct Keys<'n> {
    entries: Vec<(&'n toml::Spanned<DeString<'n>>, Node<'n>)>,
    pub(crate) span: Span,
    /// Keys that are not there, but something that looks like them is: one fault, one message.
    misspelt: Vec<&'static str>,
}

impl<'n> Keys<'n> {
    /// Opens a table: reports what is unknown or belongs to a later release.
    pub(crate) fn open<T: Table>(table: &'n DeTable<'n>, span: Span, reader: &mut Reader<'_>) -> Self {
        let names = T::names();
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let free: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !entries.iter().any(|(key, _)| key.get_ref() == name))
            .collect();
        let mut misspelt = Vec::new();
        for (key, node) in &entries {
            let name: &str = key.get_ref();
            if names.contains(&name) {
                continue;
            }
            let at = reader.default_of.unwrap_or_else(|| key.span().into());
            let is_table = matches!(node.get_ref(), DeValue::Table(_) | DeValue::Array(_));
            if let Some((_, about)) = T::REFUSED.iter().find(|(refused, _)| *refused == name) {
                let what = if reader.place.is_empty() {
                    format!("`[{name}]`")
                } else {
                    format!("`{name}` in {}", reader.table())
                };
                reader.error(
                    at,
                    format!("{what} is not supported yet: refusing to run without it"),
                    format!(
                        "{about} comes with a later release: remove this, and leave it until then to what does it today"
                    ),
                );
                continue;
            }
            let meant = closest(name, free.iter().copied());
            misspelt.extend(names.iter().copied().filter(|name| Some(*name) == meant));
            let message = match (reader.place.is_empty(), is_table) {
                (true, true) => format!("unknown table `[{}]`", clip(name)),
                (true, false) => format!("`{}` stands outside of every table", clip(name)),
                (false, _) => format!("unknown key `{}` in {}", clip(name), reader.table()),
            };
            let help = did_you_mean(name, &free, "there are").or_else(|| Some("remove it".to_owned()));
            reader.error(at, message, help);
        }
        Self {
            entries,
            span,
            misspelt,
        }
    }

    fn find(&self, name: &str) -> Option<(Span, Node<'n>)> {
        let found = self.entries.iter().find(|(key, _)| key.get_ref() == name);
        found.map(|(key, node)| (key.span().into(), *node))
    }

    /// A key without a default.
    pub(crate) fn optional<T: Element>(&self, name: &'static str, planned: bool, reader: &mut Reader<'_>) -> Field<T> {
        let Some((at, node)) = self.find(name) else {
            return if self.misspelt.contains(&name) {
                Field::Faulty
            } else {
                Field::Absent
            };
        };
        let outer = std::mem::take(&mut reader.planned);
        let value = reader.inside(Step::Key(name), |reader| reader.value(node));
        let words = std::mem::replace(&mut reader.planned, outer);
        let Some(value) = value else {
            return Field::Faulty;
        };
        if planned {
            let what = format!("`{name}` in {} is", reader.table());
            reader.report.push(not_enforced(at, &what));
        } else if let Some((first, _)) = words.first() {
            let quoted: Vec<String> = words.iter().map(|(_, word)| format!("`{word}`")).collect();
            let verb = if words.len() > 1 { "are" } else { "is" };
            let what = format!("{} of `{name}` in {} {verb}", quoted.join(", "), reader.table());
            reader.report.push(not_enforced(*first, &what));
        }
        Field::Given(value)
    }

    /// A key that must be there.
    pub(crate) fn required<T: Element>(&self, name: &'static str, planned: bool, reader: &mut Reader<'_>) -> Field<T> {
        match self.optional(name, planned, reader) {
            Field::Absent => {
                let help = T::shape()
                    .example()
                    .map(|example| format!("add for example `{name} = {example}`"));
                reader.error(self.span, format!("{} has no `{name}`", reader.table()), help);
                Field::Faulty
            }
            field => field,
        }
    }

    /// A key with a default, as TOML; the default also stands in for a faulty value, so that nothing else is said about it.
    pub(crate) fn default<T: Element>(
        &self,
        name: &'static str,
        default: &'static str,
        planned: bool,
        reader: &mut Reader<'_>,
    ) -> Spanned<T> {
        if let Field::Given(value) = self.optional(name, planned, reader) {
            return value;
        }
        default_value(name, default, self.span, reader)
    }
}

/// Reads the default of a key; the table stands for its place.
pub(crate) fn default_value<T: Element>(
    name: &'static str,
    default: &'static str,
    table: Span,
    reader: &mut Reader<'_>,
) -> Spanned<T> {
    let document = format!("default = {default}");
    let parsed = DeTable::parse(&document).expect("defaults are TOML: a test reads every one");
    let node = parsed.get_ref().values().next().expect("one key");
    let outer = reader.default_of.replace(reader.default_of.unwrap_or(table));
    let value = reader.inside(Step::Key(name), |reader| reader.value(node));
    reader.default_of = outer;
    value.expect("defaults are valid: a test reads every one")
}

/// The word about something that is checked but does nothing yet; `what` ends in its verb.
pub(crate) fn not_enforced(span: Span, what: &str) -> Diagnostic {
    Diagnostic::warning(span, format!("{what} not enforced yet"))
        .help("it is checked and otherwise ignored in this release: do not rely on it".to_owned())
}
