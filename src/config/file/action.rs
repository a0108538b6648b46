//! What a route does with a request.

use ::http::{HeaderValue, StatusCode};
use toml::de::DeValue;

use super::http::{FieldName, Status};
use crate::config::named::Pairs;
use crate::config::reader::{Node, Reader};
use crate::config::shape::{Kind, Shape};
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Any, Fault, FromText, Raw, Written};
use crate::config::value::{Element, Integer};
use crate::config::words::words;
use crate::policy;

table! {
    /// Answers with a fixed body.
    pub struct Respond {
        /// The status.
        default status: Status = "200",
        /// The media type of the body.
        default content_type: Written<HeaderValue> = "\"text/plain\"",
        /// The body.
        default body: Written<Any> = "\"\"",
        /// Further header fields.
        default headers: Pairs<FieldName, Written<HeaderValue>> = "{}",
    }
}

table! {
    /// Sends the client elsewhere.
    pub struct Redirect {
        /// Where to: a path or a URL. `${scheme}`, `${host}`, `${path}` and `${query}` are the request's; `$1` and
        /// `${name}` are what the route's regular expression captured. No environment variables here.
        required to: Written<Target>,
        /// 301 or 308 for good, 302 or 307 for now, 303 for "look there with GET". 307 and 308 keep the method.
        default status: RedirectStatus = "308",
    }
}

/// A redirect's target; it is read together with the route's path, whose captures it may name.
#[derive(Debug, Clone)]
pub(crate) struct Target;

impl FromText for Target {
    const KIND: Kind = Kind {
        what: "a path or a URL",
        pattern: None,
        example: "https://${host}${path}",
        substituted: false,
    };

    fn from_text(_: &str) -> Result<Self, Fault> {
        Ok(Self)
    }
}

/// A status that redirects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RedirectStatus(pub(crate) StatusCode);

impl Element for RedirectStatus {
    fn shape() -> Shape {
        Integer::<301, 308>::shape()
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        Integer::<301, 308>::accepts(value)
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Integer(integer) = node.get_ref() else {
            return None;
        };
        let status = match (integer.radix(), integer.as_str()) {
            (10, "301") => StatusCode::MOVED_PERMANENTLY,
            (10, "302") => StatusCode::FOUND,
            (10, "303") => StatusCode::SEE_OTHER,
            (10, "307") => StatusCode::TEMPORARY_REDIRECT,
            (10, "308") => StatusCode::PERMANENT_REDIRECT,
            (_, other) => {
                let message = format!("`{}` does not redirect", clip(other));
                let help = "there are 301, 302, 303, 307 and 308".to_owned();
                reader.error(reader.span(node), message, help);
                return None;
            }
        };
        Some(Self(status))
    }

    fn write(&self) -> String {
        self.0.as_u16().to_string()
    }
}

words! {
    /// What the gateway itself serves.
    pub enum Serve {
        /// The metrics, in the format of Prometheus.
        Metrics = "metrics",
        /// The health of the gateway and its upstreams: the path itself, and `/live`, `/ready` and `/detailed` below it.
        Health = "health",
    }
}

table! {
    /// Serves files.
    pub struct Files {
        /// The directory, relative to the directory of this file.
        required root: Written<Directory>,
        /// The file that a directory is answered with.
        default index: Written<FileName> = "\"index.html\"",
        /// The file that a path without an extension is answered with where there is no such file, relative to the root:
        /// what applications with routes in the browser need.
        optional spa_fallback: Written<RelativePath> => "404",
    }
}

/// A directory; whether it is there shows where it is known what it is relative to.
#[derive(Debug, Clone)]
pub(crate) struct Directory;

impl FromText for Directory {
    const KIND: Kind = Kind {
        what: "a directory",
        pattern: None,
        example: "public",
        substituted: true,
    };

    fn from_text(_: &str) -> Result<Self, Fault> {
        Ok(Self)
    }
}

/// The name of a file without a directory.
#[derive(Debug, Clone)]
pub(crate) struct FileName;

impl FromText for FileName {
    const KIND: Kind = Kind {
        what: "the name of a file",
        pattern: Some("^[^/\\\\]+$"),
        example: "index.html",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.contains('/') {
            return Err(
                Fault::new(format!("`{}` is not the name of a file", clip(text))).help("write a name without `/`")
            );
        }
        RelativePath::from_text(text).map(|_| Self)
    }
}

/// A path below a directory.
#[derive(Debug, Clone)]
pub(crate) struct RelativePath;

impl FromText for RelativePath {
    const KIND: Kind = Kind {
        what: "a path below the root",
        pattern: Some("^[^/].*$"),
        example: "index.html",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = Fault::new(format!("`{}` is not a path below the root", clip(text)));
        if let Some(relative) = text.strip_prefix('/') {
            return Err(fault.help(format!(
                "it is relative to the root: `\"{}\"`",
                clip(relative.trim_start_matches('/'))
            )));
        }
        let hidden = text.split('/').any(|part| part.is_empty() || part.starts_with('.'));
        if hidden || text.contains('\\') || text.chars().any(char::is_control) {
            return Err(fault.help("write names with `/` between them; none begins with a dot"));
        }
        Ok(Self)
    }
}

table! {
    /// Changes the path that the application or the directory sees, in this order: take a prefix away, replace, put a
    /// prefix before it. Routes, limits and logs keep to the path that the client sent.
    pub struct Rewrite {
        /// Takes this away from the beginning: `/api` makes `/users` of `/api/users`, and leaves `/apix` alone.
        optional strip_prefix: Written<PathPrefix>,
        /// Replaces what this regular expression matches.
        optional regex: Written<Expression>,
        /// What it is replaced by; `$1` and `${name}` are what the expression captured. No environment variables here.
        optional replace: Written<Raw>,
        /// Puts this before the path.
        optional add_prefix: Written<PathPrefix>,
    }
}

/// A path, to be taken away from or put before another one.
#[derive(Debug, Clone)]
pub(crate) struct PathPrefix;

impl FromText for PathPrefix {
    const KIND: Kind = Kind {
        what: "a path",
        pattern: Some("^/[^ ?#*]*$"),
        example: "/api",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        policy::Rewrite::new(Some(text), None, None)
            .map(|_| Self)
            .map_err(Fault::from)
    }
}

/// A regular expression over a path.
#[derive(Debug, Clone)]
pub(crate) struct Expression;

impl FromText for Expression {
    const KIND: Kind = Kind {
        what: "a regular expression",
        pattern: None,
        example: "^/old/(.*)$",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        policy::Rewrite::new(None, Some((text, "")), None)
            .map(|_| Self)
            .map_err(Fault::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_root() {
        for text in ["index.html", "app/index.html"] {
            assert!(RelativePath::from_text(text).is_ok(), "{text}");
        }
        for text in ["", "/etc/passwd", "../x", "a/../b", ".env", "a//b", "a\\b", "a\0"] {
            assert!(RelativePath::from_text(text).is_err(), "{text}");
        }
        assert!(FileName::from_text("a/b").is_err());
    }
}
