//! The PROXY protocol, versions 1 and 2: how a balancer that passes connections on says whose they are
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).
//!
//! Read strictly and without a copy: what stands here decides whom the gateway believes to talk to. What is not addressed
//! by IP is nobody, and an element that is longer than its frame is a fault.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, its line end included (section 2.1).
const V1_MAX: usize = 107;
/// What a header of version 2 begins with (section 2.2).
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_HEAD: usize = 16;
/// The longest header that is read: addresses, and more elements than anybody sends.
pub const MAX: usize = 4096;

/// A version of the protocol, for who writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The ends of a connection, as its first hop saw them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client's.
    pub source: SocketAddr,
    /// Where the client connected to.
    pub destination: SocketAddr,
}

/// What has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// There is more to come.
    Partial,
    /// A header of so many bytes. `ends`: `None` where the connection is the sender's own (`LOCAL`), or of a client that
    /// has no address of IP (`UNKNOWN`, `AF_UNIX`, `AF_UNSPEC`): then the connection's own ends are all that is known.
    Complete {
        /// Bytes that belong to it.
        length: usize,
        /// Whose connection it is.
        ends: Option<Ends>,
    },
}

/// It is not a header, or one that breaks the rules; with the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault(pub &'static str);

/// Reads the header that `bytes` begin with.
///
/// # Errors
/// [`Fault`]; more bytes change nothing about it.
pub fn read(bytes: &[u8]) -> Result<Header, Fault> {
    const V1_START: &[u8] = b"PROXY ";
    let start = |wanted: &[u8]| {
        let known = bytes.len().min(wanted.len());
        bytes[..known] == wanted[..known]
    };
    if start(V1_START) {
        if bytes.len() < V1_START.len() {
            Ok(Header::Partial)
        } else {
            v1(bytes)
        }
    } else if start(V2_SIGNATURE) {
        if bytes.len() < V2_HEAD {
            Ok(Header::Partial)
        } else {
            v2(bytes)
        }
    } else {
        Err(Fault("it does not begin with a PROXY header"))
    }
}

fn v1(bytes: &[u8]) -> Result<Header, Fault> {
    let seen = &bytes[..bytes.len().min(V1_MAX)];
    let Some(end) = seen.iter().position(|&byte| byte == b'\n') else {
        return if bytes.len() < V1_MAX {
            Ok(Header::Partial)
        } else {
            Err(Fault("the line is too long"))
        };
    };
    let line = seen[..end]
        .strip_suffix(b"\r")
        .ok_or(Fault("the line does not end with CR LF"))?;
    let line = std::str::from_utf8(line).map_err(|_| Fault("the line is not ASCII"))?;
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    let length = end + 1;
    if family == Some("UNKNOWN") {
        // Whatever follows means nothing (section 2.1).
        return Ok(Header::Complete { length, ends: None });
    }
    let (Some(source), Some(destination), Some(from), Some(to), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Fault("two addresses and two ports, with one space between them"));
    };
    let parse = |text: &str| -> Option<IpAddr> {
        match family {
            Some("TCP4") => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            Some("TCP6") => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (Some(source), Some(destination)) = (parse(source), parse(destination)) else {
        return Err(Fault("an address that is not of its family"));
    };
    let (Some(from), Some(to)) = (port(from), port(to)) else {
        return Err(Fault("a port from 0 to 65535, without leading zeros"));
    };
    Ok(Header::Complete {
        length,
        ends: Some(Ends {
            source: SocketAddr::new(source, from),
            destination: SocketAddr::new(destination, to),
        }),
    })
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn v2(bytes: &[u8]) -> Result<Header, Fault> {
    let (version, family) = (bytes[12], bytes[13]);
    let length = V2_HEAD + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if version >> 4 != 2 {
        return Err(Fault("a version that does not exist"));
    }
    if length > MAX {
        return Err(Fault("the header is too long"));
    }
    let local = match version & 0xf {
        0 => true,
        1 => false,
        _ => return Err(Fault("a command that does not exist")),
    };
    // Before all of it is there: who announces nonsense is not waited for.
    let addresses = match (local, family) {
        (true, _) | (false, 0x00) => 0, // AF_UNSPEC: the receiver may go on with what it knows (section 2.2)
        (false, 0x11) => 12,
        (false, 0x21) => 36,
        (false, 0x31) => 216,
        (false, 0x12 | 0x22 | 0x32) => return Err(Fault("datagrams")),
        (false, _) => return Err(Fault("a family that does not exist")),
    };
    if length < V2_HEAD + addresses {
        return Err(Fault("the addresses do not fit in"));
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(Header::Partial);
    };
    let body = &header[V2_HEAD..];
    if local {
        // Everything behind it is to be skipped (section 2.2).
        return Ok(Header::Complete { length, ends: None });
    }
    elements(header, addresses)?;
    let ends = match family {
        0x11 => {
            let ip = |at: usize| Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]);
            Some(ends((ip(0).into(), ip(4).into()), &body[8..12]))
        }
        0x21 => {
            let ip = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&body[at..at + 16]);
                Ipv6Addr::from(octets)
            };
            Some(ends((ip(0).into(), ip(16).into()), &body[32..36]))
        }
        _ => None,
    };
    Ok(Header::Complete { length, ends })
}

