//! B3 propagation: the field `b3`, and the older fields `X-B3-*` that say the same.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::only;
use super::trace::{SpanId, Told, TraceId, TraceParent, is_id};
use crate::onward::Onward;

const SINGLE: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// Reads the field `b3`, else those with names of their own.
pub(super) fn read(headers: &HeaderMap) -> Option<Told> {
    match only(headers, &SINGLE) {
        Some(value) => single(value.as_bytes()),
        None => several(headers),
    }
}

/// `TraceId-SpanId`, `TraceId-SpanId-State`, `TraceId-SpanId-State-ParentSpanId`, or the state alone.
fn single(value: &[u8]) -> Option<Told> {
    let mut parts = value.split(|&byte| byte == b'-');
    let first = parts.next()?;
    let Some(span) = parts.next() else {
        return Some(Told {
            parent: None,
            sampled: Some(state(first)?),
        });
    };
    let sampled = parts.next().map(state);
    let above = parts.next().map(span_id);
    if sampled == Some(None) || above == Some(None) || parts.next().is_some() {
        return None;
    }
    Some(Told {
        parent: Some(TraceParent::new(trace_id(first)?, span_id(span)?)),
        sampled: sampled.flatten(),
    })
}

fn several(headers: &HeaderMap) -> Option<Told> {
    let bytes = |name| only(headers, &name).map(HeaderValue::as_bytes);
    let sampled = match bytes(FLAGS) {
        Some(b"1") => Some(true),
        _ => bytes(SAMPLED).and_then(state),
    };
    let parent = match (bytes(TRACE_ID), bytes(SPAN_ID)) {
        (Some(trace), Some(span)) => Some(TraceParent::new(trace_id(trace)?, span_id(span)?)),
        _ => None,
    };
    (parent.is_some() || sampled.is_some()).then_some(Told { parent, sampled })
}

/// `d` is recorded, whatever anybody else decides.
fn state(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"d" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    }
}

/// Of 128 bits, or of 64 with zeros before them.
fn trace_id(text: &[u8]) -> Option<TraceId> {
    let mut id = [b'0'; 32];
    let from = match text.len() {
        32 => 0,
        16 => 16,
        _ => return None,
    };
    id[from..].copy_from_slice(text);
    is_id(&id).then_some(id)
}

fn span_id(text: &[u8]) -> Option<SpanId> {
    text.try_into().ok().filter(|id: &SpanId| is_id(id))
}

