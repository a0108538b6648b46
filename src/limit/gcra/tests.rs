//! The bound, nginx's own recurrence, the extremes of every input, clocks that jump.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MILLI: u64 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);

fn passes(decision: Decision) -> Option<(u64, u64, Level)> {
    match decision {
        Decision::Allowed { tat, level } => Some((tat, 0, level)),
        Decision::Delayed { tat, wait, level } => Some((tat, wait, level)),
        Decision::Denied { .. } => None,
    }
}

fn level(decision: Decision) -> Level {
    match decision {
        Decision::Allowed { level, .. } | Decision::Delayed { level, .. } | Decision::Denied { level } => level,
    }
}

/// `ngx_http_limit_req_lookup` of nginx 1.29: integer thousandths of requests, milliseconds.
#[derive(Default)]
struct Nginx {
    seen: Option<(i64, i64)>, // excess, last
}

impl Nginx {
    /// The delay in milliseconds, or `None` for a refusal.
    fn request(&mut self, rate: i64, burst: i64, delay: i64, now: i64) -> Option<i64> {
        let (excess, last) = match self.seen {
            None => (0, now),
            Some((excess, last)) => {
                let ms = match now - last {
                    ms if ms < -60_000 => 1,
                    ms => ms.max(0),
                };
                let excess = (excess - rate * ms / 1000 + 1000).max(0);
                if excess > burst * 1000 {
                    return None;
                }
                (excess, if ms == 0 { last } else { now })
            }
        };
        self.seen = Some((excess, last));
        Some(((excess - delay * 1000) * 1000 / rate).max(0))
    }
}

#[test]
fn a_bucket_by_hand() {
    // 10/s, 3 at once.
    let bucket = Bucket::new(10, SECOND, 3);
    let now = 5_000 * MILLI;
    let mut tat = 0;
    for (room, full_in) in [(2, 100), (1, 200), (0, 300)] {
        let (next, wait, level) = passes(bucket.decide(tat, now, 1)).unwrap();
        assert_eq!(
            (wait, level),
            (
                0,
                Level {
                    room,
                    next_in: 100 * MILLI,
                    full_in: full_in * MILLI,
                    retry_in: 0
                }
            )
        );
        tat = next;
    }
    let denied = Level {
        room: 0,
        next_in: 60 * MILLI,
        full_in: 260 * MILLI,
        retry_in: 60 * MILLI,
    };
    assert_eq!(
        bucket.decide(tat, now + 40 * MILLI, 1),
        Decision::Denied { level: denied }
    );
    assert_eq!(
        bucket.decide(tat, now + 40 * MILLI, 0),
        Decision::Allowed {
            tat,
            level: Level { retry_in: 0, ..denied }
        }
    );
    // Two units: not before 200 ms. What costs more than there ever is waits for the whole.
    for (cost, retry_in) in [(2, 200), (3, 300), (4, 300), (u32::MAX, 300)] {
        assert_eq!(
            level(bucket.decide(tat, now, cost)).retry_in,
            retry_in * MILLI,
            "{cost}"
        );
    }
    assert_eq!(
        bucket.look(tat, now + 1_000 * MILLI),
        Level {
            room: 3,
            ..Level::default()
        }
    );
}

#[test]
fn buckets_as_nginx_configures_them() {
    for (bucket, waits) in [
        (Bucket::new(1, SECOND, 4), vec![0, 0, 0, 0]),
        (Bucket::new(1, SECOND, 4).delaying_beyond(0), vec![0, 1000, 2000, 3000]),
        (Bucket::new(1, SECOND, 4).delaying_beyond(2), vec![0, 0, 0, 1000]),
        (Bucket::new(1, SECOND, 4).delaying_beyond(9), vec![0, 0, 0, 0]),
        (Bucket::new(60, Duration::from_secs(60), 1), vec![0]),
    ] {
        let mut tat = 0;
        for wait in waits {
            let passed = passes(bucket.decide(tat, 0, 1)).unwrap();
            assert_eq!(passed.1, wait * MILLI, "{bucket:?}");
            tat = passed.0;
        }
        assert_eq!(passes(bucket.decide(tat, 0, 1)), None, "{bucket:?}");
    }
}

