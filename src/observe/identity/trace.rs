//! A trace and a span in it; and `traceparent` (W3C Trace Context §3.2), read strictly, written in version 00.

/// `version "-" trace-id "-" parent-id "-" trace-flags`
pub(super) const LENGTH: usize = 55;

/// The flags that are handed on: sampled (§3.2.2.5.1), and random trace id of level 2. Others must be zero (§3.2.2.5.2).
const KNOWN_FLAGS: u8 = 0b11;

/// What is handed on of a trace that is recorded (§3.2.2.5.1).
const SAMPLED: u8 = 0b01;

/// The id of a trace: lower-case hexadecimal digits, not all of them zero.
pub type TraceId = [u8; 32];

/// The id of a span: lower-case hexadecimal digits, not all of them zero.
pub type SpanId = [u8; 16];

/// A trace, and the span in it that the gateway's own work is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TraceParent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    flags: u8,
}

/// What a caller said of the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// The trace and the caller's span; `None`: only the decision was told.
    pub(super) parent: Option<TraceParent>,
    /// Whether the trace is recorded; `None`: that is left to us.
    pub(super) sampled: Option<bool>,
}

impl TraceParent {
    /// A new trace. It is marked as sampled: the usual sampler of an application obeys its parent, and unmarked would
    /// silence all applications behind the gateway.
    pub(super) fn new(trace_id: TraceId, span_id: SpanId) -> Self {
        Self {
            trace_id,
            span_id,
            flags: SAMPLED,
        }
    }

    /// Reads a field's value. Of versions after 00 the part that 00 knows is read (§4.3).
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(LENGTH)?;
        let (version, body) = (&head[..2], &head[2..]);
        if !is_hex(version) || version == b"ff" {
            return None;
        }
        let ends_well = rest.is_empty() || (version != b"00" && rest[0] == b'-');
        if !ends_well || [body[0], body[33], body[50]] != [b'-'; 3] {
            return None;
        }
        let trace_id: TraceId = body[1..33].try_into().ok()?;
        let span_id: SpanId = body[34..50].try_into().ok()?;
        let flags = &body[51..53];
        if !is_id(&trace_id) || !is_id(&span_id) || !is_hex(flags) {
            return None;
        }
        let flags = u8::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()?;
        Some(Self {
            trace_id,
            span_id,
            flags: flags & KNOWN_FLAGS,
        })
    }

    /// The same trace, one span further.
    pub(super) fn child(self, span_id: SpanId) -> Self {
        Self { span_id, ..self }
    }

    /// The same, recorded or not.
    pub(super) fn sampled(self, sampled: bool) -> Self {
        let others = self.flags & !SAMPLED;
        Self {
            flags: if sampled { others | SAMPLED } else { others },
            ..self
        }
    }

    pub(super) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(super) fn flags(&self) -> u8 {
        self.flags
    }

    pub(super) fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.trace_id).expect("a trace id is made of hexadecimal digits")
    }

    /// The field's value, in the name of this span.
    pub(super) fn text(&self, span_id: &SpanId) -> [u8; LENGTH] {
        let mut text = *b"00-................................-................-0.";
        text[3..35].copy_from_slice(&self.trace_id);
        text[36..52].copy_from_slice(span_id);
        text[54] = b'0' + self.flags;
        text
    }
}

/// Where in a trace something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// The span above it; `None`: the trace begins here.
    pub parent: Option<SpanId>,
    /// What is handed on: recorded, random.
    pub flags: u8,
}

impl Place {
    /// A new span below this one.
    #[must_use]
    pub fn below(&self, span: SpanId) -> Self {
        Self {
            span,
            parent: Some(self.span),
            ..self.clone()
        }
    }
}

fn is_hex(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// All zeros is invalid (§3.2.2.3, §3.2.2.4).
pub(super) fn is_id(text: &[u8]) -> bool {
    is_hex(text) && text.iter().any(|&byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn value(text: &str) -> Option<String> {
        let parent = TraceParent::parse(text.as_bytes())?;
        Some(String::from_utf8(parent.text(&parent.span_id).to_vec()).unwrap())
    }

    #[test]
    fn what_is_read() {
        for (text, expected) in [
            (format!("00-{TRACE}-{SPAN}-00"), "00"),
            (format!("00-{TRACE}-{SPAN}-01"), "01"),
            (format!("00-{TRACE}-{SPAN}-03"), "03"),
            (format!("00-{TRACE}-{SPAN}-ff"), "03"),
            (format!("cc-{TRACE}-{SPAN}-01"), "01"),
            (format!("01-{TRACE}-{SPAN}-01-what-the-future-brings"), "01"),
        ] {
            assert_eq!(value(&text), Some(format!("00-{TRACE}-{SPAN}-{expected}")), "{text}");
        }
    }

    #[test]
    fn what_is_not_read() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-x"),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00-{TRACE}-{SPAN}-+1"),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("01-{TRACE}-{SPAN}-01x"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}_{SPAN}-01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(value(&text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_written_is_read_again(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(parent) = TraceParent::parse(&bytes) {
                prop_assert_eq!(TraceParent::parse(&parent.text(&parent.span_id)), Some(parent));
            }
        }

        #[test]
        fn what_is_made_is_valid(trace in "[0-9a-f]{31}[1-9a-f]", span in "[0-9a-f]{15}[1-9a-f]") {
            let made = TraceParent::new(
                trace.as_bytes().try_into().unwrap(),
                span.as_bytes().try_into().unwrap(),
            );
            prop_assert_eq!(TraceParent::parse(&made.text(&made.span_id)), Some(made));
        }
    }
}
