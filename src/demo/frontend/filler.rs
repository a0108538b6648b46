//! What makes files as large, and text as compressible, as a build makes them.

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

const VOCABULARY: usize = 280;

/// A script or a style sheet, brought to this size by a comment at its end.
pub(super) fn padded(text: &str, size: usize, seed: u64) -> Vec<u8> {
    const OPEN: &[u8] = b"/*";
    const CLOSE: &[u8] = b"*/\n";
    let mut body = text.as_bytes().to_vec();
    let Some(room) = size.checked_sub(body.len() + OPEN.len() + CLOSE.len()) else {
        return body;
    };
    body.extend_from_slice(OPEN);
    words(&mut body, room, seed);
    body.extend_from_slice(CLOSE);
    body
}

/// Markup, brought to this size by a comment before its end.
pub(super) fn padded_markup(text: &str, end: &str, size: usize) -> Vec<u8> {
    const OPEN: &str = "<!-- ";
    const CLOSE: &str = " -->\n";
    let mut body = text.as_bytes().to_vec();
    if let Some(room) = size.checked_sub(text.len() + OPEN.len() + CLOSE.len() + end.len()) {
        body.extend_from_slice(OPEN.as_bytes());
        words(&mut body, room, 0);
        body.extend_from_slice(CLOSE.as_bytes());
    }
    body.extend_from_slice(end.as_bytes());
    body
}

/// Words as minified code has them: mostly the same ones again, now and then one that was never seen.
fn words(body: &mut Vec<u8>, room: usize, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let word = |random: &mut fastrand::Rng| -> Vec<u8> {
        let length = random.usize(3..13);
        std::iter::repeat_with(|| random.lowercase() as u8)
            .take(length)
            .collect()
    };
    let vocabulary: Vec<Vec<u8>> = std::iter::repeat_with(|| word(&mut random)).take(VOCABULARY).collect();
    let end = body.len() + room;
    while body.len() < end {
        if random.u8(0..60) == 0 {
            body.extend(word(&mut random));
        } else {
            // The product favours the first words, as people do.
            let place = (0..3).fold(VOCABULARY, |below, _| random.usize(..below.max(1)));
            body.extend_from_slice(&vocabulary[place]);
        }
        body.push(b".,;()= "[random.usize(..7)]);
    }
    body.truncate(end);
}

/// A picture of exactly this size: incompressible, and brought to its size by a text chunk.
pub(super) fn image(size: usize) -> Vec<u8> {
    const SIDE: u32 = 295;
    const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
    const CHUNK_OVERHEAD: usize = 12;
    let mut random = fastrand::Rng::with_seed(4);
    let mut rows = Vec::new();
    for y in 0..SIDE {
        rows.push(0);
        for x in 0..SIDE {
            // A gradient from orange to violet with noise, so that it looks like something and does not compress.
            let shade = u8::try_from((x + y) * 200 / (2 * SIDE)).unwrap_or(u8::MAX);
            let noise = random.u8(0..32);
            rows.extend([220 - shade / 4 + noise, 110 - shade / 2 + noise, shade + noise]);
        }
    }
    let mut stored = ZlibEncoder::new(Vec::new(), Compression::none());
    // Writing to memory cannot fail; were it to, the picture would be cut.
    let _ = stored.write_all(&rows);
    let pixels = stored.finish().unwrap_or_default();
    let mut header = Vec::from(SIDE.to_be_bytes());
    header.extend(SIDE.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);

    let mut picture = SIGNATURE.to_vec();
    chunk(&mut picture, b"IHDR", &header);
    chunk(&mut picture, b"IDAT", &pixels);
    let mut comment = b"Comment\0".to_vec();
    let room = size.saturating_sub(picture.len() + 2 * CHUNK_OVERHEAD + comment.len());
    words(&mut comment, room, 5);
    chunk(&mut picture, b"tEXt", &comment);
    chunk(&mut picture, b"IEND", &[]);
    picture
}

fn chunk(picture: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    picture.extend(length.to_be_bytes());
    picture.extend(kind);
    picture.extend(data);
    picture.extend(crc.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_to_the_byte() {
        for size in [50, 310, 5_000] {
            assert_eq!(padded("let a;", size, 1).len(), size);
            assert_eq!(padded_markup("<p>", "</p>", size).len(), size);
        }
        assert_eq!(padded("too long", 3, 1), b"too long");
        assert_eq!(padded_markup("<p>", "</p>", 3), b"<p></p>");
    }

    #[test]
    fn the_padding_cannot_end_the_comment() {
        let mut text = Vec::new();
        words(&mut text, 100_000, 1);
        assert!(
            text.iter()
                .all(|byte| byte.is_ascii_lowercase() || b".,;()= ".contains(byte))
        );
    }

    #[test]
    fn the_picture_is_one() {
        let picture = image(269_887);
        assert_eq!(picture.len(), 269_887);
        let (mut at, mut kinds) = (8, Vec::new());
        while at < picture.len() {
            let length = u32::from_be_bytes(picture[at..at + 4].try_into().unwrap()) as usize;
            kinds.push(std::str::from_utf8(&picture[at + 4..at + 8]).unwrap());
            at += length + 12;
        }
        assert_eq!((at, kinds), (picture.len(), vec!["IHDR", "IDAT", "tEXt", "IEND"]));
    }
}
