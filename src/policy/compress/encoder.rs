//! A streaming encoder: one loop over three libraries. What it holds is taken at the first byte and let go of at the last.

use std::cell::RefCell;
use std::io;

use bytes::{Bytes, BytesMut};

use super::Coding;
use super::Effort;
use super::engine::{Engine, Step};

/// Room that the libraries are offered at a time, bytes.
const ROOM: usize = 32 * 1024;

thread_local! {
    /// What they write into: cleared once, and not for each piece.
    static DESK: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into_boxed_slice());
}

/// A streaming encoder of one body.
pub struct Encoder {
    state: State,
    flush_each: bool,
    /// What is written but not handed out; its memory is used again once the bytes handed out are gone.
    output: BytesMut,
}

enum State {
    /// Nothing has been allocated.
    Fresh(Coding, Effort),
    Running(Engine),
    /// Ended, or broken.
    Over,
}

impl Encoder {
    /// Begins a body. `flush_each`: every chunk is made readable at once, for bodies that trickle.
    #[must_use]
    pub fn new(coding: Coding, effort: Effort, flush_each: bool) -> Self {
        Self {
            state: State::Fresh(coding, effort),
            flush_each,
            output: BytesMut::new(),
        }
    }

    /// The coding of a body of which nothing was encoded yet.
    #[must_use]
    pub fn beginning(&self) -> Option<Coding> {
        let State::Fresh(coding, _) = self.state else {
            return None;
        };
        Some(coding)
    }

    /// Encodes a chunk; `end` finishes the body. Returns what can be sent now, possibly nothing.
    ///
    /// # Errors
    /// What the coding library reports, or bytes behind the end: the body must then be cut.
    pub fn encode(&mut self, chunk: &[u8], end: bool) -> io::Result<Bytes> {
        let step = match (end, chunk.is_empty(), self.flush_each) {
            (true, ..) => Step::Finish,
            (false, true, _) => return Ok(Bytes::new()),
            (false, false, true) => Step::Flush,
            (false, false, false) => Step::Process,
        };
        // The engine comes back only if it can go on: an error or the end gives its memory back at once.
        let mut engine = match std::mem::replace(&mut self.state, State::Over) {
            State::Fresh(coding, effort) => Engine::new(coding, effort)?,
            State::Running(engine) => engine,
            State::Over if chunk.is_empty() => return Ok(Bytes::new()),
            State::Over => return Err(io::Error::other("bytes behind the end of an encoded body")),
        };
        self.drive(&mut engine, chunk, step)?;
        if end {
            engine.end();
        } else {
            self.state = State::Running(engine);
        }
        Ok(self.output.split().freeze())
    }

    fn drive(&mut self, engine: &mut Engine, mut input: &[u8], step: Step) -> io::Result<()> {
        DESK.with_borrow_mut(|desk| {
            loop {
                let progress = engine.advance(input, desk, step)?;
                self.output.extend_from_slice(&desk[..progress.produced]);
                input = &input[progress.consumed..];
                if progress.done {
                    return Ok(());
                }
                if progress.consumed == 0 && progress.produced == 0 {
                    return Err(io::Error::other("the encoder is stuck"));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    /// Whatever can be decoded of a stream, and whether it ended properly.
    fn decode(coding: Coding, encoded: &[u8]) -> (Vec<u8>, bool) {
        let mut reader: Box<dyn Read + '_> = match coding {
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(encoded)),
            Coding::Brotli => Box::new(brotli::Decompressor::new(encoded, 4096)),
            Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(encoded).unwrap()),
        };
        let mut plain = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return (plain, true),
                Ok(read) => plain.extend_from_slice(&buffer[..read]),
                Err(_) => return (plain, false),
            }
        }
    }

