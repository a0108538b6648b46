//! What the operator is told, and that it stays small.

use super::*;

fn key(id: u128, class: u64) -> Key {
    Key {
        id,
        aggregate: class << 48,
    }
}

#[test]
fn ordinary_clients_and_one_that_is_not() {
    let mut report = Report::default();
    let mut random = fastrand::Rng::with_seed(5);
    let clients: Vec<u128> = (0..400).map(|_| random.u128(..)).collect();
    assert_eq!(report.summary().suggestion, None);
    for minute in 0..3 {
        for (place, id) in clients.iter().enumerate() {
            let key = key(*id, if place % 4 == 0 { 6 } else { 4 });
            // Twelve at once, and eight more over the minute; one asks for 600.
            for _ in 0..12 {
                report.note(key, 1, false, minute * MINUTE + SECOND);
            }
            for later in 2..10 {
                report.note(key, 1, false, minute * MINUTE + later * 6 * SECOND);
            }
            for more in 0..if place == 0 { 580 } else { 0 } {
                report.note(key, 1, true, minute * MINUTE + more * SECOND / 10);
            }
        }
    }
    let summary = report.summary();
    assert_eq!((summary.ipv4.requests, summary.ipv4.refused), (3 * 300 * 20, 0));
    assert_eq!(
        (summary.ipv6.requests, summary.ipv6.refused),
        (3 * (100 * 20 + 580), 3 * 580)
    );
    assert!(summary.ipv4.clients.abs_diff(300) <= 30 && summary.ipv6.clients.abs_diff(100) <= 10);
    // Exact to an eighth: 20 is counted with 21.
    assert_eq!(
        (summary.median, summary.p90, summary.p99, summary.most),
        (21, 21, 21, 600)
    );
    // Within the first ten seconds come twelve; a quarter is added.
    assert_eq!(
        summary.suggestion,
        Some(Suggestion {
            per_minute: 27,
            burst: 14
        })
    );
}

#[test]
fn costs_are_counted() {
    let mut report = Report::default();
    report.note(key(1, 4), 5, false, SECOND);
    report.note(key(1, 4), 5, false, 2 * SECOND);
    report.note(key(1, 4), 1, false, MINUTE);
    assert_eq!(report.summary().most, 10);
}

#[test]
fn any_number_of_clients_fits() {
    let mut report = Report::default();
    let mut random = fastrand::Rng::with_seed(6);
    for request in 0..200_000_u64 {
        report.note(key(random.u128(..), 6), 1, false, request);
        assert!(report.followed.len() <= FOLLOWED);
    }
    assert!(
        report.followed.len() > FOLLOWED / 4,
        "the sample is too small to say anything"
    );
    // Keys that are no hashes: nothing helps, and nothing breaks.
    for id in 0..10_000 {
        report.note(key(id, 4), 1, false, 1);
    }
    assert!(report.followed.len() <= FOLLOWED);
    for minute in 1..200 {
        report.note(key(u128::MAX, 4), u32::MAX, true, minute * MINUTE);
    }
    assert_eq!(report.sample, 0);
    assert_eq!(report.summary().most, u64::from(u32::MAX));
}
