//! The words of HTTP: methods, field names and values, statuses, paths.

use ::http::{HeaderName, HeaderValue, Method, StatusCode};
use toml::de::DeValue;

use crate::config::reader::{Node, Reader};
use crate::config::shape::{Kind, Shape};
use crate::config::suggest::clip;
use crate::config::text::{Fault, FromText};
use crate::config::value::{Element, Integer};
use crate::policy::HeaderPolicy;

impl FromText for Method {
    const KIND: Kind = Kind {
        what: "a method",
        pattern: Some("^[A-Z][A-Z-]*$"),
        example: "GET",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || Fault::new(format!("`{}` is not a method", clip(text)));
        let method = Self::from_bytes(text.as_bytes()).map_err(|_| fault().help("write for example `\"GET\"`"))?;
        if text.bytes().any(|b| b.is_ascii_lowercase()) {
            return Err(fault().help(format!(
                "methods are upper case: `\"{}\"`",
                clip(&text.to_ascii_uppercase())
            )));
        }
        if method == Self::TRACE || method == Self::CONNECT {
            return Err(Fault::new(format!("`{text}` never reaches a route"))
                .help("the gateway refuses it with 405: leave it out"));
        }
        Ok(method)
    }
}

impl FromText for HeaderName {
    const KIND: Kind = Kind {
        what: "the name of a header field",
        pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
        example: "X-Powered-By",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        Self::from_bytes(text.as_bytes()).map_err(|_| {
            let fault = Fault::new(format!("`{}` is not the name of a header field", clip(text)));
            match text.strip_suffix(':') {
                Some(name) => fault.help(format!("leave the colon away: `\"{}\"`", clip(name))),
                None => fault.help("a name has letters, digits and `-`"),
            }
        })
    }
}

/// The name of a field of an answer that the file may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldName(pub(crate) HeaderName);

impl FromText for FieldName {
    const KIND: Kind = HeaderName::KIND;

    fn from_text(text: &str) -> Result<Self, Fault> {
        let name = HeaderName::from_text(text)?;
        if HeaderPolicy::is_reserved(&name) {
            return Err(Fault::new(format!("`{}` is written by the gateway alone", clip(text)))
                .help("it frames the message or belongs to one connection: a wrong one breaks the next answer; leave it out"));
        }
        Ok(Self(name))
    }
}

impl FromText for HeaderValue {
    const KIND: Kind = Kind {
        what: "the value of a header field",
        pattern: None,
        example: "value",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = |why: &str| Fault::new(format!("`{}` is not the value of a header field: {why}", clip(text)));
        if text.trim_matches([' ', '\t']) != text {
            return Err(fault("it begins or ends with white space").help("remove it: no reader keeps it"));
        }
        // RFC 9110 §5.5: other bytes are read differently by different readers.
        if !text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
            return Err(fault("it has a control character or is not ASCII")
                .help("write it on one line, and other letters as the field wants them encoded"));
        }
        Self::from_str(text).map_err(|_| fault("it has a control character"))
    }
}

/// What a probe asks for: a path, with or without a query.
#[derive(Debug, Clone)]
pub(crate) struct RequestTarget;

impl FromText for RequestTarget {
    const KIND: Kind = Kind {
        what: "a path",
        pattern: Some("^/[^ #]*$"),
        example: "/api/health",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = Fault::new(format!("`{}` is not a path to ask for", clip(text)));
        if !text.starts_with('/') {
            return Err(fault.help(format!("it begins with `/`: `\"/{}\"`", clip(text))));
        }
        if text.bytes().any(|b| !b.is_ascii_graphic() || b == b'#') {
            return Err(fault.help("encode white space and other letters: `%20`"));
        }
        Ok(Self)
    }
}

/// A status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status(pub(crate) StatusCode);

impl Element for Status {
    fn shape() -> Shape {
        Integer::<200, 599>::shape()
    }

    fn accepts(value: &DeValue<'_>) -> bool {
        Integer::<200, 599>::accepts(value)
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Integer(status) = Integer::<200, 599>::read(node, reader)?;
        let status = u16::try_from(status).ok()?;
        StatusCode::from_u16(status).ok().map(Self)
    }

    fn write(&self) -> String {
        self.0.as_u16().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        for text in ["GET", "M-SEARCH", "PURGE"] {
            assert!(Method::from_text(text).is_ok(), "{text}");
        }
        for text in ["get", "", "G T", "TRACE", "CONNECT", "GET\n"] {
            assert!(Method::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fields_that_frame_a_message_are_the_gateways() {
        for text in ["X-A", "vary", "Content-Type"] {
            assert!(FieldName::from_text(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "a b",
            "X:",
            "é",
            "Content-Length",
            "connection",
            "Transfer-Encoding",
            "TE",
        ] {
            assert!(FieldName::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_stay_on_their_line() {
        for text in ["", "a", "max-age=1; x=\"y\"", "a\tb"] {
            assert!(HeaderValue::from_text(text).is_ok(), "{text}");
        }
        for text in ["a\r\nX: y", "a\n", "\0", "\u{7f}", "é", " a", "a "] {
            assert!(HeaderValue::from_text(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn paths() {
        for text in ["/", "/a?b=c"] {
            assert!(RequestTarget::from_text(text).is_ok(), "{text}");
        }
        for text in ["", "a", "/a b", "/é", "/a\r\n", "http://x/"] {
            assert!(RequestTarget::from_text(text).is_err(), "{text}");
        }
    }
}
