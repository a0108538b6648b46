//! A file of an answer: a head of fixed length, what is known of the answer, and its body in blocks, each with a checksum.
//!
//! ```text
//! "GWCACHE" version · length of the record · nothing · length of the body · checksum of all this and the record
//! record
//! block, its checksum; block, its checksum; …
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::cache::store::Body;

/// The last byte is the version: what is written otherwise is none of ours.
const MAGIC: [u8; 8] = *b"GWCACHE\x01";

const HEAD: usize = 32;

/// Bytes of a block; the last one may be shorter.
pub(super) const BLOCK: u64 = 64 << 10;

const CHECKSUM: u64 = 8;

/// Longest record: what no answer of an application comes near.
const LONGEST_RECORD: u32 = 4 << 20;

/// What is read at first: most files whole.
const FIRST_READ: usize = 16 << 10;

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// Its bytes are not those that were written.
    Damaged,
    /// It cannot be read.
    Io(io::Error),
}

/// A file that was opened, and its head read.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) record: Box<[u8]>,
    pub(super) layout: Layout,
    /// The body, if it came along.
    first: Option<Bytes>,
}

/// Where the body of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    start: u64,
    length: u64,
    /// The checksum of the head: blocks of another file are not taken for ours.
    seed: u64,
}

/// How long a file is.
pub(super) fn file_length(record: usize, body: u64) -> u64 {
    HEAD as u64 + record as u64 + body + body.div_ceil(BLOCK) * CHECKSUM
}

/// Writes an answer. `Ok(false)`: its body breaks off.
pub(super) fn write(file: &File, record: &[u8], body: &Body, length: u64) -> io::Result<bool> {
    let head = head(record, length).ok_or(io::ErrorKind::InvalidInput)?;
    let seed = u64::from_le_bytes(head[24..].try_into().unwrap_or_default());
    let mut out = BufWriter::with_capacity(128 << 10, file);
    out.write_all(&head)?;
    out.write_all(record)?;
    let mut at = 0;
    let mut block = Vec::with_capacity(usize::try_from(length.min(BLOCK)).unwrap_or(0));
    for number in 0..length.div_ceil(BLOCK) {
        let wanted = usize::try_from(BLOCK.min(length - number * BLOCK)).unwrap_or(0);
        block.clear();
        while block.len() < wanted {
            let Ok(mut piece) = body.read_blocking(at) else {
                return Ok(false);
            };
            if piece.is_empty() {
                return Ok(false);
            }
            piece.truncate(wanted - block.len());
            at += piece.len() as u64;
            block.extend_from_slice(&piece);
        }
        out.write_all(&block)?;
        out.write_all(&checksum(&block, seed, number).to_le_bytes())?;
    }
    out.flush()?;
    Ok(true)
}

fn head(record: &[u8], length: u64) -> Option<[u8; HEAD]> {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&MAGIC);
    let size = u32::try_from(record.len())
        .ok()
        .filter(|size| *size <= LONGEST_RECORD)?;
    head[8..12].copy_from_slice(&size.to_le_bytes());
    head[16..24].copy_from_slice(&length.to_le_bytes());
    let sum = head_checksum(&head[..24], record);
    head[24..].copy_from_slice(&sum.to_le_bytes());
    Some(head)
}

fn head_checksum(start: &[u8], record: &[u8]) -> u64 {
    let mut sum = Xxh3::new();
    sum.update(start);
    sum.update(record);
    sum.digest()
}

fn checksum(block: &[u8], seed: u64, number: u64) -> u64 {
    xxh3_64_with_seed(block, seed.wrapping_add(number))
}

/// Opens a file and reads all but its body.
pub(super) fn open(file: File) -> Result<Opened, Unreadable> {
    let real = file.metadata().map_err(Unreadable::Io)?.len();
    let mut first = vec![0; usize::try_from(real).unwrap_or(FIRST_READ).min(FIRST_READ)];
    read_at(&file, &mut first, 0)?;
    let head: [u8; HEAD] = first
        .get(..HEAD)
        .and_then(|head| head.try_into().ok())
        .ok_or(Unreadable::Damaged)?;
    let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
    let size = u32::from_le_bytes(head[8..12].try_into().unwrap_or_default());
    let (length, seed) = (number(16), number(24));
    let long = u64::from(size) + HEAD as u64;
    // First what costs memory: the length of the record must be one that the file can have.
    if head[..8] != MAGIC || size > LONGEST_RECORD || long > real {
        return Err(Unreadable::Damaged);
    }
    let end = HEAD + size as usize;
    let record: Box<[u8]> = match first.get(HEAD..end) {
        Some(record) => record.into(),
        None => {
            let mut record = vec![0; size as usize];
            read_at(&file, &mut record, HEAD as u64)?;
            record.into()
        }
    };
    if head_checksum(&head[..24], &record) != seed || file_length(record.len(), length) != real {
        return Err(Unreadable::Damaged);
    }
    let layout = Layout {
        start: end as u64,
        length,
        seed,
    };
    let first = (first.len() as u64 == real).then(|| Bytes::from(first).slice(end..));
    Ok(Opened {
        file,
        record,
        layout,
        first,
    })
}

