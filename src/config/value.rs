//! The typed values that a file is made of: each knows how it looks, how it is read and how it is printed.

use std::ops::Deref;

use toml::de::DeValue;

use super::diagnostic::Span;
use super::reader::{Node, Reader, Step};
use super::shape::Shape;
use super::table::Entry;

/// A value that can stand in a file.
pub(crate) trait Element: Sized {
    fn shape() -> Shape;

    /// Whether the TOML type fits; the value may still be wrong.
    fn accepts(value: &DeValue<'_>) -> bool;

    /// Reads a value whose TOML type fits; `None`: what is wrong has been reported.
    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self>;

    /// The value as TOML, on one line.
    fn write(&self) -> String;
}

/// A value and where it stands; where the default stands in, the place is that of the table.
#[derive(Debug, Clone)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
    /// Whether the file says so, or the default does.
    pub(crate) given: bool,
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Element> Spanned<T> {
    pub(crate) fn entry(&self, key: &'static str) -> Option<Entry> {
        Some(Entry {
            key,
            value: self.value.write(),
            given: self.given,
        })
    }
}

/// A value that may be missing.
#[derive(Debug, Clone)]
pub(crate) enum Field<T> {
    Absent,
    /// There, but wrong, which has been reported: nothing more is said about it.
    Faulty,
    Given(Spanned<T>),
}

impl<T> Field<T> {
    pub(crate) fn given(&self) -> Option<&Spanned<T>> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Faulty => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(crate) fn is_faulty(&self) -> bool {
        matches!(self, Self::Faulty)
    }
}

impl<T: Element> Field<T> {
    pub(crate) fn entry(&self, key: &'static str) -> Option<Entry> {
        self.given().and_then(|value| value.entry(key))
    }
}

impl Element for bool {
    fn shape() -> Shape {
        Shape::Bool
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        matches!(value, DeValue::Boolean(_))
    }

    fn read(node: Node<'_>, _: &mut Reader<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// `false`: the word that switches something off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct False;

impl Element for False {
    fn shape() -> Shape {
        Shape::False
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        matches!(value, DeValue::Boolean(false))
    }

    fn read(_: Node<'_>, _: &mut Reader<'_>) -> Option<Self> {
        Some(Self)
    }

    fn write(&self) -> String {
        "false".to_owned()
    }
}

/// A whole number between two bounds, both included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Integer<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Element for Integer<MIN, MAX> {
    fn shape() -> Shape {
        Shape::Integer { min: MIN, max: MAX }
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        matches!(value, DeValue::Integer(_))
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Integer(integer) = node.get_ref() else {
            return None;
        };
        let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let value = value.filter(|value| (MIN..=MAX).contains(value));
        if value.is_none() {
            let key = reader.key().unwrap_or("the value");
            reader.error(
                reader.span(node),
                format!("`{key}` must be between {MIN} and {MAX}"),
                None,
            );
        }
        value.map(Self)
    }

    fn write(&self) -> String {
        self.0.to_string()
    }
}

/// A list.
#[derive(Debug, Clone)]
pub(crate) struct List<T>(pub(crate) Vec<Spanned<T>>);

impl<T: Element> Element for List<T> {
    fn shape() -> Shape {
        Shape::List {
            of: Box::new(T::shape()),
            min: 0,
        }
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        matches!(value, DeValue::Array(_))
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(items) = node.get_ref() else {
            return None;
        };
        // Every item is read, so that everything wrong is reported; a list with a faulty item is faulty.
        let read: Vec<_> = items.iter().map(|item| reader.value(item)).collect();
        read.into_iter().collect::<Option<Vec<_>>>().map(Self)
    }

    fn write(&self) -> String {
        let items: Vec<String> = self.0.iter().map(|item| item.value.write()).collect();
        format!("[{}]", items.join(", "))
    }
}

/// A list with at least one item.
#[derive(Debug, Clone)]
pub(crate) struct Several<T>(pub(crate) Vec<Spanned<T>>);

impl<T: Element> Element for Several<T> {
    fn shape() -> Shape {
        Shape::List {
            of: Box::new(T::shape()),
            min: 1,
        }
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        List::<T>::accepts(value)
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let items = List::read(node, reader)?.0;
        if items.is_empty() {
            let key = reader.key().unwrap_or("the list");
            let help = T::shape()
                .example()
                .map(|example| format!("write for example `{key} = [{example}]`"));
            reader.error(reader.span(node), format!("`{key}` must not be empty"), help);
            return None;
        }
        Some(Self(items))
    }

