//! Numbers and addresses, without the formatting machinery of the standard library.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

/// Writes a number in decimal digits.
pub(super) fn integer(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Writes seconds with six digits after the point.
pub(super) fn seconds(out: &mut Vec<u8>, duration: Duration) {
    integer(out, duration.as_secs());
    out.push(b'.');
    padded::<6>(out, duration.subsec_micros());
}

/// Writes the last `WIDTH` digits of a number, zeros in front.
pub(super) fn padded<const WIDTH: usize>(out: &mut Vec<u8>, number: u32) {
    let mut digits = [b'0'; WIDTH];
    fill(&mut digits, number);
    out.extend_from_slice(&digits);
}

/// Fills a place with the last digits of a number, zeros in front.
pub(super) fn fill(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Writes an address.
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (index, octet) in v4.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                integer(out, u64::from(octet));
            }
        }
        IpAddr::V6(v6) => write!(out, "{v6}").expect("writing to memory does not fail"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn as_the_standard_library_writes_it(number: u64, address: IpAddr, secs: u64, nanos in 0u32..1_000_000_000) {
            for n in [number, number % 1000, u64::MAX, 0] {
                prop_assert_eq!(written(|out| integer(out, n)), n.to_string());
            }
            prop_assert_eq!(written(|out| super::address(out, address)), address.to_string());
            let duration = Duration::new(secs, nanos);
            let expected = format!("{secs}.{:06}", nanos / 1000);
            prop_assert_eq!(written(|out| seconds(out, duration)), expected);
            prop_assert_eq!(written(|out| padded::<3>(out, nanos % 1000)), format!("{:03}", nanos % 1000));
        }
    }
}
