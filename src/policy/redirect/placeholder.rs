//! Placeholders of a redirection's target.

use regex::Regex;

use super::template::{TemplateError, fault};

/// A part of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Box<str>),
    Scheme,
    Host,
    Path,
    Query,
    /// A group of the route's expression, by its number.
    Capture(usize),
}

/// Reads the placeholder after a `$`; gives what follows it.
pub(super) fn placeholder<'a>(text: &'a str, captures: Option<&Regex>) -> Result<(Piece, &'a str), TemplateError> {
    if let Some(braced) = text.strip_prefix('{') {
        let Some((name, after)) = braced.split_once('}') else {
            return Err(fault("`${` without `}`", "`$$` for a dollar sign"));
        };
        return Ok((named(name, captures)?, after));
    }
    let end = |is_part: fn(char) -> bool| text.find(|c| !is_part(c)).unwrap_or(text.len());
    let digits = end(|c| c.is_ascii_digit());
    if digits > 0 {
        return Ok((named(&text[..digits], captures)?, &text[digits..]));
    }
    match &text[..end(|c| c.is_ascii_alphanumeric() || c == '_')] {
        "" => Err(fault("`$` stands before a placeholder", "`$$` for a dollar sign")),
        "request_uri" => Err(fault("`$request_uri` is not known here", "`${path}?${query}`")),
        "uri" => Err(fault("`$uri` is not known here", "`${path}`")),
        "args" | "query_string" => Err(fault("nginx's name of the query is not known here", "`${query}`")),
        "http_host" | "server_name" => Err(fault("nginx's name of the host is not known here", "`${host}`")),
        name => Err(match named(name, captures) {
            Ok(_) => fault(format!("`${name}` lacks its braces"), format!("`${{{name}}}`")),
            Err(error) => error,
        }),
    }
}

fn named(name: &str, captures: Option<&Regex>) -> Result<Piece, TemplateError> {
    let number = match name {
        "scheme" => return Ok(Piece::Scheme),
        "host" => return Ok(Piece::Host),
        "path" => return Ok(Piece::Path),
        "query" => return Ok(Piece::Query),
        _ => captures.and_then(|regex| match name.parse::<usize>() {
            Ok(number) => Some(number).filter(|&number| number < regex.captures_len()),
            Err(_) => regex.capture_names().position(|known| known == Some(name)),
        }),
    };
    number.map(Piece::Capture).ok_or_else(|| unknown(name, captures))
}

fn unknown(name: &str, captures: Option<&Regex>) -> TemplateError {
    let mut known: Vec<String> = ["scheme", "host", "path", "query"].map(String::from).into();
    if let Some(regex) = captures {
        let groups = regex.capture_names().enumerate();
        known.extend(groups.map(|(number, group)| group.map_or_else(|| number.to_string(), String::from)));
    }
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let close = |candidate: &&String| !is_number && strsim::damerau_levenshtein(candidate, name) <= 2;
    let nearest = known
        .iter()
        .filter(close)
        .min_by_key(|candidate| strsim::damerau_levenshtein(candidate, name));
    let help = if let Some(nearest) = nearest {
        format!("did you mean `${{{nearest}}}`?")
    } else if captures.is_none() && is_number {
        "captures need a path that is an expression: `path = \"~^/old/(.*)$\"`".to_owned()
    } else {
        let list: Vec<_> = known.iter().map(|name| format!("`${{{name}}}`")).collect();
        format!("there are {}", list.join(", "))
    };
    fault(format!("there is no placeholder `${{{name}}}`"), help)
}
