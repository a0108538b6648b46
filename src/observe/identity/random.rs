//! Ids that nobody can guess, without a system call each.
//!
//! Each thread has a key from the operating system and hashes a counter under it: SipHash is a keyed pseudo-random
//! function, so that ids already seen tell nothing about the next. (fastrand would be quicker by some nanoseconds, but
//! its seed comes from a clock and its state can be computed from what it gave.)

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use siphasher::sip128::SipHasher13;

thread_local! {
    static SOURCE: Source = Source::new();
}

struct Source {
    key: SipHasher13,
    count: Cell<u64>,
}

impl Source {
    fn new() -> Self {
        // Keyed by the operating system; their hashes are all that `std` gives away of that.
        let [one, two] = [0, 1].map(|half: u64| RandomState::new().hash_one(half));
        Self {
            key: SipHasher13::new_with_keys(one, two),
            count: Cell::new(0),
        }
    }

    fn next(&self) -> (u64, u64) {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        let hash = self.key.hash(&count.to_le_bytes());
        (hash.h1, hash.h2)
    }
}

/// 128 random bits as 32 lower-case hexadecimal digits; never all zero.
pub(super) fn hex() -> [u8; 32] {
    let (high, low) = SOURCE.with(Source::next);
    let mut digits = [0; 32];
    digits[..16].copy_from_slice(&to_hex(high));
    digits[16..].copy_from_slice(&to_hex(if high == 0 { low.max(1) } else { low }));
    digits
}

/// 64 random bits as 16 lower-case hexadecimal digits; never all zero.
pub(super) fn span_id() -> [u8; 16] {
    to_hex(SOURCE.with(Source::next).0.max(1))
}

fn to_hex(number: u64) -> [u8; 16] {
    // Each byte of `spread` is a digit; those beyond nine are made letters, all at once.
    let spread = |half: u32| {
        let mut digits = u64::from(half);
        digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
        digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
        digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
        digits + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'9' - 1)
    };
    let mut text = [0; 16];
    text[..8].copy_from_slice(&spread((number >> 32) as u32).to_be_bytes());
    text[8..].copy_from_slice(&spread(number as u32).to_be_bytes());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_as_the_standard_library_writes_it() {
        for number in [0, 1, 0xdead_beef, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(to_hex(number), format!("{number:016x}").as_bytes());
        }
    }

    #[test]
    fn every_bit_is_in_use() {
        let mut ones = (0, 0);
        let mut zeros = (0, 0);
        for _ in 0..256 {
            let (high, low) = SOURCE.with(Source::next);
            ones = (ones.0 | high, ones.1 | low);
            zeros = (zeros.0 | !high, zeros.1 | !low);
        }
        assert_eq!([ones, zeros], [(u64::MAX, u64::MAX); 2]);
    }
}