impl Opened {
    /// Reads the body whole, and checks all of it.
    pub(super) fn body(&self) -> Result<Vec<Bytes>, Unreadable> {
        if let Some(first) = &self.first {
            let length = usize::try_from(self.layout.length).map_err(|_| Unreadable::Damaged)?;
            let (block, sum) = first.split_at_checked(length).ok_or(Unreadable::Damaged)?;
            if length == 0 {
                return Ok(Vec::new());
            }
            // One block: `FIRST_READ` is shorter than two.
            let same = *sum == checksum(block, self.layout.seed, 0).to_le_bytes();
            // Copied, so that the record does not stay in memory with it.
            return same
                .then(|| vec![Bytes::copy_from_slice(block)])
                .ok_or(Unreadable::Damaged);
        }
        (0..self.layout.blocks())
            .map(|number| self.layout.read(&self.file, number))
            .collect()
    }

    /// Checks the body without keeping it.
    pub(super) fn check(&self) -> Result<(), Unreadable> {
        (0..self.layout.blocks()).try_for_each(|number| self.layout.read(&self.file, number).map(drop))
    }
}

impl Layout {
    /// How long the body is.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    fn blocks(&self) -> u64 {
        self.length.div_ceil(BLOCK)
    }

    /// Reads a block.
    pub(super) fn read(&self, file: &File, number: u64) -> Result<Bytes, Unreadable> {
        let before = number * BLOCK;
        let length = BLOCK.min(self.length.checked_sub(before).ok_or(Unreadable::Damaged)?);
        let length = usize::try_from(length).map_err(|_| Unreadable::Damaged)?;
        let mut block = vec![0; length + CHECKSUM as usize];
        read_at(file, &mut block, self.start + before + number * CHECKSUM)?;
        let same = block[length..] == checksum(&block[..length], self.seed, number).to_le_bytes();
        block.truncate(length);
        same.then(|| Bytes::from(block)).ok_or(Unreadable::Damaged)
    }
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> Result<(), Unreadable> {
    file.read_exact_at(buffer, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Unreadable::Damaged,
        _ => Unreadable::Io(error),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(record: &[u8], body: &[u8]) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let chunks = body.chunks(1000).map(Bytes::copy_from_slice).collect();
        let whole = write(file.as_file(), record, &Body::whole(chunks), body.len() as u64);
        assert!(whole.expect("is written"));
        std::fs::read(file.path()).expect("is read")
    }

    fn read(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Unreadable> {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(bytes, 0).expect("is written");
        let opened = open(file)?;
        opened.check()?;
        let body = opened.body()?;
        Ok((opened.record.to_vec(), body.concat()))
    }

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 10_000, 16_000, 65_535, 65_536, 65_537, 200_000] {
            let bytes = written(b"record", &sample(length));
            assert_eq!(bytes.len() as u64, file_length(6, length as u64));
            let (record, body) = read(&bytes).expect("is read");
            assert_eq!((record.as_slice(), body), (&b"record"[..], sample(length)));
        }
    }

    #[test]
    fn a_block_of_another_file_is_none_of_this() {
        let (mut one, other) = (written(b"a", &sample(100)), written(b"b", &sample(100)));
        let start = HEAD + 1;
        one[start..].copy_from_slice(&other[start..]);
        assert!(matches!(read(&one), Err(Unreadable::Damaged)));
    }

    #[test]
    fn a_body_that_breaks_off_is_not_written() {
        let file = tempfile::tempfile().expect("a file");
        let body = Body::whole(vec![Bytes::from_static(b"short")]);
        assert!(!write(&file, b"r", &body, 6).expect("no failure of the disk"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_change_is_seen(length in prop_oneof![0usize..100, 65_000usize..140_000], at in any::<usize>(), bit in 0u8..8) {
            let mut bytes = written(b"record", &sample(length));
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(read(&bytes).is_err());
        }

        #[test]
        fn any_piece_is_seen(length in prop_oneof![0usize..100, 65_000usize..140_000], at in any::<usize>()) {
            let bytes = written(b"record", &sample(length));
            prop_assert!(read(&bytes[..at % bytes.len()]).is_err());
        }

        #[test]
        fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
