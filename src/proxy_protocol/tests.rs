//! Headers that are good, headers that are not, and whatever else comes.

use proptest::prelude::*;

use super::*;

fn ends_of(source: &str, destination: &str) -> Option<Ends> {
    Some(Ends {
        source: source.parse().expect("source"),
        destination: destination.parse().expect("destination"),
    })
}

fn v2_header(version: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("length").to_be_bytes();
    [&V2_SIGNATURE[..], &[version, family], &length, body].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x1f, 0x90, 0x01, 0xbb];

fn v4_with(elements: &[u8]) -> Vec<u8> {
    v2_header(0x21, 0x11, &[&V4[..], elements].concat())
}

#[test]
fn lines() {
    let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
    assert_eq!(longest.len(), 104);
    let padded = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    for (line, ends) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\r\n",
            ends_of("192.0.2.1:8080", "198.51.100.2:443"),
        ),
        (
            "PROXY TCP4 192.0.2.1 198.51.100.2 0 65535\r\n",
            ends_of("192.0.2.1:0", "198.51.100.2:65535"),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
            ends_of("[2001:db8::1]:1", "[::1]:2"),
        ),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff::1 x y z\r\n", None),
        (&*padded, None),
    ] {
        let read = read(format!("{line}GET / HTTP/1.1\r\n").as_bytes());
        assert_eq!(
            read,
            Ok(Header::Complete {
                length: line.len(),
                ends
            }),
            "{line}"
        );
    }
    assert!(matches!(
        read(longest.as_bytes()),
        Ok(Header::Complete { ends: Some(_), .. })
    ));
}

