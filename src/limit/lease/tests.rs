//! Gateways and a store in virtual time: what they admit together, and how often they ask.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limit::gcra::Bucket;
use crate::limit::policy::Policy;
use crate::limit::{Book, Claim, Manner, Taken};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// The script of the store, one key, in whole nanoseconds.
#[derive(Default)]
struct Store {
    tat: u64,
    out: u64,
    clock: u64,
    written: u64,
    asked: u64,
}

impl Store {
    fn ask(&mut self, ask: &Ask, now: u64) -> Reply {
        self.asked += 1;
        let (period, fill) = (ask.terms.bucket.period(), ask.terms.bucket.fill_time());
        let from = self.tat.saturating_sub(self.out * period).max(self.written);
        self.clock += now.saturating_sub(from);
        self.written = now;
        let settle = ask.settle;
        if settle.units > 0 {
            let unspent = u64::from(settle.unspent) * period;
            let back = unspent.saturating_sub(self.clock - settle.clock);
            self.tat = self.tat.max(now) - back;
            self.out = self.out.saturating_sub(u64::from(settle.units));
        }
        let base = self.tat.max(now);
        let room = (now + fill).saturating_sub(base) / period;
        let mut reply = Reply {
            clock: self.clock,
            ..Reply::default()
        };
        if room >= u64::from(ask.least) {
            if ask.least > 0 {
                let half = u32::try_from(room / 2).unwrap();
                reply.granted = ask.most.min(half.max(ask.least)).max(ask.least);
                self.tat = base + u64::from(reply.granted) * period;
                self.out += u64::from(reply.granted);
            }
        } else {
            reply.retry_in = base + u64::from(ask.least) * period - fill - now;
        }
        reply.backlog = self.tat.saturating_sub(now);
        reply
    }
}

/// Somebody asks at a gateway, or the store answers one.
#[derive(Debug, Clone, Copy)]
enum Event {
    Request(usize),
    Answer(usize, Ask, Reply, u64, bool),
}

#[derive(Debug, Clone)]
struct Load {
    gateways: usize,
    count: u64,
    seconds: u64,
    capacity: u32,
    strict: bool,
    /// Requests, as a multiple of the rate.
    load: f64,
    /// All of it in a quarter of the time.
    bursts: bool,
    /// Answers that are lost.
    lost: f64,
    seed: u64,
}

#[derive(Debug)]
struct Outcome {
    requests: u64,
    admitted: u64,
    asked: u64,
    /// The least capacity of a bucket that all admissions would have conformed to.
    depth: f64,
    terms: Terms,
    seconds: u64,
}

impl Load {
    fn run(&self) -> Outcome {
        let mut policy = Policy::new("a", Bucket::new(self.count, Duration::from_secs(1), self.capacity));
        policy.strict = self.strict;
        let terms = Terms::of(&policy, u32::try_from(self.gateways).unwrap());
        let books: Vec<Book<()>> = (0..self.gateways).map(|_| Book::new(100)).collect();
        let claim = Claim {
            id: 1,
            tag: 0,
            terms,
            cost: 1,
            out: false,
            manner: Manner::Enforce,
        };
        let mut dice = fastrand::Rng::with_seed(self.seed);
        let mut store = Store::default();
        let mut events: BTreeMap<u64, Event> = BTreeMap::new();
        let mut queue: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
        let mut serial = 0;
        let mut plan = |events: &mut BTreeMap<u64, Event>, queue: &mut BinaryHeap<Reverse<u64>>, at: u64, event| {
            // No two at the same moment.
            serial = (serial + 1) % 1000;
            let at = at / 1000 * 1000 + serial;
            events.insert(at, event);
            queue.push(Reverse(at));
        };
        let begin = SECOND;
        let end = begin + self.seconds * SECOND;
        let mut at = begin;
        let mut requests = 0;
        while at < end {
            let gap = SECOND as f64 / (self.count as f64 * self.load * if self.bursts { 4.0 } else { 1.0 });
            at += (-dice.f64().max(1e-9).ln() * gap) as u64 + 1;
            if self.bursts && !(at / (SECOND / 2)).is_multiple_of(4) {
                at = (at / (SECOND / 2) + 1) * (SECOND / 2);
            }
            plan(&mut events, &mut queue, at, Event::Request(dice.usize(..self.gateways)));
            requests += 1;
        }
        let (mut tat, mut depth, mut admitted) = (0_u64, 0.0_f64, 0_u64);
        let period = policy.bucket.period();
        let mut admit = |now: u64| {
            tat = tat.max(now) + period;
            depth = depth.max((tat - now) as f64 / period as f64);
            admitted += 1;
        };
        while let Some(Reverse(now)) = queue.pop() {
            let Some(event) = events.remove(&now) else { continue };
            match event {
                Event::Request(gateway) => {
                    let book = &books[gateway];
                    let (ask, waits) = match book.take(&claim, now, || ()) {
                        Taken::Paid(level, more) => {
                            assert!(level.room < self.capacity && level.retry_in == 0, "{level:?}");
                            admit(now);
                            (more, false)
                        }
                        Taken::Refused(level) => {
                            assert!(level.retry_in > 0);
                            (None, false)
                        }
                        Taken::Ask(ask) => (Some(ask), true),
                        Taken::Wait => {
                            plan(&mut events, &mut queue, now + MS, Event::Request(gateway));
                            (None, false)
                        }
                    };
                    let Some(ask) = ask else { continue };
                    // There and back: half a millisecond each, at most.
                    let there = now + dice.u64(10_000..MS / 2);
                    let reply = store.ask(&ask, there);
                    if dice.f64() < self.lost {
                        book.unanswered(&ask, true);
                        continue;
                    }
                    let back = there + dice.u64(10_000..MS / 2);
                    plan(
                        &mut events,
                        &mut queue,
                        back,
                        Event::Answer(gateway, ask, reply, now, waits),
                    );
                }
                Event::Answer(gateway, ask, reply, sent, waits) => {
                    let spent = if waits { reply.granted.min(1) } else { 0 };
                    books[gateway].answered(&ask, &reply, spent, sent, now);
                    if spent > 0 {
                        admit(now);
                    }
                    while let Some(overdue) = books[gateway].overdue(now) {
                        store.ask(&overdue, now);
                    }
                }
            }
        }
        Outcome {
            requests,
            admitted,
            asked: store.asked,
            depth,
            terms,
            seconds: self.seconds,
        }
    }
}

