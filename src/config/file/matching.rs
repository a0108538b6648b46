//! What a route asks of a request: hosts, paths, and further conditions.

use ::http::HeaderName;

use crate::config::named::Pairs;
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::route::{HostPattern, PathPattern, PatternError, ValuePattern};

table! {
    /// Further conditions, all of which must hold. A value is the text itself, `*` for any, or `~` and a regular
    /// expression.
    pub struct When {
        /// Header fields: `{ "X-Version" = "2" }`.
        default header: Pairs<HeaderName, Written<ValuePattern>> = "{}",
        /// Query parameters: `{ debug = "*" }`.
        default query: Pairs<ParameterName, Written<ValuePattern>> = "{}",
        /// Cookies: `{ beta = "yes" }`.
        default cookie: Pairs<CookieName, Written<ValuePattern>> = "{}",
    }
}

impl From<PatternError> for Fault {
    fn from(error: PatternError) -> Self {
        // Some say what to write, some say only that: the bare text.
        let help = error.help.map(|help| {
            if help.starts_with('`') {
                format!("write {help}")
            } else {
                help
            }
        });
        Self {
            message: error.message,
            help,
        }
    }
}

impl FromText for PathPattern {
    const KIND: Kind = Kind {
        what: "a path",
        pattern: Some("^[/~].*$"),
        example: "/api/*",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        Self::parse(text).map_err(Fault::from)
    }
}

impl FromText for HostPattern {
    const KIND: Kind = Kind {
        what: "a host",
        pattern: Some("^(\\*\\.)?[^*/:]+$"),
        example: "deals247.online",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        Self::parse(text).map_err(Fault::from)
    }
}

impl FromText for ValuePattern {
    const KIND: Kind = Kind {
        what: "a value",
        pattern: None,
        example: "*",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        Self::parse(text).map_err(Fault::from)
    }
}

/// The name of a query parameter.
#[derive(Debug, Clone)]
pub(crate) struct ParameterName;

impl FromText for ParameterName {
    const KIND: Kind = Kind {
        what: "the name of a parameter",
        pattern: Some("^.+$"),
        example: "page",
        substituted: false,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            Err(Fault::new("a parameter needs a name"))
        } else {
            Ok(Self)
        }
    }
}

/// The name of a cookie: a token (RFC 6265 §4.1.1).
#[derive(Debug, Clone)]
pub(crate) struct CookieName;

impl FromText for CookieName {
    const KIND: Kind = Kind {
        what: "the name of a cookie",
        pattern: HeaderName::KIND.pattern,
        example: "session",
        substituted: false,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        HeaderName::from_bytes(text.as_bytes())
            .map(|_| Self)
            .map_err(|_| Fault::new(format!("`{}` is not the name of a cookie", clip(text))))
    }
}

/// The extension of a file name, without the dot.
#[derive(Debug, Clone)]
pub(crate) struct Extension(pub(crate) Box<str>);

impl FromText for Extension {
    const KIND: Kind = Kind {
        what: "an extension",
        pattern: Some("^[^./]+$"),
        example: "css",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = Fault::new(format!("`{}` is not an extension", clip(text)));
        let bare = text.trim_start_matches(['*', '.']);
        if bare.is_empty() || bare.contains(['/', '.']) || !bare.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(fault.help("write what follows the last dot: `\"css\"`"));
        }
        if bare != text {
            return Err(fault.help(format!("leave the dot away: `\"{}\"`", clip(bare))));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        assert_eq!(
            Extension::from_text("CSS").map(|extension| extension.0).as_deref(),
            Ok("css")
        );
        for text in ["", ".css", "*.css", "tar.gz", "a/b", "a b"] {
            assert!(Extension::from_text(text).is_err(), "{text}");
        }
    }
}