#[test]
fn buckets_are_made_to_measure() {
    for (count, interval, capacity, expected) in [
        (3, SECOND, 3, (333_333_334, 3)),
        (5, Duration::from_secs(60), 5, (12_000 * MILLI, 5)),
        (0, SECOND, 0, (1_000 * MILLI, 1)),
        (u64::MAX, SECOND, 7, (1, 7)),
        (1, Duration::MAX, u32::MAX, (HORIZON, 1)),
        (1, Duration::from_secs(86_400), u32::MAX, (86_400_000 * MILLI, 53_375)),
        (1, Duration::ZERO, 1, (1, 1)),
    ] {
        let bucket = Bucket::new(count, interval, capacity);
        assert_eq!((bucket.period(), bucket.capacity()), expected);
    }
}

fn any_bucket() -> impl Strategy<Value = Bucket> {
    (
        any::<u64>(),
        any::<u64>(),
        any::<u32>(),
        proptest::option::of(any::<u32>()),
    )
        .prop_map(|(count, interval, capacity, delay)| {
            let bucket = Bucket::new(count, Duration::from_nanos(interval), capacity);
            delay.map_or(bucket, |delay| bucket.delaying_beyond(delay))
        })
}

/// Values at which arithmetic breaks, and any others.
fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0_u64..4, any::<u32>()).prop_map(|(corner, off)| (corner << 62).wrapping_add(u64::from(off))),
        (0_u64..4, any::<u32>()).prop_map(|(corner, off)| (corner << 62).wrapping_sub(u64::from(off))),
    ]
}

/// What was admitted: when, and how many units.
type Admitted = Vec<(u64, u32)>;

