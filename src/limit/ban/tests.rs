//! Who is banned, when, and that it ends.

use super::*;

const SECOND: u64 = 1_000_000_000;

fn rule(after: u32) -> BanRule {
    BanRule {
        after,
        within: 60 * SECOND,
        duration: 600 * SECOND,
        ipv6_prefix: 64,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

#[test]
fn the_last_refusal_bans_and_time_lifts() {
    let (bans, policy) = (Bans::default(), Arc::from("api"));
    let client = ip("192.0.2.1");
    for at in 0..2 {
        assert_eq!(bans.refused(client, &policy, &rule(3), at * SECOND), None);
        assert_eq!(bans.banned(client, at * SECOND), None);
    }
    let ban = bans
        .refused(ip("::ffff:192.0.2.1"), &policy, &rule(3), 2 * SECOND)
        .expect("a ban");
    assert_eq!(
        (ban.until, ban.left(2 * SECOND)),
        (602 * SECOND, Duration::from_secs(600))
    );
    assert_eq!(bans.banned(client, 3 * SECOND), Some(Duration::from_secs(599)));
    assert_eq!(
        bans.banned(ip("::ffff:192.0.2.1"), 3 * SECOND),
        Some(Duration::from_secs(599))
    );
    assert_eq!(bans.banned(ip("192.0.2.2"), 3 * SECOND), None);
    assert_eq!(bans.list(3 * SECOND).as_slice(), std::slice::from_ref(&ban));
    assert_eq!(bans.list(602 * SECOND), []);
    assert_eq!(bans.banned(client, 602 * SECOND), None);
    assert_eq!((bans.count.load(Relaxed), bans.len(602 * SECOND)), (0, 0));
    // It begins anew.
    assert_eq!(bans.refused(client, &policy, &rule(3), 603 * SECOND), None);
    assert_eq!(bans.changes(), [Change::Banned(ban)]);
    assert_eq!(bans.changes(), []);
}

#[test]
fn refusals_count_within_their_window_and_by_limit() {
    let bans = Bans::default();
    let (a, b) = (Arc::from("a"), Arc::from("b"));
    let client = ip("192.0.2.1");
    for at in [0, 59, 60, 119, 120] {
        assert_eq!(bans.refused(client, &a, &rule(3), at * SECOND), None, "{at}");
        assert_eq!(bans.refused(client, &b, &rule(9), at * SECOND), None, "{at}");
    }
    assert!(bans.refused(client, &a, &rule(1), 121 * SECOND).is_some());
}

#[test]
fn networks_of_ipv6_are_banned_whole() {
    let (bans, policy) = (Bans::default(), Arc::from("api"));
    let wide = BanRule {
        ipv6_prefix: 48,
        ..rule(1)
    };
    bans.refused(ip("2001:db8::1"), &policy, &rule(1), 0);
    bans.refused(ip("2001:db9:0:1::1"), &policy, &wide, 0);
    for (client, banned) in [
        ("2001:db8::ffff:1", true),
        ("2001:db8:0:1::1", false),
        ("2001:db9:0:2::1", true),
        ("2001:db9:1::1", false),
        ("192.0.2.1", false),
    ] {
        assert_eq!(bans.banned(ip(client), 1).is_some(), banned, "{client}");
    }
    assert!(bans.lift("2001:db8::7/64".parse().expect("a network"), 1));
    assert!(!bans.lift("2001:db8::/64".parse().expect("a network"), 1));
    assert_eq!(bans.banned(ip("2001:db8::ffff:1"), 1), None);
    assert!(bans.forget("2001:db9::/48".parse().expect("a network"), 1, 1));
    let changes = bans.changes();
    assert!(
        matches!(
            changes[..],
            [Change::Banned(_), Change::Banned(_), Change::Lifted { .. }]
        ),
        "{changes:?}"
    );
    assert!(bans.list.read().prefixes.is_empty());
}

#[test]
fn of_two_bans_the_longer_counts() {
    let bans = Bans::default();
    let ban = |until| Ban {
        client: "192.0.2.1/32".parse().expect("an address"),
        policy: "api".into(),
        since: 0,
        until,
    };
    for until in [5, 9, 7] {
        bans.add(ban(until), 0);
    }
    assert_eq!(bans.banned(ip("192.0.2.1"), 0), Some(Duration::from_nanos(9)));
    assert_eq!(bans.list(0).len(), 1);
}

#[test]
fn everything_is_bounded() {
    let (bans, policy) = (Bans::default(), Arc::from("api"));
    let client = |number: u32| IpAddr::from(number.to_be_bytes());
    for number in 0..150_000 {
        bans.refused(client(number), &policy, &rule(1), number.into());
    }
    assert_eq!(bans.list(0).len(), MAX_BANS);
    // Those that would have ended first have gone.
    assert_eq!(bans.banned(client(0), 150_000), None);
    assert!(bans.banned(client(149_999), 150_000).is_some());
    assert_eq!(bans.changes().len(), MAX_CHANGES);
    for number in 0..150_000 {
        bans.refused(client(number), &policy, &rule(2), 150_000);
    }
    assert_eq!(bans.refusals.lock().sets.len(), SETS);
}

#[test]
fn a_ban_that_began_after_another_was_lifted_stays() {
    let bans = Bans::default();
    let client = "192.0.2.1/32".parse().expect("an address");
    let ban = Ban {
        client,
        policy: "api".into(),
        since: 20,
        until: 90,
    };
    bans.add(ban, 20);
    assert!(!bans.forget(client, 19, 30), "that was another one");
    assert!(bans.banned(ip("192.0.2.1"), 30).is_some());
    assert!(bans.lift(client, 40));
    let (at, until) = (40, 90);
    assert_eq!(bans.changes(), [Change::Lifted { client, at, until }]);
}
