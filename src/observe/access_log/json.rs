//! A line as one JSON object.

use super::field::Field;
use super::{Entry, Redaction, escape};

/// Writes the object; what is absent is left out.
pub(super) fn write(line: &mut Vec<u8>, redaction: &Redaction, entry: &Entry<'_>) {
    line.push(b'{');
    let first = line.len();
    for field in Field::ALL {
        let before = line.len();
        if before > first {
            line.push(b',');
        }
        line.push(b'"');
        line.extend_from_slice(field.name().as_bytes());
        let (open, close): (&[u8], &[u8]) = if field.is_number() {
            (b"\":", b"")
        } else {
            (b"\":\"", b"\"")
        };
        line.extend_from_slice(open);
        if field.write(line, entry, redaction, escape::json) {
            line.extend_from_slice(close);
        } else {
            line.truncate(before);
        }
    }
    line.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::{Duration, SystemTime};

    use http::Version;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn written(redaction: &Redaction, entry: &Entry<'_>) -> String {
        let mut line = Vec::new();
        write(&mut line, redaction, entry);
        String::from_utf8(line).unwrap()
    }

    fn hiding(entry: &str) -> Redaction {
        let mut redaction = Redaction::default();
        redaction.add(entry).unwrap();
        redaction
    }

    #[test]
    fn by_example() {
        assert_eq!(
            written(&hiding("query:firebase_uid"), &Entry::sample()),
            concat!(
                r#"{"time":"2026-01-02T03:04:05.678Z","request_id":"0123456789abcdef0123456789abcdef","#,
                r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","client":"192.0.2.7","route":"api","#,
                r#""method":"GET","host":"deals247.online","path":"/api/deals","query":"page=2&firebase_uid=***","#,
                r#""version":"HTTP/1.1","status":200,"bytes_in":512,"bytes_out":20480,"duration":0.012345,"#,
                r#""upstream":"api","server":"127.0.0.1:5000","upstream_time":0.011002,"attempts":1,"#,
                r#""user_agent":"curl/8.5.0"}"#,
            )
        );
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let entry = Entry {
            trace_id: None,
            route: None,
            method: "",
            host: None,
            path: b"",
            query: None,
            status: 0,
            upstream: None,
            server: None,
            upstream_time: None,
            attempts: 0,
            refusal: Some("bad_request"),
            user_agent: None,
            ..Entry::sample()
        };
        assert_eq!(
            written(&Redaction::default(), &entry),
            concat!(
                r#"{"time":"2026-01-02T03:04:05.678Z","request_id":"0123456789abcdef0123456789abcdef","#,
                r#""client":"192.0.2.7","version":"HTTP/1.1","status":0,"bytes_in":512,"bytes_out":20480,"#,
                r#""duration":0.012345,"refusal":"bad_request"}"#,
            )
        );
    }

    #[test]
    fn an_upstream_without_a_server_shows_no_attempt() {
        let entry = Entry {
            server: None,
            upstream_time: None,
            attempts: 0,
            cache: Some("miss"),
            limit: Some("allowed"),
            refusal: Some("no_server"),
            tls: Some("TLSv1.3"),
            ..Entry::sample()
        };
        let line = written(&Redaction::default(), &entry);
        let expected =
            r#""upstream":"api","attempts":0,"cache":"miss","limit":"allowed","refusal":"no_server","tls":"TLSv1.3","#;
        assert!(line.contains(expected), "{line}");
    }

    #[test]
    fn redacted_fields_are_masked() {
        let entry = Entry {
            referer: Some(b"https://a/?uid=s3cret"),
            ..Entry::sample()
        };
        for (hidden, expected) in [
            ("header:user-agent", r#""user_agent":"***""#),
            ("header:host", r#""host":"***""#),
            ("header:referer", r#""referer":"***""#),
            ("query:uid", r#""referer":"https://a/?uid=***""#),
        ] {
            let line = written(&hiding(hidden), &entry);
            assert!(line.contains(expected), "{line}");
        }
    }

    /// Bytes of which many are what matters here.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let nasty = prop::sample::select(b"\"\\\r\n\t\0{}:,&=?%\x7f\x80\xc2\xe2\xff".to_vec());
        prop::collection::vec(prop_oneof![nasty, any::<u8>()], 0..40)
    }

    proptest! {
        #[test]
        fn a_line_is_read_as_it_was_meant(
            path in bytes(),
            query in prop::option::of(bytes()),
            user_agent in prop::option::of(bytes()),
            referer in prop::option::of(bytes()),
            host in prop::option::of(bytes()),
            route in "\\PC{0,10}",
            client: IpAddr,
            numbers: (u64, u64, u32, u32),
            status in 0u16..1000,
            micros in 0u64..100_000_000,
        ) {
            let (bytes_in, bytes_out, attempts, millis) = numbers;
            let entry = Entry {
                time: SystemTime::UNIX_EPOCH + Duration::from_millis(u64::from(millis)),
                client,
                route: Some(&route),
                host: host.as_deref(),
                path: &path,
                query: query.as_deref(),
                version: Version::HTTP_2,
                status,
                bytes_in,
                bytes_out,
                duration: Duration::from_micros(micros),
                attempts,
                user_agent: user_agent.as_deref(),
                referer: referer.as_deref(),
                ..Entry::sample()
            };
            let line = written(&hiding("query:no-such-name"), &entry);
            prop_assert!(!line.chars().any(char::is_control));
            let read: Value = serde_json::from_str(&line).unwrap();
            let names: Vec<&str> = read.as_object().unwrap().keys().map(String::as_str).collect();
            let order: Vec<&str> = Field::ALL.iter().map(|f| f.name()).filter(|name| names.contains(name)).collect();
            prop_assert_eq!(&names, &order);

            let text = |name: &str| read.get(name).map(|value| value.as_str().unwrap().to_owned());
            let lossy = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
            prop_assert_eq!(text("path"), Some(&path).filter(|p| !p.is_empty()).map(lossy));
            prop_assert_eq!(text("query"), query.as_ref().map(lossy));
            prop_assert_eq!(text("user_agent"), user_agent.as_ref().map(lossy));
            prop_assert_eq!(text("referer"), referer.as_ref().map(lossy));
            prop_assert_eq!(text("host"), host.as_ref().map(lossy));
            prop_assert_eq!(text("route"), Some(route));
            prop_assert_eq!(text("client"), Some(client.to_string()));
            prop_assert_eq!(text("version"), Some("HTTP/2.0".to_owned()));
            for (name, value) in [
                ("status", u64::from(status)),
                ("bytes_in", bytes_in),
                ("bytes_out", bytes_out),
                ("attempts", u64::from(attempts)),
            ] {
                prop_assert_eq!(read[name].as_u64(), Some(value));
            }
            let read_micros = (read["duration"].as_f64().unwrap() * 1e6).round() as u64;
            prop_assert_eq!(read_micros, micros);
        }
    }
}
