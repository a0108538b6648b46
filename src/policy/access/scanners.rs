//! What only scanners ask for: lists by name, each a file beside this one. They are about parts of paths, wherever these
//! stand, in upper or lower case.

use std::collections::HashSet;
use std::sync::LazyLock;

/// The names of the lists, each with its text.
const TEXTS: [(&str, &str); 4] = [
    ("secrets", include_str!("scanners/secrets.txt")),
    ("wordpress", include_str!("scanners/wordpress.txt")),
    ("scripts", include_str!("scanners/scripts.txt")),
    ("exploits", include_str!("scanners/exploits.txt")),
];

/// The names of the lists.
pub const LISTS: [&str; TEXTS.len()] = [TEXTS[0].0, TEXTS[1].0, TEXTS[2].0, TEXTS[3].0];

/// The longest part of a path that is looked up, bytes.
const LONGEST: usize = 64;

#[derive(Debug, Default)]
struct List {
    parts: HashSet<&'static [u8]>,
    /// `name*`
    starts: Vec<&'static [u8]>,
    /// `*.ending`, of the last part.
    endings: Vec<&'static [u8]>,
}

static ALL: LazyLock<[List; TEXTS.len()]> = LazyLock::new(|| TEXTS.map(|(_, text)| List::read(text)));

impl List {
    fn read(text: &'static str) -> Self {
        let mut list = Self::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
            match (line.strip_prefix('*'), line.strip_suffix('*')) {
                (Some(ending), _) => list.endings.push(ending.as_bytes()),
                (None, Some(start)) => list.starts.push(start.as_bytes()),
                (None, None) => drop(list.parts.insert(line.as_bytes())),
            }
        }
        list
    }

    fn knows(&self, part: &[u8], last: bool) -> bool {
        self.parts.contains(part)
            || self.starts.iter().any(|start| part.starts_with(start))
            || last
                && self
                    .endings
                    .iter()
                    .any(|ending| part.ends_with(ending) && part.len() > ending.len())
    }
}

/// The lists that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scanners([bool; TEXTS.len()]);

impl Scanners {
    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Self([true; TEXTS.len()])
    }

    /// Adds one by its place in [`LISTS`].
    #[must_use]
    pub fn with(mut self, list: usize) -> Self {
        if let Some(one) = self.0.get_mut(list) {
            *one = true;
        }
        self
    }

    /// Whether one of the lists knows this path; normalised, as routes see it.
    #[must_use]
    pub fn know(self, path: &str) -> bool {
        if self == Self::default() {
            return false;
        }
        let mut buffer = [0; LONGEST];
        let mut parts = path.as_bytes().split(|&byte| byte == b'/').peekable();
        while let Some(part) = parts.next() {
            // Of what is longer the beginning and the end say enough: no entry is as long.
            let part = if part.len() > LONGEST && parts.peek().is_none() {
                &part[part.len() - LONGEST..]
            } else {
                part
            };
            let length = part.len().min(LONGEST);
            let lower = &mut buffer[..length];
            lower.copy_from_slice(&part[..length]);
            lower.make_ascii_lowercase();
            let last = parts.peek().is_none();
            let on = |(list, on): (&List, bool)| on && list.knows(&buffer[..length], last);
            if ALL.iter().zip(self.0).any(on) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(name: &str) -> Scanners {
        let place = LISTS.iter().position(|list| *list == name).expect(name);
        Scanners::default().with(place)
    }

    #[test]
    fn what_scanners_ask_for() {
        for (list, path) in [
            ("secrets", "/.env"),
            ("secrets", "/api/.env.production"),
            ("secrets", "/.GIT/config"),
            ("secrets", "/.aws/credentials"),
            ("wordpress", "/wp-login.php"),
            ("wordpress", "/blog/wp-admin/setup.php"),
            ("wordpress", "/XMLRPC.php"),
            ("scripts", "/index.php"),
            ("scripts", "/a/b.aspx"),
            ("scripts", "/phpMyAdmin/"),
            ("exploits", "/cgi-bin/luci"),
            ("exploits", "/HNAP1/"),
            ("exploits", "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php"),
        ] {
            assert!(only(list).know(path), "{list}: {path}");
            assert!(Scanners::all().know(path), "{path}");
            assert!(!Scanners::default().know(path), "{path}");
        }
    }

    #[test]
    fn what_everybody_asks_for() {
        for path in [
            "/",
            "/index.html",
            "/api/deals",
            "/api/deals/php-course",
            "/.well-known/acme-challenge/x",
            "/.well-known/security.txt",
            "/environment",
            "/env",
            "/assets/app.env.js",
            "/deals.phpx",
            "/.php",
            "/git/config",
            "/robots.txt",
            "/favicon.ico",
            "/sitemap.xml",
            "/news/wordpress-hosting",
            "/api/v1/users/login",
        ] {
            assert!(!Scanners::all().know(path), "{path}");
        }
        let long = format!("/{}", "a".repeat(10_000));
        assert!(!Scanners::all().know(&long));
        assert!(Scanners::all().know(&format!("{long}.php")));
    }

    #[test]
    fn lists_are_written_as_they_are_compared() {
        for (name, text) in TEXTS {
            assert!(text.starts_with("# "), "{name} says what it is");
            let mut seen = HashSet::new();
            for line in text.lines().filter(|line| !line.starts_with("# ")) {
                let good = !line.is_empty()
                    && line.len() < LONGEST
                    && line
                        .bytes()
                        .all(|byte| byte.is_ascii_graphic() && byte != b'/' && !byte.is_ascii_uppercase())
                    && line.trim_matches('*').len() > 2
                    && !line.trim_matches('*').contains('*');
                assert!(good && seen.insert(line), "{name}: {line}");
            }
        }
    }
}
