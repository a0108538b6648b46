//! Simulations under virtual time: requests at random moments, servers that work one after the other, a pool between
//! them. Everything follows from the seed.

mod faults;
mod spread;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::{Ask, AttemptOutcome, Finish, Lease, Member, PickError, Pool, Settings, Strategy};

const STRATEGIES: [Strategy; 5] = [
    Strategy::PeakEwma,
    Strategy::LeastRequests,
    Strategy::RoundRobin,
    Strategy::Random,
    Strategy::CONSISTENT_HASH,
];

/// How a server behaves at some moment.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Answers one request after the other, each in about so many milliseconds.
    Serve(f64),
    /// Answers 503 after so many milliseconds, however many come.
    Fail(f64),
    /// Answers 500 after so many milliseconds, however many come.
    Err(f64),
}

/// What came of it.
#[derive(Debug, Default)]
struct Report {
    requests: usize,
    attempts: usize,
    /// Attempts at each server.
    picks: Vec<usize>,
    failed: usize,
    refused: BTreeMap<String, usize>,
    latencies: Vec<f64>,
    ejections: usize,
}

impl Report {
    fn share(&self, server: usize) -> f64 {
        self.picks[server] as f64 / self.attempts as f64
    }

    /// Milliseconds.
    fn percentile(&mut self, percent: usize) -> f64 {
        self.latencies.sort_by(f64::total_cmp);
        self.latencies[self.latencies.len() * percent / 100] * 1000.0
    }
}

/// A system: servers `0..n` whose behaviour depends on the time.
struct System<'a> {
    work: &'a dyn Fn(usize, f64) -> Work,
    servers: usize,
    /// Requests a second.
    rate: f64,
    /// How often a failed request may be sent again, if the pool's budget allows it.
    retries: usize,
    seconds: f64,
}

impl Default for System<'_> {
    fn default() -> Self {
        Self {
            work: &|_, _| Work::Serve(8.0),
            servers: 4,
            rate: 250.0,
            retries: 0,
            seconds: 60.0,
        }
    }
}

struct Attempt {
    lease: Lease,
    number: usize,
    began: f64,
    outcome: AttemptOutcome,
}

enum Event {
    Arrival,
    Done(usize),
}

fn address(server: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1 + server as u16))
}

fn members(weights: &[u32]) -> Vec<Member> {
    let member = |(server, &weight)| Member::new(format!("app-{server}:80"), address(server), weight);
    weights.iter().enumerate().map(member).collect()
}

fn pool(settings: Settings, weights: &[u32]) -> Pool {
    let pool = Pool::seeded("app".into(), settings, 11);
    pool.update(members(weights));
    pool
}

impl System<'_> {
    /// Runs the system; `watch` is called at every event with the seconds since the start.
    fn run(&self, pool: &Pool, start: Instant, mut watch: impl FnMut(f64, Instant)) -> Report {
        let dice = Dice::seeded(5);
        let exponential = |mean: f64| -mean * (1.0 - dice.unit()).ln();
        let mut report = Report {
            picks: vec![0; self.servers],
            ..Report::default()
        };
        let mut free_at = vec![0.0f64; self.servers];
        let mut attempts: Vec<Option<Attempt>> = Vec::new();
        let mut events = BinaryHeap::from([(Reverse(0), Reverse(0))]);
        let mut kinds = vec![Event::Arrival];
        while let Some((Reverse(nanos), Reverse(event))) = events.pop() {
            let seconds = nanos as f64 / 1e9;
            let now = start + Duration::from_nanos(nanos);
            let mut number = 0;
            match kinds[event] {
                Event::Arrival => {
                    report.requests += 1;
                    pool.budget().deposit(now);
                    let next = seconds + exponential(1.0 / self.rate);
                    if next < self.seconds {
                        events.push((Reverse((next * 1e9) as u64), Reverse(kinds.len())));
                        kinds.push(Event::Arrival);
                    }
                }
                Event::Done(index) => {
                    let mut attempt = attempts[index].take().expect("an attempt ends once");
                    let latency = seconds - attempt.began;
                    report.latencies.push(latency);
                    let ejected = attempt.lease.finish(Finish {
                        outcome: attempt.outcome,
                        latency: Some(Duration::from_secs_f64(latency)),
                        now,
                    });
                    report.ejections += ejected.len();
                    number = attempt.number + 1;
                    if attempt.outcome == AttemptOutcome::Success {
                        continue;
                    }
                    if number > self.retries || !pool.budget().withdraw(now) {
                        report.failed += 1;
                        continue;
                    }
                }
            }
            watch(seconds, now);
            match pool.pick(&Ask::any(now)) {
                Ok(lease) => {
                    let server = usize::from(lease.endpoint().address().port()) - 1;
                    report.attempts += 1;
                    report.picks[server] += 1;
                    let (end, outcome) = match (self.work)(server, seconds) {
                        Work::Serve(millis) => {
                            free_at[server] = free_at[server].max(seconds) + exponential(millis / 1000.0);
                            (free_at[server], AttemptOutcome::Success)
                        }
                        Work::Fail(millis) => (seconds + millis / 1000.0, AttemptOutcome::FAILURE),
                        Work::Err(millis) => (seconds + millis / 1000.0, AttemptOutcome::Error),
                    };
                    events.push((Reverse((end * 1e9) as u64), Reverse(kinds.len())));
                    kinds.push(Event::Done(attempts.len()));
                    attempts.push(Some(Attempt {
                        lease,
                        number,
                        began: seconds,
                        outcome,
                    }));
                }
                Err(error) => *report.refused.entry(reason(error)).or_default() += 1,
            }
        }
        report
    }
}

fn reason(error: PickError) -> String {
    error.to_string()
}

fn plain(strategy: Strategy) -> Settings {
    Settings {
        strategy,
        outlier: None,
        slow_start: Duration::ZERO,
        ..Settings::default()
    }
}

fn run(system: &System<'_>, settings: Settings, weights: &[u32]) -> Report {
    system.run(&pool(settings, weights), Instant::now(), |_, _| ())
}