#[test]
fn lines_that_are_none() {
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(100));
    let late = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
    for line in [
        "GET / HTTP/1.1\r\n",
        "PROXX TCP4",
        "proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1\r2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 -1 2\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP6 [::1] [::1] 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP4 192.0.2.1\t198.51.100.2 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY TCP4 192.0.2.\u{661} 198.51.100.2 1 2\r\n",
        &endless,
        &late,
    ] {
        assert!(read(line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
fn binary() {
    let v4 = ends_of("192.0.2.1:8080", "198.51.100.2:443");
    let mut v6 = [0; 36];
    (v6[0], v6[1], v6[15], v6[31], v6[33], v6[35]) = (0x20, 0x01, 7, 9, 1, 2);
    let nothing = [0; 216];
    for (header, ends) in [
        (v4_with(&[]), v4),
        (v4_with(&[0x04, 0, 2, 9, 9]), v4),
        (v4_with(&[0x20, 0, 5, 1, 0, 0, 0, 0]), v4),
        (v4_with(&[0xee, 0, 0, 0x05, 0, 1, 7]), v4),
        (v2_header(0x21, 0x21, &v6), ends_of("[2001::7]:1", "[::9]:2")),
        (v2_header(0x20, 0x11, &V4), None),
        (v2_header(0x20, 0x00, &[]), None),
        (v2_header(0x20, 0xff, &[1, 2, 3]), None),
        (v2_header(0x21, 0x00, &[]), None),
        (v2_header(0x21, 0x31, &nothing), None),
    ] {
        let length = header.len();
        let read = read(&[&header[..], b"\x16\x03\x01"].concat());
        assert_eq!(read, Ok(Header::Complete { length, ends }), "{header:x?}");
    }
}

#[test]
fn binary_that_is_none() {
    let mut long = v2_header(0x21, 0x11, &V4);
    long[14..16].copy_from_slice(&[0xff, 0xff]);
    for (header, why) in [
        (v2_header(0x11, 0x11, &V4), "version"),
        (v2_header(0x31, 0x11, &V4), "version"),
        (v2_header(0x22, 0x11, &V4), "command"),
        (v2_header(0x21, 0x12, &V4), "datagrams"),
        (v2_header(0x21, 0x41, &V4), "family"),
        (v2_header(0x21, 0x10, &V4), "family"),
        (v2_header(0x21, 0x11, &V4[..11]), "fit"),
        (v2_header(0x21, 0x21, &V4), "fit"),
        (v2_header(0x21, 0x31, &V4), "fit"),
        (long, "too long"),
        (v4_with(&[0x04]), "cut off"),
        (v4_with(&[0x04, 0, 9, 1]), "longer"),
        (v4_with(&[0x03, 0, 3, 1, 2, 3]), "checksum"),
        (v4_with(&[0x03, 0, 4, 1, 2, 3, 4]), "checksum"),
        (b"\r\n\r\n\0\r\nQUIX".to_vec(), "begin"),
        (b"\r\nGET".to_vec(), "begin"),
    ] {
        match read(&header) {
            Err(Fault(fault)) => assert!(fault.contains(why), "{why}: {fault}"),
            read => panic!("{why}: {read:?}"),
        }
    }
}

#[test]
fn checksums() {
    // RFC 3720 appendix B.4.
    assert_eq!(crc32c(&[0; 32], 0..0), 0x8a91_36aa);
    assert_eq!(crc32c(&[0xff; 32], 0..0), 0x62a8_ab43);
    let mut header = v4_with(&[0x03, 0, 4, 0, 0, 0, 0, 0x04, 0, 1, 1]);
    let sum = crc32c(&header, 0..0).to_be_bytes();
    header[31..35].copy_from_slice(&sum);
    assert!(read(&header).is_ok());
    header[16] ^= 1;
    assert!(read(&header).is_err());
}

#[test]
fn what_is_written_for_mixed_families() {
    let ends = ends_of("192.0.2.1:5", "[2001:db8::1]:443");
    assert_eq!(
        write(Version::V1, ends),
        b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 5 443\r\n"
    );
    let Ok(Header::Complete { ends: Some(read), .. }) = read(&write(Version::V2, ends)) else {
        panic!("a header");
    };
    assert_eq!(
        read.source.ip().to_canonical(),
        "192.0.2.1".parse::<IpAddr>().expect("address")
    );
    assert_eq!(write(Version::V1, None), b"PROXY UNKNOWN\r\n");
    assert_eq!(write(Version::V2, None), [&V2_SIGNATURE[..], &[0x20, 0, 0, 0]].concat());
}

proptest! {
    #[test]
    fn what_is_written_is_read(v4 in any::<bool>(), one in any::<u128>(), other in any::<u128>(), from in any::<u16>(), to in any::<u16>(),
                               rest in prop::collection::vec(any::<u8>(), 0..20)) {
        let ip = |bits: u128| if v4 { IpAddr::V4(Ipv4Addr::from_bits(bits as u32)) } else { IpAddr::V6(Ipv6Addr::from_bits(bits)) };
        let ends = Ends { source: SocketAddr::new(ip(one), from), destination: SocketAddr::new(ip(other), to) };
        prop_assume!(ends.source.ip() == ends.source.ip().to_canonical() && ends.destination.ip() == ends.destination.ip().to_canonical());
        for version in [Version::V1, Version::V2] {
            let header = write(version, Some(ends));
            let length = header.len();
            let bytes = [&header[..], &rest].concat();
            prop_assert_eq!(read(&bytes), Ok(Header::Complete { length, ends: Some(ends) }));
            // However it is cut, it is never taken for something else.
            for cut in 0..length {
                prop_assert_eq!(read(&bytes[..cut]), Ok(Header::Partial));
            }
        }
    }

    #[test]
    fn garbage_never_panics_and_has_an_end(start in 0usize..3, version in any::<u8>(), family in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..5000)) {
        let bytes = match start {
            0 => body,
            1 => [&b"PROXY "[..], &body].concat(),
            _ => [&V2_SIGNATURE[..], &[version, family], &body].concat(),
        };
        match read(&bytes) {
            Ok(Header::Partial) => prop_assert!(bytes.len() < MAX),
            Ok(Header::Complete { length, .. }) => prop_assert!(length <= MAX && length <= bytes.len()),
            Err(_) => {}
        }
    }
}
