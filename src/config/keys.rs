//! The keys of one table while it is read.

use toml::de::{DeString, DeTable, DeValue};

use super::diagnostic::{Diagnostic, Span};
use super::reader::{Node, Reader, Step};
use super::suggest::{clip, closest, did_you_mean};
use super::table::Table;
use super::value::{Element, Field, Spanned};

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
