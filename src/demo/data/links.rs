//! Short links: anybody may list, make and delete them, and following one counts a click.

use serde_json::{Value, json};

use super::{DAY, date, seconds_now};

const GENERATED: u32 = 30;
/// Anybody may add links, so somebody will.
const MAX_LINKS: usize = 1_000;
const MAX_URL: usize = 2_048;
const CODE_LENGTH: usize = 6;

/// A short link.
#[derive(Debug, Clone)]
pub(in crate::demo) struct Link {
    id: u32,
    pub(in crate::demo) code: String,
    pub(in crate::demo) url: String,
    pub(in crate::demo) clicks: u32,
    created_at: String,
}

/// Why a link was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::demo) enum Rejected {
    /// Neither http nor https, or too long, or with what a field value cannot hold.
    BadUrl,
    /// Not 3 to 32 letters, digits, `-` and `_`.
    BadCode,
    /// The code is taken.
    Taken,
    /// The table has no room left.
    Full,
}

/// The table.
#[derive(Debug)]
pub(in crate::demo) struct Links {
    rows: Vec<Link>,
    next: u32,
}

impl Links {
    pub(super) fn generate(random: &mut fastrand::Rng, midnight: i64) -> Self {
        let row = |id| Link {
            id,
            code: format!("d{id:03}"),
            url: format!(
                "https://store-{:02}.example/products/deal-of-the-day?id={id:04}",
                id % 10
            ),
            clicks: random.u32(10..99),
            created_at: date(midnight - i64::from(id) * DAY / 4),
        };
        Self {
            rows: (1..=GENERATED).map(row).collect(),
            next: GENERATED + 1,
        }
    }

    /// Where a code leads; counts the click.
    pub(in crate::demo) fn follow(&mut self, code: &str) -> Option<String> {
        let link = self.rows.iter_mut().find(|link| link.code == code)?;
        link.clicks = link.clicks.saturating_add(1);
        Some(link.url.clone())
    }

    /// All links, as rows that say where they are reached.
    pub(in crate::demo) fn all(&self, host: &str) -> Vec<Value> {
        self.rows.iter().map(|link| link.row(host)).collect()
    }

    /// Makes a link, under a code of its own or a wished one.
    pub(in crate::demo) fn create(&mut self, url: &str, wish: Option<&str>) -> Result<Link, Rejected> {
        let http = url.starts_with("http://") || url.starts_with("https://");
        if !http || url.len() > MAX_URL || url.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) {
            return Err(Rejected::BadUrl);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if wish.is_some_and(|code| !(3..=32).contains(&code.len()) || !code.bytes().all(plain)) {
            return Err(Rejected::BadCode);
        }
        if self.rows.len() >= MAX_LINKS {
            return Err(Rejected::Full);
        }
        let code = wish.map_or_else(|| self.unused(), str::to_owned);
        if self.rows.iter().any(|link| link.code == code) {
            return Err(Rejected::Taken);
        }
        let link = Link {
            id: self.next,
            code,
            url: url.to_owned(),
            clicks: 0,
            created_at: date(seconds_now()),
        };
        self.next = self.next.saturating_add(1);
        self.rows.push(link.clone());
        Ok(link)
    }

    /// Removes a link; whether there was one.
    pub(in crate::demo) fn delete(&mut self, id: u32) -> bool {
        let before = self.rows.len();
        self.rows.retain(|link| link.id != id);
        self.rows.len() < before
    }

    fn unused(&self) -> String {
        let mut random = fastrand::Rng::with_seed(u64::from(self.next));
        std::iter::repeat_with(|| random.alphanumeric())
            .take(CODE_LENGTH)
            .collect()
    }
}

impl Link {
    /// The link as a row of the list.
    pub(in crate::demo) fn row(&self, host: &str) -> Value {
        json!({
            "id": self.id,
            "short_code": self.code,
            "user_id": null,
            "long_url": self.url,
            "clicks": self.clicks,
            "created_at": self.created_at,
            "shortUrl": self.short(host),
        })
    }

    /// Where it is reached: the application does not know that a proxy may speak TLS.
    pub(in crate::demo) fn short(&self, host: &str) -> String {
        format!("http://{host}/s/{}", self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_follows_and_deletes() {
        let mut links = Links::generate(&mut fastrand::Rng::with_seed(1), 1_766_016_000);
        let made = links.create("https://example.org/", None).unwrap();
        assert_eq!(made.id, 31);
        assert_eq!(links.follow(&made.code).as_deref(), Some("https://example.org/"));
        assert_eq!(links.follow(&made.code).as_deref(), Some("https://example.org/"));
        assert_eq!(links.rows[30].clicks, 2);
        assert!(links.delete(31));
        assert!(!links.delete(31));
        assert_eq!(links.follow(&made.code), None);
    }

    #[test]
    fn rejects() {
        let mut links = Links::generate(&mut fastrand::Rng::with_seed(1), 1_766_016_000);
        let mut made = |url: &str, wish| links.create(url, wish).map(|link| link.code);
        for url in ["", "javascript:alert(1)", "https://a\r\nSet-Cookie: b", "https://é"] {
            assert_eq!(made(url, None), Err(Rejected::BadUrl), "{url:?}");
        }
        assert_eq!(
            made(&format!("https://{}", "a".repeat(MAX_URL)), None),
            Err(Rejected::BadUrl)
        );
        assert_eq!(made("https://a", Some("no/no")), Err(Rejected::BadCode));
        assert_eq!(made("https://a", Some("d001")), Err(Rejected::Taken));
        assert_eq!(made("https://a", Some("mine")).as_deref(), Ok("mine"));
        while made("https://a", None).is_ok() {}
        assert_eq!(made("https://a", None), Err(Rejected::Full));
    }
}