    /// Something between noise and a list of deals.
    fn body(seed: u64, length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = Vec::with_capacity(length + 64);
        while bytes.len() < length {
            if random.u8(..) < 40 {
                bytes.extend((0..random.usize(..64)).map(|_| random.u8(..)));
            } else {
                bytes.extend_from_slice(b"{\"id\":");
                bytes.extend_from_slice(random.u32(..).to_string().as_bytes());
                bytes.extend_from_slice(b",\"store\":\"Amazon\",\"verified\":true},");
            }
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn an_encoder_may_live_in_a_shared_context() {
        fn shared<T: Send + Sync + 'static>() {}
        shared::<Encoder>();
    }

    #[test]
    fn empty_bodies_are_proper_streams() {
        for coding in CODINGS {
            for flush_each in [false, true] {
                for chunks in 0..3 {
                    let mut encoder = Encoder::new(coding, Effort::default(), flush_each);
                    for _ in 0..chunks {
                        assert!(encoder.encode(b"", false).unwrap().is_empty());
                    }
                    let encoded = encoder.encode(b"", true).unwrap();
                    assert!(!encoded.is_empty(), "{coding:?}");
                    assert_eq!(decode(coding, &encoded), (Vec::new(), true), "{coding:?}");
                }
            }
        }
    }

    #[test]
    fn large_chunks_and_incompressible_ones_round_trip() {
        let mut noise = vec![0; 3_000_000];
        fastrand::Rng::with_seed(7).fill(&mut noise);
        for coding in CODINGS {
            for plain in [&noise, &body(8, 3_000_000), &vec![0; 3_000_000]] {
                let mut encoder = Encoder::new(coding, Effort::default(), false);
                let encoded = encoder.encode(plain, true).unwrap();
                assert!(encoded.len() < plain.len() + plain.len() / 100, "{coding:?}");
                assert!(decode(coding, &encoded) == (plain.clone(), true), "{coding:?}");
            }
        }
    }

    #[test]
    fn text_becomes_smaller() {
        for coding in CODINGS {
            let plain = body(1, 100_000);
            let encoded = Encoder::new(coding, Effort::default(), false)
                .encode(&plain, true)
                .unwrap();
            assert!(encoded.len() < plain.len() / 2, "{coding:?}: {}", encoded.len());
        }
    }

    #[test]
    fn less_effort_makes_more_bytes() {
        for coding in CODINGS {
            let plain = body(1, 100_000);
            let [fast, balanced] = [Effort::Fast, Effort::Balanced].map(|effort| {
                let encoded = Encoder::new(coding, effort, false).encode(&plain, true).unwrap();
                assert!(decode(coding, &encoded) == (plain.clone(), true), "{coding:?}");
                encoded.len()
            });
            // What Zstandard makes of so little is decided by chance.
            assert!(
                coding == Coding::Zstd || balanced < fast,
                "{coding:?}: {fast}, {balanced}"
            );
            assert!(fast < plain.len() / 2, "{coding:?}: {fast}");
        }
    }

    #[test]
    fn nothing_follows_the_end() {
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding, Effort::default(), true);
            encoder.encode(b"all", true).unwrap();
            assert!(encoder.encode(b"", true).unwrap().is_empty());
            assert!(encoder.encode(b"more", false).is_err());
            assert!(matches!(encoder.state, State::Over), "its memory is given back");
        }
    }

    #[test]
    fn windows_stay_small() {
        // RFC 7932 §9.1: WBITS of 18 is written as the bits 0011 (in order of reading: 1, then 18 - 17 = 1 in 3 bits).
        let encoded = Encoder::new(Coding::Brotli, Effort::default(), true)
            .encode(b"x", false)
            .unwrap();
        assert_eq!(encoded[0] & 0b1111, 0b0011);
        // RFC 8878 §3.1.1.1.2: the exponent is kept in the upper five bits, less 10.
        let encoded = Encoder::new(Coding::Zstd, Effort::default(), true)
            .encode(b"x", false)
            .unwrap();
        assert_eq!(encoded[4] & 0b0010_0000, 0, "a window descriptor follows");
        assert_eq!(encoded[5] >> 3, 8);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_chunking_round_trips(
            seed in any::<u64>(),
            lengths in proptest::collection::vec(prop_oneof![0_usize..4, 0_usize..2_000, 0_usize..90_000], 0..12),
            flush_each in any::<bool>(),
            ends_with_data in any::<bool>(),
        ) {
            let plain = body(seed, lengths.iter().sum());
            for coding in CODINGS {
                let mut encoder = Encoder::new(coding, Effort::default(), flush_each);
                let (mut encoded, mut rest) = (Vec::new(), &plain[..]);
                for (index, &length) in lengths.iter().enumerate() {
                    let (chunk, after) = rest.split_at(length);
                    rest = after;
                    let end = ends_with_data && index + 1 == lengths.len();
                    encoded.extend_from_slice(&encoder.encode(chunk, end).unwrap());
                    if flush_each {
                        let (decoded, _) = decode(coding, &encoded);
                        prop_assert_eq!(&decoded[..], &plain[..plain.len() - rest.len()], "{:?}", coding);
                    }
                }
                encoded.extend_from_slice(&encoder.encode(b"", true).unwrap());
                let (decoded, ended) = decode(coding, &encoded);
                prop_assert!(ended, "{coding:?} ends");
                prop_assert_eq!(&decoded, &plain, "{:?}", coding);
            }
        }
    }
}
