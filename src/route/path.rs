//! The one path rule: what routes match on, and what is refused because it cannot be normalised safely.
//!
//! Upstreams disagree about what a path means: some decode it, some resolve `..`, some cut `;parameters`, some read a
//! backslash as a slash. A rule about `/admin` holds only if every one of them would call the same requests `/admin`.
//! So a path is either brought into one form, or refused where two readers could tell it apart.

use std::borrow::Cow;
use std::fmt;

use super::{escaped_byte, merge_slashes};

/// Why a request path is refused (always answered 400).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// Does not begin with `/`.
    NotAbsolute,
    /// `%` without two hexadecimal digits, or an overlong UTF-8 form such as `%C0%AE`, which some readers take for `.`.
    BadEscape,
    /// A control byte, raw or encoded, `%00` among them.
    Control,
    /// A raw byte that cannot stand in a path: a space, `?`, `#`, or anything beyond ASCII (RFC 3986 §3.3).
    NotAllowed,
    /// An encoded slash or a backslash, raw or encoded: two readers would split the path differently.
    AmbiguousSeparator,
    /// Dot segments that readers resolve differently: `/..;x/`, `/;x/`, or `..` behind an empty segment (`/a//../b`).
    AmbiguousDots,
    /// `..` climbs above the root.
    AboveRoot,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not begin with `/`",
            Self::BadEscape => "the path has a `%` without two hexadecimal digits, or an overlong UTF-8 form",
            Self::Control => "the path has a control byte",
            Self::NotAllowed => "the path has a byte that must be percent-encoded",
            Self::AmbiguousSeparator => "the path has a backslash or an encoded slash",
            Self::AmbiguousDots => "the path has dot segments that readers resolve differently",
            Self::AboveRoot => "the path climbs above the root",
        })
    }
}

impl std::error::Error for PathError {}

/// Normalises the path of a request target (no query) for matching. The raw path stays what is forwarded.
///
/// The rule: escapes of unreserved characters are decoded, once (RFC 3986 §6.2.2.2); the other escapes get upper-case
/// digits; dot segments are removed, also where written `%2e` (§5.2.4); runs of slashes become one slash. What comes
/// out is a fixed point and holds no `//`, `/./` or `/../`. Borrowed where nothing changes, which costs one scan.
///
/// `%252e` stays `%252e`: it is the text `%2e`. An upstream that decodes twice is broken beyond what a path rule can
/// mend. A path parameter (`/a;x`) is part of its segment.
///
/// # Errors
/// [`PathError`] where two readers could disagree about the result.
pub fn normalise(raw: &str) -> Result<Cow<'_, str>, PathError> {
    if is_normal(raw.as_bytes())? {
        return Ok(Cow::Borrowed(raw));
    }
    let normal = rebuild(raw)?;
    Ok(if normal == raw {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned(normal)
    })
}

/// Bytes that stand for themselves wherever they are. More than RFC 3986's `pchar`: browsers send `|`, `[` or `^` raw.
const ORDINARY: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7F {
        table[byte] = !matches!(byte as u8, b'/' | b'%' | b'\\' | b'?' | b'#');
        byte += 1;
    }
    table
};

/// Judges every byte. True where the path is certainly in normal form.
fn is_normal(path: &[u8]) -> Result<bool, PathError> {
    if path.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    let mut normal = true;
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        at += 1;
        if ORDINARY[usize::from(byte)] {
            continue;
        }
        match byte {
            b'/' => normal &= !needs_care(&path[at..]),
            b'%' => {
                normal &= judge_escape(path, at - 1)?;
                at += 2;
            }
            b'\\' => return Err(PathError::AmbiguousSeparator),
            0..=0x1F | 0x7F => return Err(PathError::Control),
            _ => return Err(PathError::NotAllowed),
        }
    }
    Ok(normal)
}

