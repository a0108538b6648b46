//! The body of a file, in chunks, and never another length than the one that was promised.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

/// The largest chunk, bytes.
pub(super) const CHUNK: u64 = 64 * 1024;

/// A part of an open file.
#[derive(Debug)]
pub struct FileBody {
    file: Arc<File>,
    offset: u64,
    remaining: u64,
    /// What was read when the file was opened, beginning at `offset`.
    ready: Option<Bytes>,
}

impl FileBody {
    /// `length` bytes from `offset`. `beginning`: at most `length` bytes of the file that have been read from there.
    pub(super) fn new(file: Arc<File>, offset: u64, length: u64, beginning: Option<Bytes>) -> Self {
        Self {
            file,
            offset,
            remaining: length,
            ready: beginning,
        }
    }

    /// Bytes still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next chunk, at most 64 KiB; `None` once all of the promised length has been given. A call that is given up
    /// loses nothing.
    ///
    /// # Errors
    /// The disk failed, or the file has become shorter meanwhile ([`io::ErrorKind::UnexpectedEof`]): the connection must
    /// be cut, for the promised length cannot be kept.
    pub async fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        if self.remaining == 0 {
            return Ok(None);
        }
        let chunk = match self.ready.take() {
            Some(ready) => ready,
            None => {
                let (file, offset, length) = (Arc::clone(&self.file), self.offset, self.remaining.min(CHUNK));
                tokio::task::spawn_blocking(move || read_at(&file, offset, length))
                    .await
                    .map_err(io::Error::other)??
            }
        };
        let length = chunk.len() as u64;
        self.offset += length;
        self.remaining -= length;
        Ok(Some(chunk))
    }
}

/// Reads exactly `length` bytes, at most [`CHUNK`], without zeroing them first.
pub(super) fn read_at(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length.min(CHUNK)).unwrap_or(0);
    let mut chunk = Vec::with_capacity(length);
    while chunk.len() < length {
        let position = offset + chunk.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut chunk), position) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The allocator may have given more than was asked for, and the file may have grown into it.
    chunk.truncate(length);
    Ok(Bytes::from(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(contents: &[u8]) -> (tempfile::NamedTempFile, Arc<File>) {
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(named.path(), contents).unwrap();
        let opened = Arc::new(File::open(named.path()).unwrap());
        (named, opened)
    }

    async fn collect(mut body: FileBody) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = body.next_chunk().await? {
            assert!(!chunk.is_empty() && chunk.len() as u64 <= CHUNK);
            all.extend_from_slice(&chunk);
            assert!(all.len() < 1 << 20, "ends");
        }
        assert_eq!(body.remaining(), 0);
        Ok(all)
    }

    #[tokio::test]
    async fn any_part_is_read_to_the_byte() {
        let contents: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).take(200_000).collect();
        let (_named, opened) = file(&contents);
        for (offset, length) in [
            (0, 200_000),
            (0, 0),
            (0, 1),
            (199_999, 1),
            (1, 65_536),
            (1, 65_537),
            (70_000, 130_000),
        ] {
            let body = FileBody::new(Arc::clone(&opened), offset, length, None);
            let expected = &contents[usize::try_from(offset).unwrap()..][..usize::try_from(length).unwrap()];
            assert!(collect(body).await.unwrap() == expected, "{offset}+{length}");
        }
        let beginning = Bytes::copy_from_slice(&contents[..10]);
        let body = FileBody::new(opened, 0, 200_000, Some(beginning));
        assert!(collect(body).await.unwrap() == contents);
    }

    #[tokio::test]
    async fn a_file_that_grows_keeps_its_promised_length() {
        let (named, opened) = file(&[1; 100]);
        let body = FileBody::new(opened, 0, 100, None);
        std::fs::write(named.path(), [1; 100_000]).unwrap();
        assert_eq!(collect(body).await.unwrap().len(), 100);
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error() {
        let (named, opened) = file(&[1; 100_000]);
        let mut body = FileBody::new(opened, 0, 100_000, None);
        assert!(body.next_chunk().await.unwrap().is_some());
        std::fs::write(named.path(), [1; 70_000]).unwrap();
        let error = body.next_chunk().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_loses_nothing() {
        let contents: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        let (_named, opened) = file(&contents);
        let mut body = FileBody::new(opened, 0, contents.len() as u64, None);
        // Polled once, then dropped.
        let _ = futures_util::future::FutureExt::now_or_never(body.next_chunk());
        let given = contents.len() - usize::try_from(body.remaining()).unwrap();
        assert!(collect(body).await.unwrap() == contents[given..]);
    }
}
