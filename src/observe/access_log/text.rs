//! A line as text: the combined format, and templates.

use super::field::Field;
use super::format::{Piece, Template};
use super::number::{fill, integer};
use super::redaction::MASK;
use super::{Entry, Redaction, escape, time};

/// What stands for a value that is absent.
const ABSENT: u8 = b'-';

/// Writes `client - user [time] "request" status bytes "referer" "user agent"`; the gateway knows no user.
pub(super) fn combined(line: &mut Vec<u8>, redaction: &Redaction, entry: &Entry<'_>) {
    let field = |line: &mut Vec<u8>, field: Field| write_field(line, field, redaction, entry);
    field(line, Field::Client);
    line.extend_from_slice(b" - - [");
    time::common(line, entry.time);
    line.extend_from_slice(b"] \"");
    field(line, Field::Method);
    line.push(b' ');
    field(line, Field::Path);
    if entry.query.is_some() {
        line.push(b'?');
        Field::Query.write(line, entry, redaction, escape::text);
    }
    line.push(b' ');
    field(line, Field::Version);
    line.extend_from_slice(b"\" ");
    let mut status = *b"000";
    fill(&mut status, u32::from(entry.status));
    line.extend_from_slice(&status);
    line.push(b' ');
    integer(line, entry.bytes_out);
    line.extend_from_slice(b" \"");
    field(line, Field::Referer);
    line.extend_from_slice(b"\" \"");
    field(line, Field::UserAgent);
    line.push(b'"');
}

/// Writes what a template says; `-` where a value is absent or empty.
pub(super) fn template(line: &mut Vec<u8>, template: &Template, redaction: &Redaction, entry: &Entry<'_>) {
    for piece in &template.pieces {
        match piece {
            Piece::Text(text) => line.extend_from_slice(text),
            Piece::Field(field) => write_field(line, *field, redaction, entry),
            Piece::Header(name) => {
                let before = line.len();
                let values = entry.headers.into_iter().flat_map(|headers| headers.get_all(name));
                for (index, value) in values.enumerate() {
                    if redaction.hides_header(name.as_str()) {
                        line.extend_from_slice(MASK);
                        break;
                    }
                    if index > 0 {
                        line.extend_from_slice(b", ");
                    }
                    write_header(line, name.as_str(), value.as_bytes(), redaction);
                }
                mark_absent(line, before);
            }
        }
    }
}

fn write_field(line: &mut Vec<u8>, field: Field, redaction: &Redaction, entry: &Entry<'_>) {
    let before = line.len();
    field.write(line, entry, redaction, escape::text);
    mark_absent(line, before);
}

/// A URL in a field has a query like any other.
fn write_header(line: &mut Vec<u8>, name: &str, value: &[u8], redaction: &Redaction) {
    if name == "referer" {
        redaction.url(value, |piece| escape::text(line, piece));
    } else {
        escape::text(line, value);
    }
}