/// Whether no window holds more than the capacity and what the rate brings in it.
fn conforms(bucket: Bucket, admitted: &Admitted) -> Result<(), String> {
    for (index, (from, _)) in admitted.iter().enumerate() {
        let mut units = 0;
        for (until, cost) in &admitted[index..] {
            units += u64::from(*cost);
            let most = (until - from) / bucket.period() + u64::from(bucket.capacity());
            if units > most {
                return Err(format!("{units} units from {from} to {until}, at most {most}"));
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_window_holds_more_than_capacity_and_rate(
        count in 1_u64..50,
        capacity in 1_u32..20,
        delay in 0_u32..30,
        arrivals in vec((0_u64..300 * MILLI, 0_u32..5), 1..120),
    ) {
        let bucket = Bucket::new(count, SECOND, capacity).delaying_beyond(delay);
        let (mut tat, mut now) = (0, 0);
        let mut admitted = Admitted::new();
        let mut served = Admitted::new();
        for (gap, cost) in arrivals {
            now += gap;
            let cost = cost.min(capacity);
            if let Some((next, wait, _)) = passes(bucket.decide(tat, now, cost)) {
                tat = next;
                admitted.push((now, cost));
                served.push((now + wait, cost));
            }
        }
        prop_assert_eq!(conforms(bucket, &admitted), Ok(()));
        // What waited goes on no faster than what may pass at once; a wait lets nobody overtake.
        served.sort_unstable();
        let largest = served.iter().map(|served| served.1).max().unwrap_or_default();
        let prompt = Bucket { capacity: bucket.prompt().max(largest), ..bucket };
        prop_assert_eq!(conforms(prompt, &served), Ok(()));
    }

    #[test]
    fn clocks_that_jump_back_admit_nothing_more(
        count in 1_u64..50,
        capacity in 1_u32..20,
        arrivals in vec((0_u64..300 * MILLI, proptest::option::weighted(0.2, any::<u64>())), 1..100),
    ) {
        let bucket = Bucket::new(count, SECOND, capacity);
        // The bucket reads a clock that is set back now and then; the bound is in the time that passes.
        let (mut tat, mut truth, mut clock) = (0, 0, HORIZON / 2);
        let mut admitted = Admitted::new();
        for (gap, back) in arrivals {
            truth += gap;
            clock += gap;
            if let Some(back) = back {
                clock -= back % clock;
            }
            if let Some((next, _, _)) = passes(bucket.decide(tat, clock, 1)) {
                tat = next;
                admitted.push((truth, 1));
            }
            // Nobody waits longer than the bucket takes to fill, however far back the clock went.
            prop_assert!(bucket.look(tat, clock).full_in <= bucket.fill_time());
        }
        prop_assert_eq!(conforms(bucket, &admitted), Ok(()));
    }

    #[test]
    fn clocks_that_jump_ahead_forgive_what_the_time_would_have(capacity in 1_u32..20, ahead in any::<u64>()) {
        let bucket = Bucket::new(10, SECOND, capacity);
        let empty = bucket.charge(0, 0, capacity);
        let forgiven = bucket.look(empty, ahead).room;
        prop_assert_eq!(u64::from(forgiven), (ahead / bucket.period()).min(u64::from(capacity)));
    }

    #[test]
    fn it_is_the_recurrence_of_nginx(
        // Rates whose period is a whole number of nanoseconds: nginx reads each arrival at a whole millisecond, so
        // arrivals exactly on the edge do happen.
        rate in proptest::sample::select(vec![1_u64, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500, 1000]),
        burst in 0_u32..12,
        delay in 0_u32..14,
        pace in 1_u64..40,
        arrivals in vec(0_u64..100, 1..300),
    ) {
        let bucket = Bucket::new(rate, SECOND, burst + 1).delaying_beyond(delay);
        let mut nginx = Nginx::default();
        let (mut tat, mut now) = (0, 1);
        for gap in arrivals {
            now += gap * pace / rate;
            let theirs = nginx.request(rate.cast_signed() * 1000, burst.into(), delay.into(), now.cast_signed());
            let ours = passes(bucket.decide(tat, now * MILLI, 1));
            prop_assert_eq!(ours.map(|passed| (passed.1 / MILLI).cast_signed()), theirs);
            if let Some(passed) = ours {
                tat = passed.0;
            }
        }
    }

    #[test]
    fn any_input_is_decided_consistently(
        bucket in any_bucket(),
        tat in any_time(),
        now in any_time(),
        cost in any::<u32>(),
        later in any::<u64>(),
    ) {
        let decision = bucket.decide(tat, now, cost);
        let seen = level(decision);
        prop_assert!(seen.room <= bucket.capacity());
        prop_assert!(seen.full_in <= bucket.fill_time() && seen.next_in <= seen.full_in);
        prop_assert_eq!(seen.room == bucket.capacity(), seen.full_in == 0);
        match passes(decision) {
            Some((next, wait, after)) => {
                prop_assert_eq!(seen.retry_in, 0);
                prop_assert_eq!(bucket.charge(tat, now, cost), next);
                prop_assert_eq!(bucket.look(next, now), after);
                prop_assert!(wait <= bucket.fill_time());
            }
            None => {
                // Exactly then, not before; nothing was charged meanwhile.
                let now = now.min(HORIZON);
                prop_assert!(seen.retry_in >= 1 && seen.retry_in <= bucket.fill_time());
                if now + seen.retry_in <= HORIZON && tat <= now + bucket.fill_time() {
                    prop_assert!(passes(bucket.decide(tat, now + seen.retry_in, cost)).is_some());
                    prop_assert!(passes(bucket.decide(tat, now + seen.retry_in - 1, cost)).is_none());
                }
                prop_assert_eq!(Level { retry_in: 0, ..seen }, bucket.look(tat, now));
            }
        }
        // Time only helps, a debt and a price only hurt.
        let admitted = |tat, now, cost| passes(bucket.decide(tat, now, cost)).is_some();
        prop_assert!(!admitted(tat, now, cost) || admitted(tat, now.saturating_add(later), cost));
        prop_assert!(!admitted(tat.saturating_add(later), now, cost) || admitted(tat, now, cost));
        prop_assert!(!admitted(tat, now, cost) || admitted(tat, now, cost / 2));
    }
}
