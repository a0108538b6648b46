//! The reference of the file, in Markdown: made from the declarations in `file/`.

use super::file::File;
use super::shape::{Description, Presence, Shape, Word};
use super::table::Table;

const INTRODUCTION: &str = "\
<!-- Generated from src/config/file/ by `make doc`. Do not edit. -->

# gateway.toml

Every table and key of the file. Everything has a default unless it says *required*.
`gateway check` reports everything that is wrong with a file at once, `gateway check --print` shows it with every
default filled in. Editors with a TOML language server check while you type: begin the file with
`#:schema ./gateway.schema.json`.

## How values are written

| what | how |
|---|---|
| durations | `\"250ms\"` `\"10s\"` `\"5min\"` `\"2h\"` `\"7d\"` `\"1w\"` `\"1y\"` |
| sizes | `\"512B\"` `\"16KB\"` `\"100MB\"` `\"1GB\"`, in powers of 1024 |
| rates | `\"10/s\"` `\"5/min\"` `\"100/h\"` `\"1000/d\"` |
| shares | `\"20%\"` |
| names | 1 to 64 of `a-z`, `0-9`, `_` and `-` |

**The environment.** `${NAME}` in a text is the environment variable of that name; one that is not set is an error.
`${NAME:-default}` has a default, which also stands in for an empty variable. `$${` is a literal `${`. A value is put
in after the file was parsed, so it cannot add keys. Three keys have placeholders of their own and know no environment:
`to` of `redirect`, `replace` of `rewrite`, and `format` of `[access_log]`. Names of tables, header fields, parameters
and cookies are taken as they are.

**Paths of files** are relative to the directory of the file.

**Not enforced yet** marks what this release checks and otherwise ignores; `gateway check` and the start warn about
each use. What is not supported at all is an error: the gateway refuses to run without something that was asked
for.
";

/// The reference of the file, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    let file = File::description();
    for key in &file.keys {
        let (header, shape) = match &key.shape {
            Shape::Named(inner) => (format!("[{}.NAME]", key.name), &**inner),
            Shape::List { of, .. } => (format!("[[{}]]", key.name), &**of),
            shape => (format!("[{}]", key.name), shape),
        };
        if let Shape::Table(description) = shape {
            section(2, &header, description, &mut text);
        }
    }
    text
}

fn section(level: usize, header: &str, description: &Description, text: &mut String) {
    text.push_str(&format!("\n{} `{header}`\n\n", "#".repeat(level)));
    text.push_str(&format!(
        "{}\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
        description.doc
    ));
    for key in &description.keys {
        let default = match key.presence {
            Presence::Required => "*required*".to_owned(),
            Presence::Optional(None) => "—".to_owned(),
            Presence::Optional(Some(or)) => or.to_owned(),
            Presence::Default("{}") => "—".to_owned(),
            Presence::Default(default) => format!("`{default}`"),
        };
        let mut doc = format!("{}{}", key.doc, words(&key.shape));
        if nested(&key.shape).is_some() {
            doc.push_str(&format!(
                " See [`{}`](#{}).",
                key.name,
                anchor(&format!("{header} {}", key.name))
            ));
        }
        text.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            key.name,
            kind(&key.shape),
            default,
            cell(&doc)
        ));
    }
    for key in &description.keys {
        if let Some(table) = nested(&key.shape) {
            section(3, &format!("{header} {}", key.name), table, text);
        }
    }
}

/// The table that a value is or can be.
fn nested(shape: &Shape) -> Option<&Description> {
    match shape {
        Shape::Table(description) => Some(description),
        Shape::List { of, .. } => nested(of),
        Shape::Either(shapes) => shapes.iter().find_map(nested),
        _ => None,
    }
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::False => "`false`".to_owned(),
        Shape::Integer { min, max } => format!("{min} to {max}"),
        Shape::Text(kind) => kind.what.trim_start_matches("a ").trim_start_matches("an ").to_owned(),
        Shape::Words(_) => "word".to_owned(),
        Shape::List { of, min: 0 } => format!("list of: {}", kind(of)),
        Shape::List { of, .. } => format!("list of at least one: {}", kind(of)),
        Shape::Either(shapes) => shapes.iter().map(kind).collect::<Vec<_>>().join(", or "),
        Shape::Table(_) | Shape::Named(_) => "table".to_owned(),
        Shape::Pairs(of) => format!("table, each name with: {}", kind(of)),
    }
}

/// The words that there are to choose from.
fn words(shape: &Shape) -> String {
    fn find(shape: &Shape) -> Option<&'static [Word]> {
        match shape {
            Shape::Words(words) => Some(words),
            Shape::List { of, .. } => find(of),
            Shape::Either(shapes) => shapes.iter().find_map(find),
            _ => None,
        }
    }
    let mut text = String::new();
    for word in find(shape).into_iter().flatten() {
        text.push_str(&format!("<br>`{}`: {}", word.word, word.doc.trim()));
    }
    text
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// The anchor that Markdown renderers give a heading.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}
