//! Tests of the module above, and an overload under virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::balance::dice::Dice;
use crate::balance::{Ask, AttemptOutcome, Finish, Lease, Member, Pool, Settings};

const PATIENCE: Duration = Duration::from_secs(1);

fn first(line: &Line<char>, now: Instant) -> Option<char> {
    line.first(now).map(|(_, who)| *who)
}

#[test]
fn the_highest_class_goes_first_and_the_oldest_within_one() {
    let now = Instant::now();
    let mut line = Line::new(10, PATIENCE);
    assert_eq!(first(&line, now), None);
    let mut tickets = Vec::new();
    for (who, priority) in [
        ('a', Priority::Low),
        ('b', Priority::Normal),
        ('c', Priority::Normal),
        ('d', Priority::High),
        ('e', Priority::Low),
    ] {
        let joined = line.join(priority, who, now).unwrap();
        assert_eq!(joined.until, now + PATIENCE);
        tickets.push(joined.ticket);
    }
    assert!(line.is_ahead_of(Priority::High) && line.is_ahead_of(Priority::Low));
    let mut order = String::new();
    while let Some((ticket, who)) = line.first(now) {
        order.push(*who);
        line.leave(ticket);
    }
    assert_eq!(order, "dbcae");
    assert!(line.is_empty() && !line.is_ahead_of(Priority::Low));
    line.leave(tickets[0]);
    assert_eq!(line.len(), 0, "who has gone leaves nothing behind");
}

#[test]
fn a_full_line_makes_room_for_a_higher_class_only() {
    let now = Instant::now();
    let mut line = Line::new(3, PATIENCE);
    for (who, priority) in [('a', Priority::Low), ('b', Priority::Normal), ('c', Priority::Low)] {
        line.join(priority, who, now).unwrap();
    }
    assert_eq!(line.join(Priority::Low, 'x', now).unwrap_err(), LineFull);
    assert_eq!(line.join(Priority::Normal, 'd', now).unwrap().evicted, Some('c'));
    assert_eq!(line.join(Priority::High, 'e', now).unwrap().evicted, Some('a'));
    assert_eq!(line.join(Priority::Normal, 'x', now).unwrap_err(), LineFull);
    assert_eq!(line.join(Priority::High, 'f', now).unwrap().evicted, Some('d'));
    assert_eq!(line.len(), 3);
    assert_eq!(
        Line::new(0, PATIENCE).join(Priority::High, 'a', now).unwrap_err(),
        LineFull
    );
}

#[test]
fn when_more_comes_than_can_be_served_the_youngest_goes_first() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut line = Line::new(10, PATIENCE);
    let a = line.join(Priority::Normal, 'a', at(0)).unwrap();
    line.join(Priority::Normal, 'b', at(900)).unwrap();
    assert_eq!(first(&line, at(999)), Some('a'));
    line.leave(a.ticket);
    let c = line.join(Priority::Normal, 'c', at(1000)).unwrap();
    assert_eq!(c.until, at(1250), "the line has not been empty for so long");
    assert_eq!(first(&line, at(1000)), Some('c'));
    for _ in 0..2 {
        let (ticket, _) = line.first(at(1100)).unwrap();
        line.leave(ticket);
    }
    let d = line.join(Priority::Normal, 'd', at(1200)).unwrap();
    assert_eq!(d.until, at(2200), "it was empty");
}

proptest! {
    #[test]
    fn never_more_than_there_is_room_for(
        steps in proptest::collection::vec((0usize..3, 0u64..400, any::<bool>()), 1..200),
        size in 0usize..6,
    ) {
        let mut now = Instant::now();
        let mut line = Line::new(size, PATIENCE);
        for (class, pause, leaves) in steps {
            now += Duration::from_millis(pause);
            let before = line.len();
            match line.join(Priority::ALL[class], class, now) {
                Ok(joined) => {
                    prop_assert!(joined.evicted.is_none_or(|evicted| evicted < class));
                    prop_assert_eq!(line.len(), before + usize::from(joined.evicted.is_none()));
                }
                Err(LineFull) => prop_assert_eq!(before, size),
            }
            prop_assert!(line.len() <= size);
            if let (true, Some((ticket, &who))) = (leaves, line.first(now)) {
                prop_assert!(!Priority::ALL.iter().any(|&class| class as usize > who && line.is_ahead_of(class)));
                line.leave(ticket);
            }
        }
    }
}

