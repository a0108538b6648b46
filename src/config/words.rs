//! `words!`: a set of words with a meaning each.
//!
//! ```text
//! words! {
//!     pub enum OnStoreError {
//!         /// Count in this process.
//!         Local = "local",
//!         Deny = "deny",
//!     }
//! }
//! ```

use super::reader::{Node, Reader};
use super::shape::Word;
use super::suggest::{clip, did_you_mean};

/// Finds the word that a node says; reports another one.
pub(crate) fn read_word(words: &'static [Word], node: Node<'_>, reader: &mut Reader<'_>) -> Option<usize> {
    let text = reader.text(node)?;
    let index = words.iter().position(|word| word.word == text);
    if index.is_none() {
        let all: Vec<&str> = words.iter().map(|word| word.word).collect();
        let key = reader.key().map_or_else(String::new, |key| format!(" for `{key}`"));
        reader.error(
            reader.span(node),
            format!("unknown word `{}`{key}", clip(&text)),
            did_you_mean(&text, &all, "there are"),
        );
    }
    index
}

macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident {
            $( $(#[doc = $word_doc:literal])* $variant:ident = $word:literal ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $( $(#[doc = $word_doc])* $variant ),*
        }

        impl $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];
            const WORDS: &'static [$crate::config::shape::Word] = &[$($crate::config::shape::Word {
                word: $word,
                doc: concat!($($word_doc),*),
            }),*];
        }

        impl $crate::config::value::Element for $name {
            fn shape() -> $crate::config::shape::Shape {
                $crate::config::shape::Shape::Words(Self::WORDS)
            }

            fn accepts(value: &toml::de::DeValue<'_>) -> bool {
                matches!(value, toml::de::DeValue::String(_))
            }

            fn read(
                node: $crate::config::reader::Node<'_>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                let index = $crate::config::words::read_word(Self::WORDS, node, reader)?;
                Self::ALL.get(index).copied()
            }

            fn write(&self) -> String {
                $crate::config::text::quoted(Self::WORDS[*self as usize].word)
            }
        }
    };
}

pub(crate) use words;