const HOT: Load = Load {
    gateways: 4,
    count: 1000,
    seconds: 20,
    capacity: 1000,
    strict: false,
    load: 3.0,
    bursts: false,
    lost: 0.0,
    seed: 7,
};

impl Outcome {
    fn share_asked(&self) -> f64 {
        self.asked as f64 / self.requests as f64
    }

    /// What one bucket for all would have admitted, if all came evenly.
    fn share_admitted(&self, load: &Load) -> f64 {
        let most = u64::from(load.capacity) + load.count * self.seconds;
        self.admitted as f64 / self.requests.min(most) as f64
    }
}

#[test]
fn a_hot_key_costs_few_questions_and_loses_nothing() {
    for load in [
        HOT,
        Load { load: 0.95, ..HOT },
        Load { load: 0.5, ..HOT },
        Load { bursts: true, ..HOT },
    ] {
        let outcome = load.run();
        println!(
            "{} gateways, {}x{}: asked {:.1} %, admitted {:.1} %, depth {:.0} of {}",
            load.gateways,
            load.load,
            if load.bursts { " in bursts" } else { "" },
            outcome.share_asked() * 100.0,
            outcome.share_admitted(&load) * 100.0,
            outcome.depth,
            u64::from(load.capacity) + outcome.terms.ahead(),
        );
        assert!(outcome.share_asked() < 0.05 || load.load < 0.9, "{outcome:?}");
        if !load.bursts {
            assert!(outcome.share_admitted(&load) > 0.98, "{outcome:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_window_sees_more_than_the_bound(
        gateways in 1..12_usize,
        count in prop::sample::select(vec![20_u64, 100, 333, 1000, 3000]),
        capacity in 10..2000_u32,
        strict: bool,
        load in 0.3..4.0,
        bursts: bool,
        lost in prop::sample::select(vec![0.0, 0.02, 0.2]),
        seed: u64,
    ) {
        let load = Load { gateways, count, seconds: 4, capacity, strict, load, bursts, lost, seed };
        let outcome = load.run();
        let bound = if strict { u64::from(capacity) } else { u64::from(capacity) + outcome.terms.ahead() };
        // Of two grants, the first may be half a millisecond longer on its way back: that much closer they are admitted.
        let jitter = count as f64 * 0.000_5 + 0.01;
        prop_assert!(outcome.depth <= bound as f64 + jitter, "{:?} {:?}", load, outcome);
    }
}

fn ask(terms: Terms, settle: Settlement) -> Ask {
    Ask {
        id: 1,
        tag: 0,
        terms,
        least: 1,
        most: 1,
        out: true,
        manner: Manner::Enforce,
        settle,
    }
}

fn hot() -> Terms {
    Terms::of(&Policy::new("a", Bucket::new(1000, Duration::from_secs(1), 1000)), 4)
}

fn granted(units: u32) -> Reply {
    Reply {
        granted: units,
        backlog: u64::from(units) * MS,
        retry_in: 0,
        clock: 5,
    }
}

#[test]
fn what_runs_out_is_settled_once() {
    let (terms, mut lease) = (hot(), Lease::default());
    assert_eq!(lease.draw(&terms, 1, SECOND), Draw::Ask);
    lease.ask(&terms, 1, 0, SECOND);
    assert_eq!(lease.draw(&terms, 1, SECOND), Draw::Wait);
    lease.answered(&ask(terms, Settlement::default()), &granted(8), 1, SECOND, SECOND + MS);
    for _ in 0..3 {
        assert_eq!(lease.draw(&terms, 1, SECOND + 2 * MS), Draw::Paid);
    }
    // A moment before the lease ends, counted from the question.
    assert_eq!(lease.draw(&terms, 1, SECOND + 100 * MS - 1), Draw::Paid);
    assert_eq!(lease.draw(&terms, 1, SECOND + 100 * MS), Draw::Ask);
    let (most, settle) = lease.ask(&terms, 1, 0, SECOND + 100 * MS);
    let expected = Settlement {
        units: 8,
        unspent: 3,
        clock: 5,
    };
    assert_eq!((most, settle), (10, expected), "as many as were used, and a few more");
    lease.answered(
        &ask(terms, settle),
        &granted(1),
        1,
        SECOND + 100 * MS,
        SECOND + 101 * MS,
    );
    assert_eq!(lease.overdue(SECOND + 300 * MS), None);
}

#[test]
fn a_question_that_was_never_sent_settles_later() {
    let (terms, mut lease) = (hot(), Lease::default());
    lease.ask(&terms, 1, 0, SECOND);
    lease.answered(&ask(terms, Settlement::default()), &granted(4), 1, SECOND, SECOND);
    let later = SECOND + 200 * MS;
    let (_, settle) = lease.ask(&terms, 1, 0, later);
    assert!(settle.is_empty(), "nobody looked at the lease since it ran out");
    lease.unanswered(&ask(terms, settle), false);
    assert_eq!(lease.draw(&terms, 1, later), Draw::Ask);
    let (_, settle) = lease.ask(&terms, 1, 0, later);
    assert_eq!((settle.units, settle.unspent), (4, 3));
    lease.unanswered(&ask(terms, settle), false);
    assert_eq!(lease.overdue(later), Some(settle));
    assert_eq!(lease.overdue(later), None);
    lease.ask(&terms, 1, 0, later);
    lease.unanswered(&ask(terms, settle), true);
    assert_eq!(lease.overdue(later), None, "the store may have heard it");
}

#[test]
fn who_is_refused_is_refused_here_until_then_and_who_costs_less_may_ask() {
    let terms = Terms::of(&Policy::new("a", Bucket::new(5, Duration::from_secs(60), 5)), 1);
    let mut lease = Lease::default();
    let refusal = Reply {
        retry_in: 12 * SECOND,
        backlog: 60 * SECOND,
        ..Reply::default()
    };
    let question = Ask {
        least: 2,
        ..ask(terms, Settlement::default())
    };
    lease.answered(&question, &refusal, 0, SECOND, SECOND);
    assert_eq!(lease.draw(&terms, 2, 13 * SECOND - 1), Draw::Refused);
    assert_eq!(lease.refused_for(2 * SECOND), 11 * SECOND);
    assert_eq!(lease.draw(&terms, 1, 2 * SECOND), Draw::Ask);
    assert_eq!(lease.draw(&terms, 2, 13 * SECOND), Draw::Ask);
    assert_eq!(lease.level(&terms, 0, 2 * SECOND).room, 0);
}

#[test]
fn units_are_put_back_while_they_are_worth_something() {
    let (terms, mut lease) = (hot(), Lease::default());
    lease.ask(&terms, 1, 0, SECOND);
    lease.answered(&ask(terms, Settlement::default()), &granted(2), 1, SECOND, SECOND);
    assert_eq!(lease.draw(&terms, 1, SECOND + MS), Draw::Paid);
    lease.put_back(1, SECOND + MS);
    assert_eq!(lease.draw(&terms, 1, SECOND + MS), Draw::Paid);
    lease.put_back(1, SECOND + 100 * MS);
    assert_eq!(lease.draw(&terms, 1, SECOND + 100 * MS), Draw::Ask);
}

#[test]
fn a_million_keys_take_no_more_room_than_the_book_has() {
    let book: Book<()> = Book::new(1000);
    for id in 0..1_000_000_u128 {
        let claim = Claim {
            id: id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
            tag: 0,
            terms: hot(),
            cost: 1,
            out: false,
            manner: Manner::Enforce,
        };
        let Taken::Ask(ask) = book.take(&claim, SECOND, || ()) else {
            panic!("nobody knows it")
        };
        book.answered(&ask, &granted(2), 1, SECOND, SECOND);
    }
    let (keys, leases) = book.occupancy(SECOND);
    assert!(keys <= 1100 && leases == keys, "{keys}");
}
