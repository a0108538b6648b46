//! Media types by extension.

use http::HeaderValue;

/// The media type of a file name; bytes of no known kind are `application/octet-stream`.
pub(super) fn of(name: &str) -> HeaderValue {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    TABLE
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(extension))
        .map_or(
            HeaderValue::from_static("application/octet-stream"),
            |(_, media_type)| HeaderValue::from_static(media_type),
        )
}

/// What a site serves most comes first.
static TABLE: [(&str, &str); 50] = [
    ("js", "text/javascript; charset=utf-8"), // RFC 9239
    ("css", "text/css; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("svg", "image/svg+xml; charset=utf-8"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
    ("json", "application/json"),
    ("ico", "image/x-icon"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("cjs", "text/javascript; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("xhtml", "application/xhtml+xml; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("ics", "text/calendar; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("xml", "text/xml; charset=utf-8"),
    ("xsl", "text/xml; charset=utf-8"),
    ("rss", "application/rss+xml; charset=utf-8"),
    ("atom", "application/atom+xml; charset=utf-8"),
    ("map", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("jsonld", "application/ld+json"),
    ("geojson", "application/geo+json"),
    ("wasm", "application/wasm"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tar", "application/x-tar"),
    ("7z", "application/x-7z-compressed"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("avif", "image/avif"),
    ("apng", "image/apng"),
    ("bmp", "image/bmp"),
    ("tiff", "image/tiff"),
    ("woff", "font/woff"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("eot", "application/vnd.ms-fontobject"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("ogg", "audio/ogg"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_decides_in_any_case() {
        for (name, expected) in [
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.min.CSS", "text/css; charset=utf-8"),
            ("archive.tar.gz", "application/gzip"),
            ("manifest.webmanifest", "application/manifest+json"),
            ("README", "application/octet-stream"),
            ("a.unheard-of", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(of(name), expected, "{name}");
        }
    }

    #[test]
    fn every_extension_is_listed_once() {
        for (index, (extension, _)) in TABLE.iter().enumerate() {
            assert!(
                TABLE[index + 1..].iter().all(|(other, _)| other != extension),
                "{extension}"
            );
        }
    }
}