    fn write(&self) -> String {
        let items: Vec<String> = self.0.iter().map(|item| item.value.write()).collect();
        format!("[{}]", items.join(", "))
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone)]
pub(crate) struct OneOrMore<T>(pub(crate) Vec<Spanned<T>>);

impl<T: Element> Element for OneOrMore<T> {
    fn shape() -> Shape {
        Shape::Either(vec![T::shape(), Several::<T>::shape()])
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        T::accepts(value) || Several::<T>::accepts(value)
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if Several::<T>::accepts(node.get_ref()) {
            return Several::read(node, reader).map(|list| Self(list.0));
        }
        reader.value(node).map(|one| Self(vec![one]))
    }

    fn write(&self) -> String {
        match self.0.as_slice() {
            [one] => one.value.write(),
            several => {
                let items: Vec<String> = several.iter().map(|item| item.value.write()).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }
}

/// One of two kinds of values, told apart by their TOML type.
#[derive(Debug, Clone)]
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

impl<A: Element, B: Element> Element for Either<A, B> {
    fn shape() -> Shape {
        let mut shapes = Vec::new();
        for shape in [A::shape(), B::shape()] {
            match shape {
                Shape::Either(inner) => shapes.extend(inner),
                shape => shapes.push(shape),
            }
        }
        Shape::Either(shapes)
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        A::accepts(value) || B::accepts(value)
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if A::accepts(node.get_ref()) {
            A::read(node, reader).map(Self::First)
        } else {
            B::read(node, reader).map(Self::Second)
        }
    }

    fn write(&self) -> String {
        match self {
            Self::First(value) => value.write(),
            Self::Second(value) => value.write(),
        }
    }
}

/// Tables with names of the user's own, in file order: `[upstream.NAME]`.
#[derive(Debug, Clone)]
pub(crate) struct Named<T>(pub(crate) Vec<(Spanned<String>, T)>);

impl<T: Element> Element for Named<T> {
    fn shape() -> Shape {
        Shape::Named(Box::new(T::shape()))
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        matches!(value, DeValue::Table(_))
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(table) = node.get_ref() else {
            return None;
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        // `[upstream]` with the keys of an upstream in it: the name was forgotten, once.
        if let Some((_, node)) = entries.iter().find(|(_, node)| !T::accepts(node.get_ref())) {
            reader.inside(Step::Name(String::new()), |reader| reader.value::<T>(node));
        }
        let mut named = Vec::new();
        for (key, node) in entries {
            let name: &str = key.get_ref();
            if !T::accepts(node.get_ref()) {
                continue;
            }
            if let Err(fault) = super::text::check_name(name) {
                reader.error(key.span().into(), fault.message, fault.help);
            }
            let value = reader.inside(Step::Name(name.to_owned()), |reader| reader.value::<T>(node));
            if let Some(value) = value {
                let name = Spanned {
                    value: name.to_owned(),
                    span: value.span,
                    given: value.given,
                };
                named.push((name, value.value));
            }
        }
        Some(Self(named))
    }

    fn write(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{} = {}", name.value, value.write()))
            .collect();
        format!("{{ {} }}", pairs.join(", "))
    }
}

/// Several tables of one kind, in file order: `[[route]]`.
#[derive(Debug, Clone)]
pub(crate) struct Tables<T>(pub(crate) Vec<Spanned<T>>);

impl<T: Element> Element for Tables<T> {
    fn shape() -> Shape {
        List::<T>::shape()
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        List::<T>::accepts(value)
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(items) = node.get_ref() else {
            return None;
        };
        let read = items.iter().filter_map(|item| {
            let name = match item.get_ref() {
                DeValue::Table(table) => table.iter().find(|(key, _)| key.get_ref() == "name"),
                _ => None,
            };
            let name = name
                .and_then(|(_, name)| super::reader::raw_text(name))
                .unwrap_or_default()
                .to_owned();
            reader.inside(Step::Item(name), |reader| reader.value(item))
        });
        Some(Self(read.collect()))
    }

    fn write(&self) -> String {
        let items: Vec<String> = self.0.iter().map(|item| item.value.write()).collect();
        format!("[{}]", items.join(", "))
    }
}
