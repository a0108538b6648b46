//! `table!`: one declaration of a table is its type, its reader, its part of the schema and of the reference.
//!
//! ```text
//! table! {
//!     /// What the table is for.
//!     pub struct Example {
//!         /// What the key is for; the doc comment is the reference.
//!         required servers: List<Endpoint>,
//!         optional host: Written<Host>,
//!         optional threads: Integer<1, 64> => "the number of cores",
//!         default timeout: Written<Timeout> = "\"10s\"",
//!         ..policies: Policies,
//!     }
//! }
//! ```
//!
//! `..field: Type` takes the keys of another table into this one.

use super::diagnostic::Span;
use super::keys::Keys;
use super::reader::{Node, Reader};
use super::shape::Description;
use super::value::Element;

/// What [`table!`] implements.
pub(crate) trait Table: Element {
    fn description() -> Description;

    /// Every key, in the order of declaration.
    fn names() -> Vec<&'static str>;

    /// Takes the values that belong to this table.
    fn take(keys: &Keys<'_>, reader: &mut Reader<'_>) -> Self;

    /// Every key with its value as TOML, in the order of declaration; keys that are absent are left out.
    fn entries(&self) -> Vec<Entry>;
}

/// A key with its value, to be printed.
pub(crate) struct Entry {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    /// Whether the file says so.
    pub(crate) given: bool,
}

/// Reads a table node.
pub(crate) fn read_table<T: Table>(node: Node<'_>, reader: &mut Reader<'_>) -> Option<T> {
    let toml::de::DeValue::Table(table) = node.get_ref() else {
        return None;
    };
    let span: Span = reader.span(node);
    let keys = Keys::open::<T>(table, span, reader);
    Some(T::take(&keys, reader))
}

/// The key that a field stands for: `r#for` is `for`.
pub(crate) const fn key(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// `{ a = 1, b = 2 }`
pub(crate) fn inline<T: Table>(table: &T) -> String {
    let pairs: Vec<String> = table
        .entries()
        .iter()
        .map(|entry| format!("{} = {}", entry.key, entry.value))
        .collect();
    if pairs.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{ {} }}", pairs.join(", "))
    }
}

macro_rules! table {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $key_doc:literal])*
                $presence:ident $key:ident : $type:ty $(= $default:literal)? $(=> $or:literal)?
            ),*
            $(, ..$flat:ident : $flat_type:ty)?
            $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        pub(crate) struct $name {
            $( $(#[doc = $key_doc])* pub(crate) $key: table!(@type $presence $type), )*
            $( /// The keys of another table, written in this one.
               pub(crate) $flat: $flat_type, )?
        }

        impl $crate::config::table::Table for $name {
            fn description() -> $crate::config::shape::Description {
                let keys: Vec<$crate::config::shape::Key> = vec![$($crate::config::shape::Key {
                    name: $crate::config::table::key(stringify!($key)),
                    doc: $crate::config::shape::joined(&[$($key_doc),*]),
                    presence: table!(@presence $presence $($default)? $($or)?),
                    shape: <$type as $crate::config::value::Element>::shape(),
                }),*];
                $( let keys = [keys, <$flat_type as $crate::config::table::Table>::description().keys].concat(); )?
                $crate::config::shape::Description {
                    doc: $crate::config::shape::joined(&[$($doc),*]),
                    keys,
                }
            }

            fn names() -> Vec<&'static str> {
                let names = vec![$($crate::config::table::key(stringify!($key))),*];
                $( let names = [names, <$flat_type as $crate::config::table::Table>::names()].concat(); )?
                names
            }

            fn take(
                keys: &$crate::config::keys::Keys<'_>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Self {
                Self {
                    $( $key: table!(
                        @read keys, reader, $crate::config::table::key(stringify!($key)), $presence $($default)?
                    ), )*
                    $( $flat: <$flat_type as $crate::config::table::Table>::take(keys, reader), )?
                }
            }

            fn entries(&self) -> Vec<$crate::config::table::Entry> {
                let mut entries = Vec::new();
                $( entries.extend(self.$key.entry($crate::config::table::key(stringify!($key)))); )*
                $( entries.extend($crate::config::table::Table::entries(&self.$flat)); )?
                entries
            }
        }

        impl $crate::config::value::Element for $name {
            fn shape() -> $crate::config::shape::Shape {
                $crate::config::shape::Shape::Table(<Self as $crate::config::table::Table>::description())
            }

            fn accepts(value: &toml::de::DeValue<'_>) -> bool {
                matches!(value, toml::de::DeValue::Table(_))
            }

            fn read(
                node: $crate::config::reader::Node<'_>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                $crate::config::table::read_table(node, reader)
            }

            fn write(&self) -> String {
                $crate::config::table::inline(self)
            }

            #[cfg(test)]
            fn read_defaults(reader: &mut $crate::config::reader::Reader<'_>) {
                let empty = toml::de::DeTable::new();
                let keys = $crate::config::keys::Keys::open::<Self>(&empty, Default::default(), reader);
                <Self as $crate::config::table::Table>::take(&keys, reader);
                $( <$type as $crate::config::value::Element>::read_defaults(reader); )*
                $( <$flat_type as $crate::config::value::Element>::read_defaults(reader); )?
            }
        }
    };

    (@type required $type:ty) => { $crate::config::value::Field<$type> };
    (@type optional $type:ty) => { $crate::config::value::Field<$type> };
    (@type default $type:ty) => { $crate::config::value::Spanned<$type> };

    (@presence required) => { $crate::config::shape::Presence::Required };
    (@presence optional) => { $crate::config::shape::Presence::Optional(None) };
    (@presence optional $or:literal) => { $crate::config::shape::Presence::Optional(Some($or)) };
    (@presence default $default:literal) => { $crate::config::shape::Presence::Default($default) };

    (@read $keys:ident, $reader:ident, $name:expr, required) => {
        $keys.required($name, $reader)
    };
    (@read $keys:ident, $reader:ident, $name:expr, optional) => {
        $keys.optional($name, $reader)
    };
    (@read $keys:ident, $reader:ident, $name:expr, default $default:literal) => {
        $keys.default($name, $default, $reader)
    };
}

pub(crate) use table;
