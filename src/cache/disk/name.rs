//! What a file of an answer is called: hashes of what it answers, nothing that a client wrote.

use std::fmt;

use crate::cache::Address;

/// The name of a file. In order: the answers of one URL, and of one address, stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) address: Address,
    /// Which of the answers of an address.
    pub(super) variant: u64,
}

/// The digits of a name.
const LENGTH: usize = 32 + 32 + 16;

impl Name {
    /// The first and the last name that the answers of an address can have.
    pub(super) fn of_address(address: Address) -> std::ops::RangeInclusive<Self> {
        let name = |variant| Self { address, variant };
        name(0)..=name(u64::MAX)
    }

    /// The first and the last name that the answers of a URL can have.
    pub(super) fn of_url(url: u128) -> std::ops::RangeInclusive<Self> {
        let name = |extra, variant| Self {
            address: Address { url, extra },
            variant,
        };
        name(0, 0)..=name(u128::MAX, u64::MAX)
    }

    /// The directory that it is in.
    pub(super) fn part(&self) -> usize {
        part(self.address.url)
    }

    /// Reads a name; `None`: it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != LENGTH || !text.bytes().all(digits) {
            return None;
        }
        Some(Self {
            address: Address {
                url: u128::from_str_radix(&text[..32], 16).ok()?,
                extra: u128::from_str_radix(&text[32..64], 16).ok()?,
            },
            variant: u64::from_str_radix(&text[64..], 16).ok()?,
        })
    }
}

/// The directory of a URL's answers.
pub(super) fn part(url: u128) -> usize {
    usize::try_from(url >> 120).unwrap_or(0)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { url, extra } = self.address;
        write!(f, "{url:032x}{extra:032x}{:016x}", self.variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_and_read() {
        let address = Address {
            url: 0xab << 120 | 7,
            extra: 9,
        };
        let name = Name { address, variant: 3 };
        let text = name.to_string();
        assert_eq!(Name::parse(&text), Some(name));
        assert_eq!(name.part(), 0xab);
        assert!(Name::of_address(address).contains(&name) && Name::of_url(address.url).contains(&name));
        for wrong in ["", "lost+found", &text[1..], &text.to_uppercase(), &format!("{text}0")] {
            assert_eq!(Name::parse(wrong), None, "{wrong}");
        }
    }
}
