//! What a path names below a root, decided before the disk is asked.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A path below a root that only goes downwards.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Relative to the root; empty for the root itself.
    pub(super) relative: PathBuf,
    /// Names a directory: ends in a slash.
    pub(super) directory: bool,
    /// Whether the last segment has a dot.
    pub(super) has_extension: bool,
}

impl Target {
    /// Decodes a normalised path, once. `None`: no file may be served under this name, be there one or not. Hidden files
    /// and directories are such names, but for `/.well-known/` (RFC 8615).
    pub(super) fn parse(path: &str) -> Option<Self> {
        let inner = path.strip_prefix('/')?;
        let directory = inner.is_empty() || inner.ends_with('/');
        let mut target = Self {
            relative: PathBuf::new(),
            directory,
            has_extension: false,
        };
        let names = inner.strip_suffix('/').unwrap_or(inner);
        if names.is_empty() {
            // `//` is not the root: an empty segment is a name like any other.
            return inner.is_empty().then_some(target);
        }
        for (index, segment) in names.split('/').enumerate() {
            let name = decode(segment)?;
            let hidden = name.starts_with(b".") && !(index == 0 && name == b".well-known");
            let forbidden = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'/' | b'\\');
            if name.is_empty() || hidden || name.iter().any(forbidden) {
                return None;
            }
            target.has_extension = name.contains(&b'.');
            target.relative.push(OsString::from_vec(name));
        }
        Some(target)
    }

    /// The last segment, for the media type.
    pub(super) fn name(&self) -> &str {
        self.relative
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
    }
}

fn decode(segment: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            hex(bytes.next()?)? << 4 | hex(bytes.next()?)?
        } else {
            byte
        });
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_decoded_once() {
        for (path, relative, directory, has_extension) in [
            ("/", "", true, false),
            ("/a.txt", "a.txt", false, true),
            ("/a/b", "a/b", false, false),
            ("/a/b/", "a/b", true, false),
            ("/a.d/b", "a.d/b", false, false),
            ("/a%20b%2Ejs", "a b.js", false, true),
            ("/a%252fb", "a%2fb", false, false),
            ("/%e2%82%ac", "€", false, false),
            ("/€", "€", false, false),
            (
                "/.well-known/acme-challenge/x",
                ".well-known/acme-challenge/x",
                false,
                false,
            ),
            ("/%2ewell-known/x", ".well-known/x", false, false),
        ] {
            let expected = Target {
                relative: relative.into(),
                directory,
                has_extension,
            };
            assert_eq!(Target::parse(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_or_is_hidden_names_nothing() {
        for path in [
            "",
            "a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/..",
            "/../a",
            "/a/../b",
            "/a/..",
            "/.",
            "/a/./b",
            "/%2e%2e/a",
            "/%2e%2e%2fa",
            "/.%2e/a",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/..\\a",
            "/a%00",
            "/a%00.txt",
            "/a\0",
            "/a%0a",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/.env",
            "/%2eenv",
            "/.git/config",
            "/a/.htpasswd",
            "/a/.well-known/x",
            "/.well-known/.secret",
            "/.well-known2",
        ] {
            assert_eq!(Target::parse(path), None, "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn a_target_only_goes_downwards(path in "/([a.%/\\\\]|%2[eEfF]|%5c|%00){0,12}") {
            if let Some(target) = Target::parse(&path) {
                prop_assert!(target.relative.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