/// Whether the segment that begins here may be empty or a dot segment, with or without parameters.
fn needs_care(segment: &[u8]) -> bool {
    let after_dots = match segment {
        [b'/' | b';', ..] | [b'%', b'3', b'b' | b'B', ..] => return true,
        [b'.', b'.', rest @ ..] | [b'.', rest @ ..] => rest,
        _ => return false,
    };
    matches!(after_dots, [] | [b'/' | b';' | b'%', ..])
}

/// Judges an escape. True where it is in normal form.
fn judge_escape(path: &[u8], at: usize) -> Result<bool, PathError> {
    let byte = escaped_byte(path, at).ok_or(PathError::BadEscape)?;
    match byte {
        0..=0x1F | 0x7F => Err(PathError::Control),
        b'/' | b'\\' => Err(PathError::AmbiguousSeparator),
        0xC0 | 0xC1 | 0xE0 | 0xF0 if is_overlong(byte, escaped_byte(path, at + 3)) => Err(PathError::BadEscape),
        _ => Ok(!is_unreserved(byte) && !path[at + 1..at + 3].iter().any(u8::is_ascii_lowercase)),
    }
}

/// Whether these two bytes begin a UTF-8 sequence longer than its character needs (RFC 3629 §3): never valid, and
/// decoded to `.` or `/` by careless readers. A lone `%C0` may be Latin-1 and passes.
fn is_overlong(first: u8, second: Option<u8>) -> bool {
    match (first, second) {
        (0xC0 | 0xC1, Some(second)) => (0x80..=0xBF).contains(&second),
        (0xE0, Some(second)) => (0x80..=0x9F).contains(&second),
        (0xF0, Some(second)) => (0x80..=0x8F).contains(&second),
        _ => false,
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Writes the normal form of a path whose bytes have been judged.
fn rebuild(raw: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(raw.len());
    let mut segments = raw[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let start = out.len();
        out.push('/');
        push_decoded(&mut out, segment);
        let (name, has_parameters) = without_parameters(&out[start + 1..]);
        match name {
            "." | ".." if has_parameters => return Err(PathError::AmbiguousDots),
            "" if has_parameters && !last => return Err(PathError::AmbiguousDots),
            // A trailing dot segment leaves the slash before it (RFC 3986 §5.2.4).
            "." => out.truncate(start + usize::from(last)),
            ".." => {
                out.truncate(start);
                let parent = out.rfind('/').ok_or(PathError::AboveRoot)?;
                // Readers that merge slashes climb over the segment before, the others over the empty one.
                if parent + 1 == out.len() {
                    return Err(PathError::AmbiguousDots);
                }
                out.truncate(parent + usize::from(last));
            }
            _ => {}
        }
    }
    // Only now, so that `..` above saw the empty segments.
    merge_slashes(&mut out);
    Ok(out)
}

fn push_decoded(out: &mut String, segment: &str) {
    let mut rest = segment;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        match escaped_byte(rest.as_bytes(), at) {
            Some(byte) if is_unreserved(byte) => out.push(char::from(byte)),
            _ => out.extend(rest[at..at + 3].chars().map(|c| c.to_ascii_uppercase())),
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
}

/// The segment up to its parameters, and whether it has any; an encoded `;` counts, for readers that decode first.
fn without_parameters(segment: &str) -> (&str, bool) {
    match segment.find(';').into_iter().chain(segment.find("%3B")).min() {
        Some(at) => (&segment[..at], true),
        None => (segment, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::has_dot_or_empty_segments;
    use proptest::prelude::*;

    #[test]
    fn normal_forms() {
        let table = [
            ("/", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/%61pi/%7Euser", "/api/~user"),
            ("/%e4%bd%a0", "/%E4%BD%A0"),
            ("/%252e%252e/x", "/%252e%252e/x"),
            ("//a///b//", "/a/b/"),
            ("/a/./b/.", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e", "/"),
            ("/%2e", "/"),
            ("/a/b/../../", "/"),
            ("/...", "/..."),
            ("/.well-known/acme-challenge/x", "/.well-known/acme-challenge/x"),
            ("/..a/.b", "/..a/.b"),
            ("/a//b/../c", "/a/c"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/;jsessionid=1", "/;jsessionid=1"),
            ("/a%20b+c", "/a%20b+c"),
            ("/%C0x", "/%C0x"),
            ("/[id]|^{}", "/[id]|^{}"),
        ];
        for (raw, normal) in table {
            let got = normalise(raw);
            assert_eq!(got.as_deref(), Ok(normal), "{raw}");
            assert_eq!(matches!(got, Ok(Cow::Borrowed(_))), raw == normal, "{raw}");
        }
    }

    #[test]
    fn refusals() {
        use PathError::*;
        let table = [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("a/b", NotAbsolute),
            ("http://h/", NotAbsolute),
            ("/%", BadEscape),
            ("/%4", BadEscape),
            ("/%zz", BadEscape),
            ("/%+1", BadEscape),
            ("/%%32e", BadEscape),
            ("/%c0%ae%c0%ae/x", BadEscape),
            ("/%c1%9c", BadEscape),
            ("/%e0%80%af", BadEscape),
            ("/%f0%80%80%af", BadEscape),
            ("/a%00", Control),
            ("/a%0d%0aX:", Control),
            ("/a%7f", Control),
            ("/a\tb", Control),
            ("/a\u{7f}", Control),
            ("/a b", NotAllowed),
            ("/a?b", NotAllowed),
            ("/a#b", NotAllowed),
            ("/caf\u{e9}", NotAllowed),
            ("/a%2Fb", AmbiguousSeparator),
            ("/a%2f..%2fb", AmbiguousSeparator),
            ("/a%5cb", AmbiguousSeparator),
            ("/a\\..\\b", AmbiguousSeparator),
            ("/..;/admin", AmbiguousDots),
            ("/a/.;x/b", AmbiguousDots),
            ("/a/%2e%2e;x=1/b", AmbiguousDots),
            ("/a/..%3b/b", AmbiguousDots),
            ("/a/..;", AmbiguousDots),
            ("/;x/admin", AmbiguousDots),
            ("/%3Bx/admin", AmbiguousDots),
            ("/public/;/../admin", AmbiguousDots),
            ("/admin//../x", AmbiguousDots),
            ("/admin//y/../../x", AmbiguousDots),
            ("/..", AboveRoot),
            ("/../x", AboveRoot),
            ("/a/../../x", AboveRoot),
            ("/%2e%2e/x", AboveRoot),
            ("/./..", AboveRoot),
        ];
        for (raw, error) in table {
            assert_eq!(normalise(raw), Err(error), "{raw}");
        }
    }

    fn tricky_path() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "/", "/", "/", ".", "..", "%2e", "%2E", "a", "B", ";", "%3b", "%41", "%25", "2e", "%c3", "%A9", "%20",
            "%C0", "%2f", "\\", "%", "~", "é", "#", "api", "\0",
        ]);
        prop::collection::vec(piece, 0..14).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn a_fixed_point_without_dots(raw in tricky_path()) {
            if let Ok(normal) = normalise(&raw) {
                prop_assert!(normal.starts_with('/'));
                prop_assert!(!normal.contains("//"));
                prop_assert!(!normal.split('/').any(|segment| segment == "." || segment == ".."));
                prop_assert_eq!(matches!(normal, Cow::Borrowed(_)), *normal == raw);
                let again = normalise(&normal);
                prop_assert_eq!(again.as_deref(), Ok(&*normal));
                prop_assert_eq!(has_dot_or_empty_segments(&normal), false);
            }
        }

        /// A reader that merges slashes before it resolves dots agrees with one that resolves them first.
        #[test]
        fn the_order_of_merging_does_not_matter(raw in tricky_path()) {
            if let Ok(normal) = normalise(&raw) {
                let mut merged = raw.clone();
                while merged.contains("//") {
                    merged = merged.replace("//", "/");
                }
                let merged = normalise(&merged);
                prop_assert_eq!(merged.as_deref(), Ok(&*normal));
            }
        }

        #[test]
        fn never_panics(raw in any::<String>()) {
            let _ = normalise(&raw);
            let _ = has_dot_or_empty_segments(&raw);
        }
    }
}
