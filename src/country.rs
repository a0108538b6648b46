//! Which country an address is in, by a file in MaxMind's format.

use std::fmt;
use std::net::IpAddr;

use maxminddb::{Reader, path};

/// The largest file that is read: those of cities have some 70 MB.
pub const FILE_MAX: u64 = 512 << 20;

/// A country: two letters of ISO 3166-1, in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Of its two letters.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        let code: [u8; 2] = code.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

/// What a file says.
pub struct CountryFile(Reader<Vec<u8>>);

impl CountryFile {
    /// Reads a file's content.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let file = Self(Reader::from_source(bytes).map_err(|error| error.to_string())?);
        let kind = &file.0.metadata().database_type;
        if kind.contains("Country") || kind.contains("City") || kind.contains("Enterprise") || kind.contains("country")
        {
            Ok(file)
        } else {
            Err(format!("it is of the kind `{kind}`, which knows no countries"))
        }
    }

    /// The country of this address; `None`: it is in none, or the file does not know.
    #[must_use]
    pub fn of(&self, ip: IpAddr) -> Option<Country> {
        let found = self.0.lookup(ip.to_canonical()).ok()?;
        let code = found.decode_path::<&str>(&path!["country", "iso_code"]).ok()??;
        Country::new(code)
    }
}

impl fmt::Debug for CountryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CountryFile").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Networks for documentation (RFC 5737, RFC 3849) in three countries; the first test below tells which.
    fn file() -> CountryFile {
        CountryFile::parse(include_bytes!("country/test.mmdb").to_vec()).expect("a file")
    }

    #[test]
    fn addresses_are_in_countries() {
        let file = file();
        for (ip, country) in [
            ("192.0.2.1", Some("DE")),
            ("::ffff:192.0.2.1", Some("DE")),
            ("198.51.100.200", Some("FR")),
            ("203.0.113.1", None),
            ("127.0.0.1", None),
            ("2001:db8:1::1", Some("DE")),
            ("2001:db8:2::1", Some("US")),
            ("2001:db9::1", None),
        ] {
            let ip: IpAddr = ip.parse().expect("address");
            assert_eq!(file.of(ip), country.and_then(Country::new), "{ip}");
        }
    }

    #[test]
    fn what_is_no_such_file() {
        assert!(CountryFile::parse(Vec::new()).is_err());
        assert!(CountryFile::parse(b"not a database".to_vec()).is_err());
        let mut cut = include_bytes!("country/test.mmdb").to_vec();
        cut.truncate(cut.len() / 2);
        assert!(CountryFile::parse(cut).is_err());
        assert!(Country::new("de").is_none() && Country::new("DEU").is_none() && Country::new("").is_none());
    }

    /// Whatever is in the tree or behind it: a file that was damaged on the way says nothing, and nothing breaks.
    #[test]
    fn a_damaged_file_does_not_panic() {
        let good = include_bytes!("country/test.mmdb");
        for place in 0..good.len() {
            let mut bytes = good.to_vec();
            bytes[place] ^= 0xff;
            if let Ok(file) = CountryFile::parse(bytes) {
                for ip in ["192.0.2.1", "2001:db8:1::1", "255.255.255.255"] {
                    let _ = file.of(ip.parse().expect("address"));
                }
            }
        }
    }
}
