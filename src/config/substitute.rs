//! `${NAME}` and `${NAME:-default}` in text values. It happens on values after parsing, so a value cannot inject TOML.

use super::suggest::clip;

/// How a variable's value is found.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A longer value than any file may be is refused.
const MAX_VALUE: usize = 4 * 1024 * 1024;

/// Why a value cannot be completed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unresolved {
    /// The placeholder as written, to find it in the file.
    pub(crate) placeholder: String,
    pub(crate) message: String,
    pub(crate) help: String,
    /// The variable is not set; otherwise the placeholder is none.
    pub(crate) is_unset: bool,
}

/// Puts the environment into a text.
pub(crate) fn substitute(text: &str, env: Env<'_>) -> Result<String, Unresolved> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$${") {
            result.push_str("${");
            rest = after;
        } else if rest.starts_with("${") {
            let (value, after) = placeholder(rest, env)?;
            result.push_str(&value);
            rest = after;
        } else {
            result.push('$');
            rest = &rest[1..];
        }
        if result.len() > MAX_VALUE {
            return Err(unresolved(
                "${",
                "the value is too long",
                "shorten the variables that it uses",
            ));
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// The value of the placeholder that `text` begins with, and what follows it.
fn placeholder<'t>(text: &'t str, env: Env<'_>) -> Result<(String, &'t str), Unresolved> {
    const LITERAL: &str =
        "`${NAME}` and `${NAME:-default}` stand for environment variables; write `$${` for a literal `${`";
    let Some(end) = text.find('}') else {
        return Err(unresolved("${", "`${` is not closed by `}`", LITERAL));
    };
    let (inner, after) = (&text[2..end], &text[end + 1..]);
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if !is_name {
        let message = format!("`{}` is not the name of an environment variable", clip(name));
        return Err(unresolved(&text[..=end], &message, LITERAL));
    }
    match (env(name), default) {
        (Some(value), _) if !value.is_empty() || default.is_none() => Ok((value, after)),
        (_, Some(default)) => Ok((default.to_owned(), after)),
        (_, None) => Err(Unresolved {
            is_unset: true,
            ..unresolved(
                &text[..=end],
                &format!("the environment variable `{}` is not set", clip(name)),
                &format!(
                    "set it, or give a default: `${{{}:-…}}`; `$${{` is a literal `${{`",
                    clip(name)
                ),
            )
        }),
    }
}

fn unresolved(placeholder: &str, message: &str, help: &str) -> Unresolved {
    Unresolved {
        placeholder: placeholder.to_owned(),
        message: message.to_owned(),
        help: help.to_owned(),
        is_unset: false,
    }
}

/// The text that [`substitute`] turns into this one.
pub(crate) fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("example.net".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("\"\n[admin]\nlisten = ${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn values_come_from_the_environment() {
        for (text, value) in [
            ("plain", "plain"),
            ("${HOST}", "example.net"),
            ("http://${HOST}:${PORT:-80}/", "http://example.net:80/"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${HOST:-x}", "example.net"),
            ("${NONE:-}", ""),
            ("$${HOST}", "${HOST}"),
            ("$$${HOST}", "$${HOST}"),
            ("$5 $ $", "$5 $ $"),
            // What a variable holds is not looked at again, and is no TOML.
            ("${TRICK}", "\"\n[admin]\nlisten = ${HOST}"),
        ] {
            assert_eq!(substitute(text, &env).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, placeholder, message) in [
            ("a${NONE}b", "${NONE}", "the environment variable `NONE` is not set"),
            ("${HOST", "${", "`${` is not closed by `}`"),
            ("${a b}", "${a b}", "`a b` is not the name of an environment variable"),
            ("${1A}", "${1A}", "`1A` is not the name of an environment variable"),
            ("${}", "${}", "`` is not the name of an environment variable"),
        ] {
            let error = substitute(text, &env).expect_err(text);
            assert_eq!(
                (error.placeholder.as_str(), error.message.as_str()),
                (placeholder, message)
            );
        }
    }

    proptest! {
        #[test]
        fn escaped_text_stays_as_it_is(text in "[a-zA-Z${}:-]{0,30}") {
            prop_assert_eq!(substitute(&escape(&text), &env), Ok(text));
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = substitute(&text, &env);
        }
    }
}
