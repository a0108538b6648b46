//! `grpc.health.v1.Health/Check`: a message with one field each way, so small that it is written by hand.

use super::probe::{Failure, Reply};

/// The call.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";
/// Flag and length before each message.
const PREFIX: usize = 5;

/// `HealthCheckRequest { string service = 1; }`, as it goes onto the wire.
pub(super) fn check(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a); // field 1, with a length
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0]; // not compressed
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.append(&mut message);
    framed
}

/// What an answer means.
pub(super) fn judge(reply: &Reply) -> Result<(), Failure> {
    if reply.status != 200 {
        return Err(Failure::Status(reply.status));
    }
    if reply.grpc_status.as_ref().is_none_or(|status| status != "0") {
        return Err(Failure::Call(reply.grpc_status.clone()));
    }
    match serving_status(&reply.body) {
        Some(1) => Ok(()),
        Some(0) => Err(Failure::NotServing("UNKNOWN")),
        Some(2) => Err(Failure::NotServing("NOT_SERVING")),
        Some(3) => Err(Failure::NotServing("SERVICE_UNKNOWN")),
        Some(_) => Err(Failure::NotServing("something that is not in the protocol")),
        None => Err(Failure::Broken("not a message of the health service".to_owned())),
    }
}

/// `HealthCheckResponse { ServingStatus status = 1; }`; `None`: not such a message, or a compressed one.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (&[compressed, a, b, c, d], message) = framed.split_first_chunk::<PREFIX>()?;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    if compressed != 0 || message.len() != length {
        return None;
    }
    let mut rest = message;
    let mut status = 0; // what is not there has its default
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = varint(&mut rest)?,
            // A field of a later version.
            (_, 0) => drop(varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests() {
        assert_eq!(check(""), [0, 0, 0, 0, 0]);
        assert_eq!(check("a.B"), [&[0, 0, 0, 0, 5, 0x0a, 3][..], b"a.B"].concat());
        let long = "x".repeat(300);
        assert_eq!(check(&long)[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn verdicts() {
        let serving: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
        let table: [(u16, Option<&str>, &[u8], &str); 12] = [
            (200, Some("0"), serving, ""),
            (200, Some("0"), &[0, 0, 0, 0, 7, 0x12, 1, b'x', 0x18, 1, 8, 1], ""),
            (
                200,
                Some("0"),
                &[0, 0, 0, 0, 2, 8, 2],
                "the health service says NOT_SERVING",
            ),
            (
                200,
                Some("0"),
                &[0, 0, 0, 0, 2, 8, 3],
                "the health service says SERVICE_UNKNOWN",
            ),
            (200, Some("0"), &[0, 0, 0, 0, 0], "the health service says UNKNOWN"),
            (200, Some("5"), &[], "grpc-status 5"),
            (200, None, serving, "the health service answered without a status"),
            (503, Some("0"), serving, "status 503"),
            (
                200,
                Some("0"),
                &[1, 0, 0, 0, 2, 8, 1],
                "no valid answer: not a message of the health service",
            ),
            (
                200,
                Some("0"),
                &[0, 0, 0, 0, 3, 8, 1],
                "no valid answer: not a message of the health service",
            ),
            (
                200,
                Some("0"),
                &[0, 0, 0, 0, 2, 0x12, 9],
                "no valid answer: not a message of the health service",
            ),
            (
                200,
                Some("0"),
                &[],
                "no valid answer: not a message of the health service",
            ),
        ];
        for (status, grpc_status, body, expected) in table {
            let reply = Reply {
                status,
                body: body.to_vec(),
                grpc_status: grpc_status.map(HeaderValue::from_static),
            };
            let verdict = judge(&reply).map_or_else(|failure| failure.to_string(), |()| String::new());
            assert_eq!(verdict, expected, "{reply:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(body in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = serving_status(&body);
        }
    }
}