fn mark_absent(line: &mut Vec<u8>, before: usize) {
    if line.len() == before {
        line.push(ABSENT);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::super::Format;
    use super::*;

    fn hiding(entries: &[&str]) -> Redaction {
        let mut redaction = Redaction::default();
        for entry in entries {
            redaction.add(entry).unwrap();
        }
        redaction
    }

    fn written(format: &str, redaction: &Redaction, entry: &Entry<'_>) -> String {
        let mut line = Vec::new();
        Format::parse(format).unwrap().write(&mut line, redaction, entry);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn combined_by_example() {
        let entry = Entry {
            referer: Some(b"https://deals247.online/?firebase_uid=s3cret"),
            ..Entry::sample()
        };
        assert_eq!(
            written("combined", &hiding(&["query:firebase_uid"]), &entry),
            concat!(
                r#"192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET /api/deals?page=2&firebase_uid=*** HTTP/1.1" 200 20480 "#,
                r#""https://deals247.online/?firebase_uid=***" "curl/8.5.0""#,
            )
        );
        let entry = Entry {
            method: "",
            path: b"",
            query: None,
            status: 0,
            user_agent: Some(b"\" 200 1 \"\r\n"),
            ..Entry::sample()
        };
        assert_eq!(
            written("combined", &Redaction::default(), &entry),
            r#"192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "- - HTTP/1.1" 000 20480 "-" "\x22 200 1 \x22\x0D\x0A""#
        );
    }

    #[test]
    fn templates_by_example() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cookie", "sid=s3cret"),
            ("cookie", "b=s3cret"),
            ("x-two", "a"),
            ("x-two", "b\"c"),
            ("x-empty", ""),
            ("referer", "https://a/?uid=s3cret"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let entry = Entry {
            headers: Some(&headers),
            ..Entry::sample()
        };
        let redaction = hiding(&["query:uid", "header:Cookie"]);
        for (template, expected) in [
            ("${time} ${client} ${status}", "2026-01-02T03:04:05.678Z 192.0.2.7 200"),
            ("${duration}/${upstream_time} ${attempts}", "0.012345/0.011002 1"),
            ("${cache} ${refusal} ${tls}", "- - -"),
            ("${header:cookie}", "***"),
            ("\"${header:X-Two}\"", "\"a, b\\x22c\""),
            ("${header:x-empty} ${header:x-none}", "- -"),
            ("${header:referer}", "https://a/?uid=***"),
        ] {
            assert_eq!(written(template, &redaction, &entry), expected);
        }
        assert_eq!(written("${header:cookie}", &redaction, &Entry::sample()), "-");
    }

    /// Bytes of which many are what matters here.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let nasty = prop::sample::select(b"\"\\\r\n\t\0 &=?%#;[]\x7f\x80\xff".to_vec());
        prop::collection::vec(prop_oneof![nasty, any::<u8>()], 0..40)
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_of_printable_ascii(
            path in bytes(), query in bytes(), agent in bytes(), referer in bytes(), host in bytes(),
        ) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&host) {
                headers.insert("x-any", value);
            }
            let entry = Entry {
                path: &path,
                query: Some(&query),
                user_agent: Some(&agent),
                referer: Some(&referer),
                host: Some(&host),
                headers: Some(&headers),
                ..Entry::sample()
            };
            let template = "${path}${query}${user_agent}${referer}${host}${header:x-any}";
            for (format, quotes) in [("combined", 6), (template, 0)] {
                let line = written(format, &hiding(&["query:a"]), &entry);
                prop_assert!(line.bytes().all(|byte| matches!(byte, 0x20..=0x7e)), "{line:?}");
                prop_assert_eq!(line.matches('"').count(), quotes, "{}", line);
            }
        }

        #[test]
        fn a_redacted_value_is_in_no_line(
            secret in "[A-Z]{12}",
            before in "[a-z=&;?#%]{0,12}",
            noise in "[a-z=;?#%+]{0,6}",
            after in "(&[a-z=]{0,8}){0,2}",
        ) {
            let query = format!("{before}&%66irebase_UID={noise}{secret}{noise}{after}");
            let referer = format!("https://deals247.online/{before}?{query}");
            let mut headers = HeaderMap::new();
            for (name, value) in [("authorization", secret.as_str()), ("user-agent", &secret), ("referer", &referer)] {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
            let entry = Entry {
                query: Some(query.as_bytes()),
                referer: Some(referer.as_bytes()),
                user_agent: Some(secret.as_bytes()),
                headers: Some(&headers),
                ..Entry::sample()
            };
            let redaction = hiding(&["query:firebase_uid", "header:authorization", "header:user-agent"]);
            let all = "${query} ${referer} ${user_agent} ${header:authorization} ${header:user-agent} ${header:referer}";
            for format in ["json", "combined", all] {
                let line = written(format, &redaction, &entry);
                prop_assert!(!line.contains(&secret), "{line}");
                prop_assert!(line.contains("***"), "{line}");
            }
        }
    }
}
