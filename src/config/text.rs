//! Values that are text in the file and something else in the model.

use toml::de::DeValue;

use super::reader::{Node, Reader, raw_text};
use super::shape::{Kind, Shape};
use super::substitute::escape;
use super::suggest::clip;
use super::value::Element;

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What a text can be read as.
pub(crate) trait FromText: Sized {
    const KIND: Kind;

    /// # Errors
    /// What is wrong with the text; the caller knows where it stands.
    fn from_text(text: &str) -> Result<Self, Fault>;
}

/// A text as written, with the environment put in, and what it means.
#[derive(Debug, Clone)]
pub(crate) struct Written<T> {
    pub(crate) text: String,
    pub(crate) value: T,
}

impl<T: FromText> Element for Written<T> {
    fn shape() -> Shape {
        Shape::Text(T::KIND)
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        matches!(value, DeValue::String(_))
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let text = if T::KIND.substituted {
            reader.text(node)?
        } else {
            raw_text(node)?.to_owned()
        };
        match T::from_text(&text) {
            Ok(value) => Some(Self { text, value }),
            Err(fault) => {
                reader.error(reader.span(node), fault.message, fault.help);
                None
            }
        }
    }

    fn write(&self) -> String {
        if T::KIND.substituted {
            quoted(&escape(&self.text))
        } else {
            quoted(&self.text)
        }
    }
}

/// A text as a basic string of TOML.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Names become labels of metrics and words in the log: letters that nothing has to escape.
pub(crate) fn check_name(name: &str) -> Result<(), Fault> {
    const MAX: usize = 64;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= MAX && name.chars().all(allowed) {
        return Ok(());
    }
    let fault = Fault::new(format!("`{}` cannot be a name", clip(name)));
    let better: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .take(MAX)
        .collect();
    Err(if better.is_empty() {
        fault.help(format!("a name has 1 to {MAX} of `a-z`, `0-9`, `_` and `-`"))
    } else {
        fault.help(format!(
            "a name has 1 to {MAX} of `a-z`, `0-9`, `_` and `-`: write `{}`",
            clip(&better)
        ))
    })
}

/// A name that the user gives.
#[derive(Debug, Clone)]
pub(crate) struct Name;

impl FromText for Name {
    const KIND: Kind = Kind {
        what: "a name",
        pattern: Some("^[a-z0-9_-]{1,64}$"),
        example: "api",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        check_name(text).map(|()| Self)
    }
}

/// The name of a table, which shows whether it is one.
#[derive(Debug, Clone)]
pub(crate) struct Reference;

impl FromText for Reference {
    const KIND: Kind = Name::KIND;

    fn from_text(_: &str) -> Result<Self, Fault> {
        Ok(Self)
    }
}

/// Any text.
#[derive(Debug, Clone)]
pub(crate) struct Any;

impl FromText for Any {
    const KIND: Kind = Kind {
        what: "text",
        pattern: None,
        example: "text",
        substituted: true,
    };

    fn from_text(_: &str) -> Result<Self, Fault> {
        Ok(Self)
    }
}

/// Where a file is.
#[derive(Debug, Clone)]
pub(crate) struct FilePath;

impl FromText for FilePath {
    const KIND: Kind = Kind {
        what: "the path of a file",
        pattern: None,
        example: "/etc/gateway/ca.pem",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.trim().is_empty() {
            return Err(Fault::new("a path is missing").help("write for example `\"/etc/gateway/ca.pem\"`"));
        }
        Ok(Self)
    }
}

/// Any text in which `${NAME}` has another meaning than the environment's.
#[derive(Debug, Clone)]
pub(crate) struct Raw;

impl FromText for Raw {
    const KIND: Kind = Kind {
        what: "text",
        pattern: None,
        example: "/new/$1",
        substituted: false,
    };

    fn from_text(_: &str) -> Result<Self, Fault> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_plain() {
        for name in ["api", "a-b_c9", "0"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for (name, better) in [
            ("API", "write `api`"),
            ("my api", "write `my-api`"),
            ("", "1 to 64"),
            ("é", "write `-`"),
        ] {
            let help = check_name(name).expect_err(name).help.expect("help");
            assert!(help.contains(better), "{name}: {help}");
        }
        assert!(check_name(&"a".repeat(65)).is_err());
    }

    proptest! {
        #[test]
        fn quoted_text_reads_back(text in any::<String>()) {
            let document = format!("x = {}", quoted(&text));
            let table = toml::de::DeTable::parse(&document).expect("TOML");
            let value = table.get_ref().values().next().expect("one");
            prop_assert_eq!(raw_text(value), Some(text.as_str()));
        }
    }
}
