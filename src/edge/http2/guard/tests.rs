//! What frames cost, whoever sends them and however they are cut.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// How many such frames a connection may send at once.
fn most(one: &[u8]) -> usize {
    let (mut guard, calm) = Guard::new((), Duration::from_secs(10));
    guard.count(&[b'P'; PREFACE]);
    (1..100_000)
        .find(|_| {
            guard.count(one);
            calm.is_wanted()
        })
        .unwrap_or(100_000)
}

#[tokio::test(start_paused = true)]
async fn each_kind_has_a_bound_and_requests_have_none() {
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x82]);
    let reset = frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    for (name, bytes, between) in [
        ("rapid reset", [request.clone(), reset].concat(), 100..300),
        ("ping", frame(PING, 0, 0, &[0; 8]), 100..1000),
        ("settings", frame(SETTINGS, 0, 0, &[]), 50..500),
        ("empty data", frame(DATA, 0, 1, &[]), 50..500),
        ("self-dependence", frame(PRIORITY, 0, 3, &[0, 0, 0, 3, 16]), 50..300),
        ("continuation", frame(CONTINUATION, 0, 1, &[1]), 10..200),
        ("empty continuation", frame(CONTINUATION, 0, 1, &[]), 2..50),
        ("unknown", frame(77, 0, 1, &[1, 2]), 50..1000),
        ("requests", request, 100_000..100_001),
        ("bodies", frame(DATA, 0, 1, &[7; 100]), 100_000..100_001),
    ] {
        let most = most(&bytes);
        assert!(between.contains(&most), "{name}: {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn resets_of_the_gateway_are_paid_by_the_client() {
    let (mut guard, calm) = Guard::new((), Duration::from_secs(10));
    for _ in 0..1000 {
        guard.count_own(&frame(RST_STREAM, 0, 1, &NO_ERROR));
    }
    assert!(!calm.is_wanted());
    for _ in 0..200 {
        guard.count_own(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 1]));
    }
    assert!(calm.is_wanted());
}

#[tokio::test(start_paused = true)]
async fn what_leaves_in_several_pieces_is_counted_once() {
    let reset = frame(RST_STREAM, 0, 1, &[0, 0, 0, 1]);
    let (mut guard, calm) = Guard::new(tokio::io::sink(), Duration::from_secs(10));
    let whole = [reset.as_slice(), &reset].concat();
    for _ in 0..10 {
        for piece in whole.chunks(4) {
            guard.write_all(piece).await.unwrap();
        }
    }
    assert_eq!(calm.purse.load(Relaxed), PURSE - 20 * RESET);
}

proptest! {
    #[test]
    fn splits_do_not_matter(frames in prop::collection::vec((any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
                            cuts in prop::collection::vec(1usize..13, 1..50)) {
        let wire: Vec<u8> = frames.iter().flat_map(|(kind, flags, payload)| frame(*kind, *flags, 5, payload)).collect();
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        Frames::default().follow(&wire, |frame| whole.push(frame));
        let mut follower = Frames::default();
        let (mut rest, mut cuts) = (wire.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (part, left) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            follower.follow(part, |frame| parts.push(frame));
            rest = left;
        }
        prop_assert!(!follower.is_within());
        prop_assert_eq!(whole.len(), frames.len());
        prop_assert_eq!(whole, parts);
    }
}