fn ends((source, destination): (IpAddr, IpAddr), ports: &[u8]) -> Ends {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Ends {
        source: SocketAddr::new(source, port(0)),
        destination: SocketAddr::new(destination, port(2)),
    }
}

/// Judges the elements behind the addresses: each must fit in, and the checksum be right where there is one. None of
/// them is believed: what they say of TLS or of names is about another connection.
fn elements(header: &[u8], addresses: usize) -> Result<(), Fault> {
    const CRC32C: u8 = 0x03;
    let mut at = V2_HEAD + addresses;
    while at < header.len() {
        let Some(&[kind, high, low]) = header.get(at..at + 3) else {
            return Err(Fault("an element that is cut off"));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(value) = header.get(at + 3..at + 3 + length) else {
            return Err(Fault("an element that is longer than the header"));
        };
        if kind == CRC32C {
            let wanted: [u8; 4] = value.try_into().map_err(|_| Fault("a checksum of another length"))?;
            if crc32c(header, at + 3..at + 7) != u32::from_be_bytes(wanted) {
                return Err(Fault("the checksum is wrong"));
            }
        }
        at += 3 + length;
    }
    Ok(())
}

/// The checksum of RFC 3720 appendix B.4 over `header`, with zeros at `blank` (section 2.2.3). Hardly anybody sends one.
fn crc32c(header: &[u8], blank: std::ops::Range<usize>) -> u32 {
    let bits = |crc: u32| {
        (0..8).fold(
            crc,
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    };
    let byte = |(at, byte): (usize, &u8)| if blank.contains(&at) { 0 } else { *byte };
    let bytes = header.iter().enumerate().map(byte);
    !bytes.fold(u32::MAX, |crc, byte| bits(crc ^ u32::from(byte)))
}

/// Writes a header; `ends`: `None` for a connection of the gateway's own.
#[must_use]
pub fn write(version: Version, ends: Option<Ends>) -> Vec<u8> {
    match version {
        Version::V1 => write_v1(ends).into_bytes(),
        Version::V2 => write_v2(ends),
    }
}

/// Both addresses in the family that can say both.
fn alike(ends: Ends) -> (IpAddr, IpAddr) {
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        ip => ip,
    };
    let (source, destination) = (ends.source.ip().to_canonical(), ends.destination.ip().to_canonical());
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (mapped(source), mapped(destination))
    }
}

fn write_v1(ends: Option<Ends>) -> String {
    let Some(ends) = ends else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let (source, destination) = alike(ends);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (ends.source.port(), ends.destination.port());
    format!("PROXY {family} {source} {destination} {from} {to}\r\n")
}

fn write_v2(ends: Option<Ends>) -> Vec<u8> {
    let mut out = Vec::with_capacity(V2_HEAD + 36);
    out.extend_from_slice(V2_SIGNATURE);
    let Some(ends) = ends else {
        out.extend_from_slice(&[0x20, 0, 0, 0]);
        return out;
    };
    match alike(ends) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&octets(source));
            out.extend_from_slice(&octets(destination));
        }
    }
    out.extend_from_slice(&ends.source.port().to_be_bytes());
    out.extend_from_slice(&ends.destination.port().to_be_bytes());
    out
}

#[cfg(test)]
mod tests;
