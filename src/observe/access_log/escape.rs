//! What a client sent, made harmless: it cannot end a line, close a quotation, or steer a terminal.

/// Writes the inside of a JSON string (RFC 8259 §7). Bytes that are not UTF-8 become U+FFFD.
///
/// Beyond what the RFC asks, DEL, the C1 controls, the line separators of Unicode and the marks that turn the direction
/// of writing are escaped: terminals and viewers obey them. A JSON parser reads the same text either way.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        json_str(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Whether all of it stands as it is in either format. To the end in any case: sixteen bytes at a time.
fn is_plain(bytes: &[u8]) -> bool {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\');
    bytes.iter().fold(true, |so_far, &byte| so_far & plain(byte))
}

fn json_str(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let Some((width, code)) = unsafe_in_json(byte, &bytes[at..]) else {
            at += 1;
            continue;
        };
        out.extend_from_slice(&bytes[plain..at]);
        match code {
            0x22 => out.extend_from_slice(b"\\\""),
            0x5c => out.extend_from_slice(b"\\\\"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0d => out.extend_from_slice(b"\\r"),
            0x09 => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u");
                for shift in [12, 8, 4, 0] {
                    out.push(HEX_LOWER[usize::from(code >> shift) & 0xf]);
                }
            }
        }
        at += width;
        plain = at;
    }
    out.extend_from_slice(&bytes[plain..]);
}

/// The length and the code point of a character that must not stand as it is. `rest` is UTF-8 and begins with `byte`.
#[inline]
fn unsafe_in_json(byte: u8, rest: &[u8]) -> Option<(usize, u16)> {
    match byte {
        0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e => None,
        0x00..=0x7f => Some((1, u16::from(byte))),
        0xc2 => match rest {
            [_, next @ 0x80..=0x9f, ..] => Some((2, u16::from(*next))),
            _ => None,
        },
        0xe2 => match rest {
            // U+200E, U+200F; U+2028 to U+202E
            [_, 0x80, next @ (0x8e | 0x8f | 0xa8..=0xae), ..] => Some((3, 0x2000 | u16::from(*next & 0x3f))),
            // U+2066 to U+2069
            [_, 0x81, next @ 0xa6..=0xa9, ..] => Some((3, 0x2040 | u16::from(*next & 0x3f))),
            _ => None,
        },
        _ => None,
    }
}

/// Writes text for a line of text: every byte that is not printable ASCII, `"` and `\` become `\xHH`, as nginx does it.
pub(super) fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e) {
            continue;
        }
        out.extend_from_slice(&bytes[plain..at]);
        let digit = |nibble: u8| HEX_UPPER[usize::from(nibble)];
        out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 0xf)]);
        plain = at + 1;
    }
    out.extend_from_slice(&bytes[plain..]);
}

const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(escape: fn(&mut Vec<u8>, &[u8]), bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_by_example() {
        for (bytes, expected) in [
            (&b"plain /path?x=1"[..], "plain /path?x=1"),
            (b"a\"b\\c", "a\\\"b\\\\c"),
            (b"a\r\nb\tc\0d\x1b[31m\x7f", "a\\r\\nb\\tc\\u0000d\\u001b[31m\\u007f"),
            ("grüße 😀".as_bytes(), "grüße 😀"),
            ("\u{9b}31m\u{85}\u{a0}".as_bytes(), "\\u009b31m\\u0085\u{a0}"),
            (
                "\u{2027}\u{2028}\u{2029}\u{202e}\u{202f}".as_bytes(),
                "\u{2027}\\u2028\\u2029\\u202e\u{202f}",
            ),
            (
                "\u{200d}\u{200e}\u{200f}\u{2065}\u{2066}\u{2069}\u{206a}".as_bytes(),
                "\u{200d}\\u200e\\u200f\u{2065}\\u2066\\u2069\u{206a}",
            ),
            (b"a\xffb\xc3", "a\\ufffdb\\ufffd"),
        ] {
            assert_eq!(written(json, bytes), expected);
        }
    }

    #[test]
    fn text_by_example() {
        for (bytes, expected) in [
            (&b"plain ~"[..], "plain ~"),
            (b"a\" 200 \\x\r\n", "a\\x22 200 \\x5Cx\\x0D\\x0A"),
            ("é".as_bytes(), "\\xC3\\xA9"),
            (b"\x00\x1f\x7f\xff", "\\x00\\x1F\\x7F\\xFF"),
        ] {
            assert_eq!(written(text, bytes), expected);
        }
    }

    /// Bytes of which many are what matters here.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let nasty = prop::sample::select(vec![b'"', b'\\', b'\n', 0x80, 0x9b, 0xa8, 0x81, 0xa6, 0xc2, 0xe2, 0xf0]);
        prop::collection::vec(prop_oneof![nasty, any::<u8>()], 0..60)
    }

    proptest! {
        #[test]
        fn json_is_read_as_it_was_sent(bytes in bytes()) {
            let line = format!("\"{}\"", written(json, &bytes));
            let read: String = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes).into_owned());
            let harmful = line.chars().find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}'));
            prop_assert_eq!(harmful, None);
        }

        #[test]
        fn text_is_printable_and_cannot_close_a_quotation(bytes in bytes()) {
            let line = written(text, &bytes);
            prop_assert!(line.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b'"'));
        }
    }
}
