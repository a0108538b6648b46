//! Bodies, whole and arriving.

use proptest::prelude::*;

use super::*;

async fn all(mut reader: Reader) -> Result<Vec<u8>, Broken> {
    let mut read = Vec::new();
    while let Some(piece) = reader.next().await? {
        read.extend_from_slice(&piece);
    }
    Ok(read)
}

#[tokio::test]
async fn readers_follow_what_arrives() {
    let body = Body::arriving();
    body.push(Bytes::from_static(b"abc"));
    let (early, part) = (
        tokio::spawn(all(body.reader(0, None))),
        tokio::spawn(all(body.reader(2, Some(5)))),
    );
    tokio::task::yield_now().await;
    body.push(Bytes::from_static(b"def"));
    assert_eq!(
        part.await.expect("task"),
        Ok(b"cde".to_vec()),
        "before the end of the body"
    );
    assert!(body.finish());
    assert_eq!(early.await.expect("task"), Ok(b"abcdef".to_vec()));
    assert_eq!(all(body.reader(0, None)).await, Ok(b"abcdef".to_vec()));
    assert_eq!(all(body.reader(4, Some(6))).await, Ok(b"ef".to_vec()));
    assert_eq!(all(body.reader(6, None)).await, Ok(vec![]));
    assert_eq!(
        all(body.reader(4, Some(9))).await,
        Err(Broken),
        "less than was promised"
    );
    assert_eq!(body.length(), Some(6));
    assert_eq!(body.chunks().map(<[Bytes]>::len), Some(1), "small bodies are one piece");
}

#[tokio::test]
async fn a_body_that_breaks_off_says_so() {
    let body = Body::arriving();
    body.push(Bytes::from_static(b"abc"));
    let reader = body.reader(0, None);
    body.fail();
    assert_eq!(all(reader).await, Err(Broken));
    assert_eq!(all(body.reader(0, Some(2))).await, Ok(b"ab".to_vec()));
}

#[tokio::test]
async fn a_body_too_large_waits_for_its_readers() {
    let body = Body::arriving();
    let mut reader = body.reader(0, None);
    let piece = Bytes::from(vec![7; 100_000]);
    body.overflow();
    let writer = tokio::spawn({
        let body = Arc::clone(&body);
        async move {
            for _ in 0..50 {
                assert!(body.room().await);
                body.push(piece.clone());
                assert!(body.in_memory() <= WINDOW + 100_000);
            }
            assert!(!body.finish(), "it is not kept");
        }
    });
    let mut read = 0;
    while let Some(piece) = reader.next().await.expect("whole") {
        read += piece.len();
        tokio::task::yield_now().await;
    }
    assert_eq!(read, 5_000_000);
    writer.await.expect("the writer");
    drop(reader);
    assert!(!body.room().await, "nobody reads any more");
    let mut late = body.reader(0, None);
    assert!(late.is_late() && !body.reader(5_000_000, None).is_late());
    assert_eq!(late.next().await, Err(Broken), "its beginning is gone");
}

#[test]
fn what_arrives_again_is_compared() {
    let body = Body::arriving();
    body.push(Bytes::from_static(b"abc"));
    body.push(Bytes::from_static(b"def"));
    assert!(body.agrees(0, b"abcd") && body.agrees(2, b"cd") && body.agrees(4, b"efgh") && body.agrees(6, b"x"));
    assert!(!body.agrees(0, b"abd") && !body.agrees(2, b"cx"));
}

proptest! {
    #[test]
    fn any_part_of_any_chunks(sizes in proptest::collection::vec(1_usize..40_000, 0..12), from in 0_u64..200_000, length in 0_u64..200_000) {
        let whole: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|at| (at % 251) as u8).collect();
        let mut rest = Bytes::from(whole.clone());
        let body = Body::whole(sizes.iter().map(|size| rest.split_to(*size)).collect());
        let from = from.min(whole.len() as u64);
        let to = (from + length).min(whole.len() as u64);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let read = runtime.block_on(all(body.reader(from, Some(to)))).expect("whole");
        prop_assert_eq!(&read[..], &whole[from as usize..to as usize]);
    }
}
