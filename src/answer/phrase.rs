//! The words of a refusal, in the three formats that clients read.

use http::HeaderValue;

use super::{Members, Reason};
use crate::quality;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `application/problem+json`, RFC 9457.
    Problem,
    Html,
    Text,
}

impl Format {
    /// What `Accept` wants most. Programs say `*/*` or nothing and get JSON; browsers say `text/html`.
    pub(super) fn negotiate(accept: Option<&str>) -> Self {
        let Some(accept) = accept.filter(|accept| !accept.trim_ascii().is_empty()) else {
            return Self::Problem;
        };
        let wanted = |media_type| quality::of_media_type(accept, media_type);
        let problem = wanted("application/problem+json").max(wanted("application/json"));
        let html = wanted("text/html");
        let text = wanted("text/plain");
        if problem > 0 && problem >= html.max(text) {
            Self::Problem
        } else if text > html {
            Self::Text
        } else {
            Self::Html
        }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        // JSON is UTF-8 and has no charset parameter (RFC 8259 §11).
        match self {
            Self::Problem => const { HeaderValue::from_static("application/problem+json") },
            Self::Html => const { HeaderValue::from_static("text/html; charset=utf-8") },
            Self::Text => const { HeaderValue::from_static("text/plain; charset=utf-8") },
        }
    }

    /// Needs no escaping but for the request id: the texts of a [`Reason`] are plain by test. `members` go into a problem
    /// only; pages and text are for people.
    pub(super) fn phrase(self, reason: Reason, members: &Members, request_id: &str) -> String {
        let status = reason.status();
        let (code, title, detail) = (status.as_str(), reason.title(), reason.detail());
        match self {
            Self::Problem => {
                let mut out = assemble(&[
                    r#"{"type":""#,
                    reason.problem_type(),
                    r#"","title":""#,
                    title,
                    r#"","status":"#,
                    code,
                    r#","detail":""#,
                    detail,
                    r#"","reason":""#,
                    reason.word(),
                    r#"","request_id":""#,
                ]);
                escape_json(request_id, &mut out);
                out.push('"');
                for (name, value) in members {
                    out.push_str(&assemble(&[",\"", name, "\":", &value.to_string()]));
                }
                out.push_str("}\n");
                out
            }
            Self::Html => {
                let mut out = assemble(&[
                    PAGE_HEAD,
                    code,
                    " ",
                    title,
                    PAGE_TITLE,
                    code,
                    PAGE_CODE,
                    title,
                    PAGE_HEADING,
                    detail,
                    PAGE_DETAIL,
                ]);
                escape_html(request_id, &mut out);
                out.push_str(PAGE_END);
                out
            }
            Self::Text => {
                let mut out = assemble(&[code, " ", title, "\n", detail, "\nRequest id: "]);
                // Line breaks would forge lines; a field value has none anyway.
                out.extend(request_id.chars().filter(|character| !character.is_control()));
                out.push('\n');
                out
            }
        }
    }
}

// Readable without its style, dark where the reader wants dark, and complete: nothing is loaded from anywhere.
const PAGE_HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta name=\"robots\" content=\"noindex\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>";
const PAGE_TITLE: &str = "</title>
<style>
:root { color-scheme: light dark }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 1.0625rem/1.5 system-ui, sans-serif }
main { padding: 2rem; max-width: 34rem }
h1 { margin: 0 0 .5rem; font-size: 1.75rem; line-height: 1.2 }
h1 span { font-weight: 400; opacity: .7 }
small { opacity: .8; overflow-wrap: anywhere }
</style>
</head>
<body>
<main>
<h1><span>";
const PAGE_CODE: &str = "</span> ";
const PAGE_HEADING: &str = "</h1>
<p>";
const PAGE_DETAIL: &str = "</p>
<p><small>Request id: <code>";
const PAGE_END: &str = "</code></small></p>
</main>
</body>
</html>
";

/// Joins the parts, with room for a request id.
fn assemble(parts: &[&str]) -> String {
    let mut out = String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 128);
    for part in parts {
        out.push_str(part);
    }
    out
}

fn escape_json(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..='\x1f' => {
                let code = character as usize;
                out.push_str("\\u00");
                out.push(char::from(HEX[code >> 4]));
                out.push(char::from(HEX[code & 15]));
            }
            _ => out.push(character),
        }
    }
}

fn escape_html(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_the_client_reads() {
        use Format::{Html, Problem, Text};
        for (accept, expected) in [
            (None, Problem),
            (Some(""), Problem),
            (Some("*/*"), Problem),
            (Some("application/json"), Problem),
            (Some("application/problem+json"), Problem),
            (Some("application/json, text/plain, */*"), Problem),
            (Some("application/json, text/html"), Problem),
            (Some("application/*"), Problem),
            (
                Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
                Html,
            ),
            (Some("text/html, application/json;q=0.9"), Html),
            (Some("text/html"), Html),
            (Some("text/*"), Html),
            (Some("application/json;q=0, text/html;q=0.1"), Html),
            (Some("text/plain"), Text),
            (Some("text/plain, text/html;q=0.5"), Text),
            (Some("text/plain, */*;q=0.1"), Text),
            (Some("image/png"), Html),
            (Some("image/avif,image/webp,*/*;q=0.8"), Problem),
            (Some(";;q=,,,"), Html),
        ] {
            assert_eq!(Format::negotiate(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_problem_has_the_members_of_rfc_9457() {
        let body = Format::Problem.phrase(Reason::NoServer, &Members::new(), "0123-abc");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            problem,
            serde_json::json!({
                "type": "about:blank",
                "title": "Service Unavailable",
                "status": 503,
                "detail": "The service behind this site is not available at the moment.",
                "reason": "no_server",
                "request_id": "0123-abc",
            })
        );
    }

    #[test]
    fn a_problem_carries_what_the_refusing_policy_adds() {
        let members = vec![("violated-policies", serde_json::json!(["api", "a \"quoted\" one"]))];
        let body = Format::Problem.phrase(Reason::RateLimited, &members, "id");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            problem["type"],
            "https://iana.org/assignments/http-problem-types#quota-exceeded"
        );
        assert_eq!(problem["status"], 429);
        assert_eq!(problem["violated-policies"], members[0].1);
        assert_eq!(problem["request_id"], "id");
        for format in [Format::Html, Format::Text] {
            assert_eq!(
                format.phrase(Reason::RateLimited, &members, "id"),
                format.phrase(Reason::RateLimited, &Members::new(), "id")
            );
        }
    }

    #[test]
    fn a_page_loads_nothing() {
        let page = Format::Html.phrase(Reason::NotFound, &Members::new(), "0123-abc");
        assert!(page.contains("<title>404 Not Found</title>"));
        for forbidden in ["http:", "https:", "src=", "href=", "url(", "<script"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn text_has_three_lines() {
        let text = Format::Text.phrase(Reason::NotFound, &Members::new(), "a\r\nb\u{85}");
        assert_eq!(
            text,
            "404 Not Found\nThere is nothing at this address.\nRequest id: ab\n"
        );
    }
}
