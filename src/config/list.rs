//! Lists: of values, and of tables.

use toml::de::DeValue;

use super::reader::{Node, Reader, Step, raw_text};
use super::shape::Shape;
use super::value::{Element, Spanned};

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

    #[cfg(test)]
    fn read_defaults(reader: &mut Reader<'_>) {
        T::read_defaults(reader);
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

    #[cfg(test)]
    fn read_defaults(reader: &mut Reader<'_>) {
        T::read_defaults(reader);
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

    #[cfg(test)]
    fn read_defaults(reader: &mut Reader<'_>) {
        T::read_defaults(reader);
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
            let name = name.and_then(|(_, name)| raw_text(name)).unwrap_or_default().to_owned();
            reader.inside(Step::Item(name), |reader| reader.value(item))
        });
        Some(Self(read.collect()))
    }

    fn write(&self) -> String {
        let items: Vec<String> = self.0.iter().map(|item| item.value.write()).collect();
        format!("[{}]", items.join(", "))
    }

    #[cfg(test)]
    fn read_defaults(reader: &mut Reader<'_>) {
        T::read_defaults(reader);
    }
}
