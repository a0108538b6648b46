//! The typed values that a file is made of: each knows how it looks, how it is read and how it is printed.

use std::ops::Deref;

use toml::de::DeValue;

use super::diagnostic::Span;
use super::reader::{Node, Reader};
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

    /// Reads the defaults of every table that such a value can hold.
    #[cfg(test)]
    fn read_defaults(_: &mut Reader<'_>) {}
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

    #[cfg(test)]
    fn read_defaults(reader: &mut Reader<'_>) {
        A::read_defaults(reader);
        B::read_defaults(reader);
    }
}
