//! Names that tables have and routes use.

use std::collections::HashMap;

use super::Checker;
use crate::config::diagnostic::Span;
use crate::config::named::Named;
use crate::config::suggest::{clip, closest, listed};
use crate::config::value::Spanned;

/// The tables of one kind.
pub(super) struct Names<'f> {
    /// `upstream` of `[upstream.NAME]`.
    kind: &'static str,
    tables: Vec<(&'f str, Span, bool)>,
    index: HashMap<&'f str, usize>,
}

impl<'f> Names<'f> {
    pub(super) fn new<T>(kind: &'static str, named: &'f Named<T>) -> Self {
        let tables: Vec<_> = named
            .0
            .iter()
            .map(|(name, _)| (name.value.as_str(), name.span, false))
            .collect();
        let index = tables
            .iter()
            .enumerate()
            .map(|(index, (name, ..))| (*name, index))
            .collect();
        Self { kind, tables, index }
    }

    /// The index of the table that a route names; reports a name that does not exist.
    pub(super) fn find(&mut self, name: &str, at: Span, checker: &mut Checker<'_>) -> Option<usize> {
        if let Some(index) = self.index.get(name) {
            self.tables[*index].2 = true;
            return Some(*index);
        }
        let kind = self.kind;
        let all: Vec<&str> = self.tables.iter().map(|(name, ..)| *name).collect();
        let help = match closest(name, all.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if all.is_empty() => format!("add a table `[{kind}.{}]`", clip(name)),
            None => format!("there are {}; or add a table `[{kind}.{}]`", listed(&all), clip(name)),
        };
        checker.error(at, format!("there is no `[{kind}.{}]`", clip(name)), help);
        None
    }

    /// A name in a key.
    pub(super) fn find_at<T>(
        &mut self,
        name: &Spanned<crate::config::text::Written<T>>,
        checker: &mut Checker<'_>,
    ) -> Option<usize> {
        self.find(&name.text, name.span, checker)
    }

    pub(super) fn warn_unused(&self, checker: &mut Checker<'_>) {
        for (name, span, used) in &self.tables {
            if !used {
                let help = "use it in a route or in `[defaults]`, or remove it".to_owned();
                checker.warning(*span, format!("no route uses `[{}.{}]`", self.kind, clip(name)), help);
            }
        }
    }
}
