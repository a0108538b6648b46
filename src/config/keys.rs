//! The keys of one table while it is read.

use toml::de::{DeString, DeTable, DeValue};

use super::diagnostic::Span;
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
    /// Opens a table: reports what is unknown.
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

    fn find(&self, name: &str) -> Option<Node<'n>> {
        let found = self.entries.iter().find(|(key, _)| key.get_ref() == name);
        found.map(|(_, node)| *node)
    }

    /// A key without a default.
    pub(crate) fn optional<T: Element>(&self, name: &'static str, reader: &mut Reader<'_>) -> Field<T> {
        let Some(node) = self.find(name) else {
            return if self.misspelt.contains(&name) {
                Field::Faulty
            } else {
                Field::Absent
            };
        };
        reader
            .inside(Step::Key(name), |reader| reader.value(node))
            .map_or(Field::Faulty, Field::Given)
    }

    /// A key that must be there.
    pub(crate) fn required<T: Element>(&self, name: &'static str, reader: &mut Reader<'_>) -> Field<T> {
        match self.optional(name, reader) {
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
        reader: &mut Reader<'_>,
    ) -> Spanned<T> {
        if let Field::Given(value) = self.optional(name, reader) {
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