/// Three times as much as two servers with four places each can do: 10 % of it high, 60 % normal, 30 % low.
#[test]
fn under_overload_the_low_are_refused_first_and_the_high_last() {
    const SECONDS: f64 = 60.0;
    const SERVICE: f64 = 0.05;
    const RATE: f64 = 3.0 * 8.0 / SERVICE;
    let pool = Pool::seeded("app".into(), Settings::default(), 3);
    pool.update(
        (0..2)
            .map(|number| Member {
                max_requests: NonZeroU32::new(4),
                ..Member::new(format!("app-{number}:80"), ([10, 0, 0, 1], 1 + number).into(), 1)
            })
            .collect(),
    );
    let dice = Dice::seeded(9);
    let exponential = |mean: f64| -mean * (1.0 - dice.unit()).ln();
    let start = Instant::now();
    let mut line: Line<usize> = Line::new(50, PATIENCE);
    // Class, arrival and patience of everybody who joined the line.
    let mut known: Vec<(usize, f64, Instant)> = Vec::new();
    let (mut asked, mut served) = ([0u32; 3], [0u32; 3]);
    let mut waits: [Vec<f64>; 3] = Default::default();
    let mut work: Vec<Option<Lease>> = Vec::new();
    // Arrivals have no number, ends of work have theirs.
    let mut events: BinaryHeap<Reverse<(u64, Option<usize>)>> = BinaryHeap::from([Reverse((1, None))]);
    while let Some(Reverse((nanos, event))) = events.pop() {
        let seconds = nanos as f64 / 1e9;
        let now = start + Duration::from_nanos(nanos);
        let later = |delay: f64| nanos + (delay * 1e9) as u64 + 1;
        match event {
            None => {
                if seconds < SECONDS {
                    events.push(Reverse((later(exponential(1.0 / RATE)), None)));
                }
                let class = match dice.unit() {
                    unit if unit < 0.1 => 2,
                    unit if unit < 0.7 => 1,
                    _ => 0,
                };
                asked[class] += 1;
                let priority = Priority::ALL[class];
                if let Ok(joined) = line.join(priority, known.len(), now) {
                    known.push((class, seconds, joined.until));
                }
            }
            Some(index) => {
                let mut lease = work[index].take().expect("it ends once");
                let latency = Some(Duration::from_secs_f64(SERVICE));
                let outcome = AttemptOutcome::Success;
                lease.finish(Finish { outcome, latency, now });
            }
        }
        while let Some((ticket, &who)) = line.first(now) {
            let (class, since, until) = known[who];
            if until < now {
                line.leave(ticket); // it has gone meanwhile
                continue;
            }
            let ask = Ask {
                priority: Priority::ALL[class],
                ..Ask::any(now)
            };
            let Ok(lease) = pool.pick(&ask) else { break };
            line.leave(ticket);
            served[class] += 1;
            waits[class].push(seconds - since);
            events.push(Reverse((later(exponential(SERVICE)), Some(work.len()))));
            work.push(Some(lease));
        }
    }
    let share = |class: usize| f64::from(served[class]) / f64::from(asked[class]);
    waits.iter_mut().for_each(|waits| waits.sort_by(f64::total_cmp));
    assert!(share(2) > 0.99, "high: {}", share(2));
    assert!(share(1) > 0.30 && share(1) < 0.45, "normal: {}", share(1));
    assert!(share(0) < 0.05, "low: {}", share(0));
    let slow = waits[2][waits[2].len() * 99 / 100];
    assert!(slow < 0.06, "the high hardly wait: {slow} s");
}
