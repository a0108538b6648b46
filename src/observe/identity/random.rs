//! Ids that nobody can guess, without a system call each.
//!
//! Each thread has a key from the operating system and hashes a counter under it: SipHash is a keyed pseudo-random
//! function, so that ids already seen tell nothing about the next. (fastrand would be quicker by some nanoseconds, but
//! its seed comes from a clock and its state can be computed from what it gave.)

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static SOURCE: Source = Source { key: RandomState::new(), count: Cell::new(0) };
}

struct Source {
    key: RandomState,
    count: Cell<u64>,
}

impl Source {
    fn next(&self) -> u64 {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        self.key.hash_one(count)
    }
}

/// 128 random bits as 32 lower-case hexadecimal digits; never all zero.
pub(super) fn hex() -> [u8; 32] {
    let (high, low) = SOURCE.with(|source| (source.next(), source.next()));
    let mut digits = [0; 32];
    digits[..16].copy_from_slice(&to_hex(high));
    digits[16..].copy_from_slice(&to_hex(if high == 0 { low.max(1) } else { low }));
    digits
}

/// 64 random bits as 16 lower-case hexadecimal digits; never all zero.
pub(super) fn span_id() -> [u8; 16] {
    to_hex(SOURCE.with(Source::next).max(1))
}

fn to_hex(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 16];
    for (index, digit) in text.iter_mut().enumerate() {
        let shift = 60 - 4 * index;
        *digit = DIGITS[(number >> shift) as usize & 0xf];
    }
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
        let mut ones = 0u64;
        let mut zeros = 0u64;
        for _ in 0..256 {
            let number = SOURCE.with(Source::next);
            ones |= number;
            zeros |= !number;
        }
        assert_eq!((ones, zeros), (u64::MAX, u64::MAX));
    }
}
