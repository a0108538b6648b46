//! How a path is spelled: escapes, dot segments, runs of slashes.

/// The byte that the escape (`%XX`) at this position stands for.
pub(crate) fn escaped_byte(text: &[u8], at: usize) -> Option<u8> {
    let &[b'%', high, low] = text.get(at..at + 3)? else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Whether a raw path has dot segments (also encoded) or empty segments: its parts do not stand for themselves.
pub(crate) fn has_dot_or_empty_segments(raw: &str) -> bool {
    let mut segments = raw.strip_prefix('/').unwrap_or(raw).split('/').peekable();
    while let Some(segment) = segments.next() {
        let empty = segment.is_empty() && segments.peek().is_some();
        if empty || is_dot_segment(segment) {
            return true;
        }
    }
    false
}

fn is_dot_segment(segment: &str) -> bool {
    without_dot(segment).is_some_and(|rest| rest.is_empty() || without_dot(rest) == Some(""))
}

fn without_dot(text: &str) -> Option<&str> {
    [".", "%2e", "%2E"].iter().find_map(|dot| text.strip_prefix(dot))
}

/// Makes every run of slashes one slash.
pub(crate) fn merge_slashes(path: &mut String) {
    let mut after_slash = false;
    path.retain(|c| {
        let keep = !(after_slash && c == '/');
        after_slash = c == '/';
        keep
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let table = [
            ("%41", Some(b'A')),
            ("%fF", Some(0xFF)),
            ("%4", None),
            ("%4g", None),
            ("%+1", None),
            ("41%", None),
        ];
        for (text, byte) in table {
            assert_eq!(escaped_byte(text.as_bytes(), 0), byte, "{text}");
        }
        assert_eq!(escaped_byte(b"%41", 9), None);
    }

    #[test]
    fn segments_that_do_not_stand_for_themselves() {
        for raw in ["/a/./b", "/a/%2e%2E", "//a", "/a//b", "/.."] {
            assert!(has_dot_or_empty_segments(raw), "{raw}");
        }
        for raw in ["/", "/a/", "/.a/..b", "/%2e%2e%2e", "/%41"] {
            assert!(!has_dot_or_empty_segments(raw), "{raw}");
        }
    }

    #[test]
    fn slashes() {
        let mut path = "//a///b/".to_owned();
        merge_slashes(&mut path);
        assert_eq!(path, "/a/b/");
    }
}