/// Writes both forms: an application reads either, and never two that differ.
pub(super) fn write(fields: &mut Onward<'_>, trace: &TraceParent, span: &SpanId) {
    let value =
        |bytes: &[u8]| HeaderValue::from_bytes(bytes).expect("hexadecimal digits and hyphens are a field value");
    let sampled = if trace.is_sampled() { b'1' } else { b'0' };
    let mut text = *b"................................-................-.";
    text[..32].copy_from_slice(&trace.trace_id);
    text[33..49].copy_from_slice(span);
    text[50] = sampled;
    fields.insert(SINGLE, value(&text));
    fields.insert(TRACE_ID, value(&trace.trace_id));
    fields.insert(SPAN_ID, value(span));
    fields.insert(SAMPLED, value(&[sampled]));
    fields.remove(&PARENT_SPAN_ID);
    fields.remove(&FLAGS);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        fields.iter().map(pair).collect()
    }

    fn told(fields: &[(&'static str, &str)]) -> Option<(Option<String>, Option<bool>)> {
        let told = read(&headers(fields))?;
        let parent = told.parent.map(|parent| {
            let span = std::str::from_utf8(&parent.span_id).unwrap().to_owned();
            format!("{}-{span}", parent.trace_id())
        });
        Some((parent, told.sampled))
    }

    #[test]
    fn what_is_read() {
        let both = Some(format!("{TRACE}-{SPAN}"));
        let short = Some(format!("{}{}-{SPAN}", "0".repeat(16), &TRACE[..16]));
        for (field, parent, sampled) in [
            (format!("{TRACE}-{SPAN}"), &both, None),
            (format!("{TRACE}-{SPAN}-1"), &both, Some(true)),
            (format!("{TRACE}-{SPAN}-0"), &both, Some(false)),
            (format!("{TRACE}-{SPAN}-d"), &both, Some(true)),
            (format!("{TRACE}-{SPAN}-1-{SPAN}"), &both, Some(true)),
            (format!("{}-{SPAN}-1", &TRACE[..16]), &short, Some(true)),
            ("0".to_owned(), &None, Some(false)),
            ("1".to_owned(), &None, Some(true)),
        ] {
            assert_eq!(told(&[("b3", &field)]), Some((parent.clone(), sampled)), "{field}");
        }
        let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
        for (further, sampled) in [
            (("x-b3-sampled", "1"), Some(true)),
            (("x-b3-sampled", "0"), Some(false)),
            (("x-b3-flags", "1"), Some(true)),
            (("x-other", "1"), None),
        ] {
            assert_eq!(
                told(&[ids[0], ids[1], further]),
                Some((both.clone(), sampled)),
                "{further:?}"
            );
        }
        assert_eq!(told(&[("x-b3-sampled", "0")]), Some((None, Some(false))));
        // One field says everything, where it is there.
        assert_eq!(told(&[ids[0], ids[1], ("b3", "0")]), Some((None, Some(false))));
    }

    #[test]
    fn what_is_not_read() {
        let zeros = "0".repeat(32);
        for field in [
            String::new(),
            "2".to_owned(),
            TRACE.to_owned(),
            format!("{TRACE}-"),
            format!("{TRACE}-{SPAN}-"),
            format!("{TRACE}-{SPAN}-x"),
            format!("{TRACE}-{SPAN}-1-"),
            format!("{TRACE}-{SPAN}-1-{SPAN}-1"),
            format!("{}-{SPAN}", &TRACE[1..]),
            format!("{zeros}-{SPAN}"),
            format!("{TRACE}-{}", &zeros[..16]),
            format!("{}-{SPAN}", TRACE.to_uppercase()),
        ] {
            assert_eq!(told(&[("b3", &field)]), None, "{field}");
        }
        assert_eq!(told(&[("x-b3-traceid", TRACE)]), None);
        assert_eq!(
            told(&[("x-b3-traceid", "x"), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1")]),
            None
        );
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn both_forms_are_written_and_say_the_same() {
        let sent = headers(&[("x-b3-parentspanid", SPAN), ("x-b3-flags", "1"), ("b3", "0")]);
        let mut fields = Onward::of(&sent);
        let trace = TraceParent::new(TRACE.as_bytes().try_into().unwrap(), *b"ffffffffffffffff").sampled(false);
        write(&mut fields, &trace, SPAN.as_bytes().try_into().unwrap());
        let expected = headers(&[
            ("b3", &format!("{TRACE}-{SPAN}-0")),
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", SPAN),
            ("x-b3-sampled", "0"),
        ]);
        assert_eq!(fields.to_map(), expected);
    }

    proptest! {
        #[test]
        fn nothing_panics(value in proptest::collection::vec(any::<u8>(), 0..90)) {
            let _ = single(&value);
        }

        #[test]
        fn what_is_written_is_read_again(text in "([0-9a-f]{15}[1-9]){1,2}-[0-9a-f]{15}[1-9]-[01]") {
            let told = single(text.as_bytes()).unwrap();
            let trace = told.parent.clone().unwrap().sampled(told.sampled.unwrap());
            let mut written = Onward::default();
            write(&mut written, &trace, &trace.span_id);
            let mut fields = written.to_map();
            prop_assert_eq!(&read(&fields), &Some(told.clone()));
            fields.remove(SINGLE);
            prop_assert_eq!(read(&fields), Some(told));
        }
    }
}
