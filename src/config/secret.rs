//! Secrets: a text, usually from the environment, or the content of a file; never printed.

use std::fmt;
use std::marker::PhantomData;

use toml::de::DeValue;

use super::model;
use super::plain_file;
use super::reader::{Node, Reader, raw_text};
use super::shape::{Kind, Shape};
use super::substitute::escape;
use super::suggest::clip;
use super::table::table;
use super::text::{Fault, FromText, Written, quoted};
use super::value::Element;

/// No secret is longer.
const MAX_LENGTH: u64 = 64 * 1024;

/// What a kind of secret looks like.
pub(crate) trait SecretText {
    const EXAMPLE: &'static str;

    /// # Errors
    /// What is wrong, without quoting the secret.
    fn check(text: &str) -> Result<(), Fault>;

    /// What may be shown of it.
    fn mask(text: &str) -> String;
}

/// A secret, checked.
#[derive(Clone)]
pub(crate) struct Secret<T> {
    pub(crate) text: model::Secret,
    /// As it may be printed.
    shown: String,
    kind: PhantomData<T>,
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

table! {
    /// A secret in a file of its own.
    pub struct SecretFile {
        /// The file that holds the secret, relative to the directory of this file; white space at the end is left out.
        required file: Written<SecretPath>,
    }
}

/// Where a secret is.
#[derive(Debug, Clone)]
pub(crate) struct SecretPath;

impl FromText for SecretPath {
    const KIND: Kind = Kind {
        what: "the path of a file",
        pattern: None,
        example: "/run/secrets/redis-url",
        substituted: true,
    };

    fn from_text(_: &str) -> Result<Self, Fault> {
        Ok(Self)
    }
}

impl<T: SecretText> Element for Secret<T> {
    fn shape() -> Shape {
        let text = Kind {
            what: "text",
            pattern: None,
            example: T::EXAMPLE,
            substituted: true,
        };
        Shape::Either(vec![Shape::Text(text), SecretFile::shape()])
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        matches!(value, DeValue::String(_) | DeValue::Table(_))
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let (text, shown) = match node.get_ref() {
            DeValue::String(_) => {
                let written = raw_text(node).unwrap_or_default();
                // A name of the environment may be shown, and a URL without a password: they say what is meant.
                if T::mask(written) != written && !(written.starts_with("${") && written.ends_with('}')) {
                    let span = reader.span(node);
                    reader.report.conceal(span);
                }
                let text = reader.text(node)?;
                let shown = quoted(&escape(&T::mask(&text)));
                (text, shown)
            }
            _ => {
                let table = SecretFile::read(node, reader)?;
                let file = table.file.given()?;
                let path = reader.dir.join(&file.text);
                reader.credential_files.push(path.clone());
                let text = match plain_file::read(&path, MAX_LENGTH) {
                    Ok(text) => text.trim_end().to_owned(),
                    Err(why) => {
                        let message = format!("the secret in `{}` cannot be read: {why}", clip(&file.text));
                        reader.error(
                            file.span,
                            message,
                            "the path is relative to the directory of this file".to_owned(),
                        );
                        return None;
                    }
                };
                (text, table.write())
            }
        };
        reader.note_secret(&text);
        if let Err(fault) = T::check(&text) {
            reader.error(reader.span(node), fault.message, fault.help);
            return None;
        }
        Some(Self {
            text: model::Secret::new(text),
            shown,
            kind: PhantomData,
        })
    }

    fn write(&self) -> String {
        self.shown.clone()
    }
}
