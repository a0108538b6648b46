//! What a line looks like, as someone wrote it in the file.

use http::HeaderName;

use super::field::Field;
use super::{Entry, Redaction, json, text};

/// What a line looks like.
#[derive(Debug, Clone)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
    /// Text with `${field}` placeholders.
    Template(Template),
}

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    pub(super) pieces: Box<[Piece]>,
}

/// A piece of a template.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// As it was written.
    Text(Box<[u8]>),
    /// `${name}`
    Field(Field),
    /// `${header:name}`
    Header(HeaderName),
}

impl Format {
    /// Reads `json`, `combined` or a template, e.g. `"${client} ${status}"`: the fields of a JSON line, and any field of
    /// the request as `${header:NAME}`. `$$` stands for a dollar sign before `{`.
    ///
    /// # Errors
    /// What is wrong with the template, in words for the person who wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "combined" => Ok(Self::Combined),
            template if template.contains("${") => Template::parse(template).map(Self::Template),
            unknown => Err(format!(
                "there is no format `{unknown}`{}: write `json`, `combined` or a template such as \"${{client}} ${{status}}\"",
                did_you_mean(unknown, ["json", "combined"]),
            )),
        }
    }

    /// Appends the line of a request, without its end.
    pub fn write(&self, line: &mut Vec<u8>, redaction: &Redaction, entry: &Entry<'_>) {
        match self {
            Self::Json => json::write(line, redaction, entry),
            Self::Combined => text::combined(line, redaction, entry),
            Self::Template(template) => text::template(line, template, redaction, entry),
        }
    }
}

impl Template {
    fn parse(template: &str) -> Result<Self, String> {
        if let Some(control) = template.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(format!("a line cannot contain {control:?}: one request, one line"));
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = template;
        while let Some(dollar) = rest.find('$') {
            literal.push_str(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            if let Some(name) = rest.strip_prefix('{') {
                let Some((name, after)) = name.split_once('}') else {
                    return Err(format!("`${rest}` is not closed: `}}` is missing"));
                };
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal).into_bytes().into()));
                }
                pieces.push(placeholder(name)?);
                rest = after;
            } else {
                literal.push('$');
                rest = rest.strip_prefix('$').unwrap_or(rest);
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into_bytes().into()));
        }
        Ok(Self { pieces: pieces.into() })
    }
}

fn placeholder(name: &str) -> Result<Piece, String> {
    if let Some(header) = name.strip_prefix("header:") {
        return match HeaderName::from_bytes(header.as_bytes()) {
            Ok(header) => Ok(Piece::Header(header)),
            Err(_) => Err(format!("`${{{name}}}`: `{header}` is not the name of a header")),
        };
    }
    if let Some(field) = Field::ALL.into_iter().find(|field| field.name() == name) {
        return Ok(Piece::Field(field));
    }
    let names = Field::ALL.map(Field::name);
    Err(format!(
        "there is no field `{name}`{}: write one of {}, header:NAME",
        did_you_mean(name, names),
        names.join(", "),
    ))
}

/// A question after the name that `word` is close to, if there is one.
fn did_you_mean<const N: usize>(word: &str, names: [&'static str; N]) -> String {
    let close = |name: &&str| strsim::normalized_damerau_levenshtein(&word.to_lowercase(), name);
    names
        .into_iter()
        .map(|name| (close(&name), name))
        .filter(|(score, _)| *score >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, name)| format!(" (did you mean `{name}`?)"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A template as its pieces say it.
    fn read(text: &str) -> String {
        match Format::parse(text).unwrap() {
            Format::Json => "JSON".to_owned(),
            Format::Combined => "COMBINED".to_owned(),
            Format::Template(template) => template
                .pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => format!("[{}]", std::str::from_utf8(text).unwrap()),
                    Piece::Field(field) => format!("<{}>", field.name()),
                    Piece::Header(name) => format!("<header:{name}>"),
                })
                .collect(),
        }
    }

    #[test]
    fn what_is_read() {
        for (text, expected) in [
            ("json", "JSON"),
            ("combined", "COMBINED"),
            ("${client}", "<client>"),
            ("${client} ${status}", "<client>[ ]<status>"),
            (
                "[${time}] \"${header:X-Real-IP}\"",
                "[[]<time>[] \"]<header:x-real-ip>[\"]",
            ),
            ("$ 5$${x} ${path}$", "[$ 5${x} ]<path>[$]"),
            ("${path}\t€", "<path>[\t€]"),
        ] {
            assert_eq!(read(text), expected);
        }
    }

    #[test]
    fn every_field_can_be_in_a_template() {
        for field in Field::ALL {
            assert_eq!(read(&format!("${{{}}}", field.name())), format!("<{}>", field.name()));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, parts) in [
            ("jsno", &["no format `jsno`", "did you mean `json`?", "`combined`"][..]),
            ("Combined", &["did you mean `combined`?"]),
            ("", &["`json`", "template"]),
            ("client", &["no format `client`:"]),
            (
                "${clinet}",
                &[
                    "no field `clinet`",
                    "did you mean `client`?",
                    "user_agent, referer, header:NAME",
                ],
            ),
            ("${xyzzy}", &["no field `xyzzy`:"]),
            ("${}", &["no field ``:"]),
            ("a ${client", &["`${client` is not closed"]),
            ("${header:}", &["`` is not the name of a header"]),
            ("${header:a b}", &["`a b` is not the name of a header"]),
            ("${path}\n${status}", &["cannot contain '\\n'"]),
        ] {
            let error = Format::parse(text).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{text:?}: {error}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(\\PC|[${}:]){0,40}") {
            let _ = Format::parse(&text);
        }
    }
}
