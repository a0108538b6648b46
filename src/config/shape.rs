//! What may be written where: the description that the schema, the reference and "expected …" are made from.

/// What a value looks like.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    Bool,
    /// Only `false`: the word that switches something off.
    False,
    Integer {
        min: u64,
        max: u64,
    },
    Text(Kind),
    Words(&'static [Word]),
    List {
        of: Box<Self>,
        min: usize,
    },
    Either(Vec<Self>),
    Table(Description),
    /// Tables with names of the user's own: `[upstream.NAME]`.
    Named(Box<Self>),
    /// Names of the user's own with values: `{ "X-Name" = "value" }`.
    Pairs(Box<Self>),
}

/// A kind of text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// With its article: `a duration`.
    pub(crate) what: &'static str,
    /// An expression over the whole text, for editors; the gateway has its own parser.
    pub(crate) pattern: Option<&'static str>,
    /// As a user would write it, without quotes.
    pub(crate) example: &'static str,
    /// Whether `${NAME}` stands for an environment variable.
    pub(crate) substituted: bool,
}

/// A word with a meaning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    pub(crate) word: &'static str,
    pub(crate) doc: &'static str,
}

/// A table.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    pub(crate) doc: String,
    pub(crate) keys: Vec<Key>,
}

/// A key of a table.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) doc: String,
    pub(crate) presence: Presence,
    pub(crate) shape: Shape,
}

/// What it means when a key is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    /// Nothing, or what these words say.
    Optional(Option<&'static str>),
    /// This TOML value.
    Default(&'static str),
}

impl Shape {
    /// What should have been there, in words.
    pub(crate) fn expectation(&self) -> String {
        match self {
            Self::Bool => "`true` or `false`".to_owned(),
            Self::False => "`false`".to_owned(),
            Self::Integer { .. } => "a whole number".to_owned(),
            Self::Text(kind) => kind.what.to_owned(),
            Self::Words(words) => match words {
                [one] => format!("`\"{}\"`", one.word),
                words => format!("a word like `\"{}\"`", words[0].word),
            },
            Self::List { of, .. } => match &**of {
                Self::Table(_) => "a list of tables".to_owned(),
                _ => "a list".to_owned(),
            },
            Self::Either(shapes) => shapes.iter().map(Self::expectation).collect::<Vec<_>>().join(" or "),
            Self::Table(_) | Self::Named(_) | Self::Pairs(_) => "a table".to_owned(),
        }
    }

    /// How it could be written, as TOML, where that is short.
    pub(crate) fn example(&self) -> Option<String> {
        match self {
            Self::Text(kind) => Some(format!("\"{}\"", kind.example)),
            Self::Words(words) => words.first().map(|word| format!("\"{}\"", word.word)),
            Self::List { of, .. } => of.example().map(|example| format!("[{example}]")),
            Self::Either(shapes) => shapes.iter().find_map(Self::example),
            Self::Integer { min, .. } => Some(min.to_string()),
            Self::Bool | Self::False | Self::Table(_) | Self::Named(_) | Self::Pairs(_) => None,
        }
    }
}

/// Doc comments as the macros collect them: one string a line, each with the space after the slashes.
pub(crate) fn joined(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines
        .iter()
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    lines.join("\n").trim().to_owned()
}
