//! Names of the user's own, with tables or with values.

use toml::de::DeValue;

use super::reader::{Node, Reader, Step};
use super::shape::Shape;
use super::text::{FromText, Written, check_name, quoted};
use super::value::{Element, Spanned};

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
            if let Err(fault) = check_name(name) {
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

    #[cfg(test)]
    fn read_defaults(reader: &mut Reader<'_>) {
        T::read_defaults(reader);
    }
}

/// Names with values, both the user's own, in file order: `{ "X-Name" = "value" }`.
#[derive(Debug, Clone)]
pub(crate) struct Pairs<K, V>(pub(crate) Vec<(Spanned<Written<K>>, Spanned<V>)>);

impl<K: FromText, V: Element> Element for Pairs<K, V> {
    fn shape() -> Shape {
        Shape::Pairs(Box::new(V::shape()))
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
        let mut pairs = Vec::with_capacity(entries.len());
        let mut whole = true;
        for (key, node) in entries {
            let text: &str = key.get_ref();
            let name = K::from_text(text).map_err(|fault| reader.error(key.span().into(), fault.message, fault.help));
            let value = reader.value::<V>(node);
            let (Ok(name), Some(value)) = (name, value) else {
                whole = false;
                continue;
            };
            let name = Spanned {
                value: Written {
                    text: text.to_owned(),
                    value: name,
                },
                span: key.span().into(),
                given: true,
            };
            pairs.push((name, value));
        }
        whole.then_some(Self(pairs))
    }

    fn write(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{} = {}", quoted(&name.text), value.value.write()))
            .collect();
        if pairs.is_empty() {
            "{}".to_owned()
        } else {
            format!("{{ {} }}", pairs.join(", "))
        }
    }

    #[cfg(test)]
    fn read_defaults(reader: &mut Reader<'_>) {
        V::read_defaults(reader);
    }
}
