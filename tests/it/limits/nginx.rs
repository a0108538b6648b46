//! The real nginx, asked at random times, and the bucket that stands in for each of its limits: the same verdicts.
//!
//! nginx reads its own clock. What is known is that a request arrived after it was sent and before its answer came, less
//! the time that nginx says it took. So the state of a bucket is known as an interval, too, and a verdict is compared where
//! both ends of the intervals agree on it; elsewhere nginx is believed.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deals247_gateway::limit::Bucket;
use deals247_gateway::limit::gcra::Decision;
use fastrand::Rng;
use tempfile::TempDir;

use crate::support::PATIENCE;

const MILLI: u64 = 1_000_000;
/// How old nginx's clock may be when it looks at it: it reads the time once for all that is ready, and the machine may
/// stand still meanwhile.
const STALE: u64 = 25 * MILLI;
const SECOND: Duration = Duration::from_secs(1);

struct Nginx {
    process: Child,
    folder: TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Nginx {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, include_str!("nginx.conf")).expect("the configuration");
        let process = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(file)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx: `make setup` installs it (Debian package nginx)");
        let nginx = Self { process, folder };
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(nginx.socket()).is_err() {
            assert!(Instant::now() < deadline, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        nginx
    }

    fn socket(&self) -> impl AsRef<Path> + use<> {
        self.folder.path().join("socket")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Passed,
    Delayed,
    Rejected,
}

/// A request: between which moments it arrived, nanoseconds, and what nginx said.
#[derive(Debug, Clone, Copy)]
struct Asked {
    from: u64,
    until: u64,
    word: Word,
}

fn ask(socket: &Path, path: &str, start: Instant) -> Asked {
    let moment = || u64::try_from(start.elapsed().as_nanos()).expect("years");
    let mut stream = UnixStream::connect(socket).expect("nginx");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let from = moment();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let came = moment();
    let answer = String::from_utf8_lossy(&answer);
    let field = |name: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {answer}"))
            .trim()
            .to_owned()
    };
    let word = match field("X-Limit:").as_str() {
        "PASSED" => Word::Passed,
        "DELAYED" => Word::Delayed,
        "REJECTED" => Word::Rejected,
        other => panic!("{other}"),
    };
    // "0.123": to the millisecond.
    let took: u64 = field("X-Took:").replace('.', "").parse().expect("milliseconds");
    // nginx cuts its clock to milliseconds, and the time that it took.
    Asked {
        from: from.saturating_sub(MILLI),
        until: (came + 2 * MILLI).saturating_sub(took * MILLI).max(from),
        word,
    }
}

/// What a limit knows of its state.
#[derive(Debug, Clone, Copy)]
struct Known {
    bucket: Bucket,
    least: u64,
    most: u64,
}

impl Known {
    fn verdict(&self, tat: u64, now: u64) -> Word {
        match self.bucket.decide(tat, now, 1) {
            Decision::Allowed { .. } => Word::Passed,
            Decision::Delayed { .. } => Word::Delayed,
            Decision::Denied { .. } => Word::Rejected,
        }
    }
}

/// The verdict of several limits: any that rejects, else any that delays.
fn together(words: impl Iterator<Item = Word>) -> Word {
    words.max_by_key(|word| *word as u8).expect("a limit")
}

/// Compares what nginx said with what the buckets say; returns how often each verdict was certain.
///
/// Requests whose times overlap may have arrived in either order: they are not compared, only counted.
fn compare(path: &str, buckets: &[Bucket], asked: &mut [Asked]) -> [usize; 3] {
    let mut limits: Vec<Known> = (buckets.iter())
        .map(|&bucket| Known {
            bucket,
            least: 0,
            most: 0,
        })
        .collect();
    let mut certain = [0; 3];
    asked.sort_by_key(|request| request.from);
    let mut rest = &*asked;
    while let Some(first) = rest.first() {
        let (mut length, mut end) = (1, first.until);
        while let Some(next) = rest.get(length).filter(|next| next.from <= end) {
            end = end.max(next.until);
            length += 1;
        }
        let (group, later) = rest.split_at(length);
        rest = later;
        if let [Asked { from, until, word }] = *group {
            let from = from.saturating_sub(STALE);
            let strict = together(limits.iter().map(|limit| limit.verdict(limit.most, from)));
            let mild = together(limits.iter().map(|limit| limit.verdict(limit.least, until)));
            if strict == mild {
                assert_eq!(word, strict, "{path}: {group:?} {limits:?} {asked:?}");
                certain[word as usize] += 1;
            }
        }
        let passed = || group.iter().filter(|request| request.word != Word::Rejected);
        let mut ends: Vec<u64> = passed().map(|request| request.until).collect();
        ends.sort_unstable();
        for limit in &mut limits {
            // The earliest that each can have come, and the latest, in the order of those times: a later time never
            // makes a bucket fuller.
            for request in passed() {
                limit.least = limit
                    .bucket
                    .charge_late(limit.least, request.from.saturating_sub(STALE), 1);
            }
            for until in &ends {
                limit.most = limit.bucket.charge_late(limit.most, *until, 1);
            }
        }
    }
    certain
}

#[test]
fn verdicts_are_those_of_nginx() {
    let nginx = Nginx::start();
    let per_second = |rate: u64, burst: u32| Bucket::new(rate, SECOND, burst + 1);
    let cases: [(&str, &[Bucket], &[Word]); 6] = [
        ("/plain", &[per_second(7, 0)], &[Word::Passed, Word::Rejected]),
        ("/nodelay", &[per_second(10, 5)], &[Word::Passed, Word::Rejected]),
        (
            "/delay-all",
            &[per_second(20, 4).delaying_beyond(0)],
            &[Word::Passed, Word::Delayed, Word::Rejected],
        ),
        (
            "/delay-some",
            &[per_second(20, 8).delaying_beyond(3)],
            &[Word::Passed, Word::Delayed, Word::Rejected],
        ),
        (
            "/two",
            &[per_second(10, 5), per_second(25, 2)],
            &[Word::Passed, Word::Rejected],
        ),
        ("/second", &[per_second(1, 3)], &[Word::Passed, Word::Rejected]),
    ];
    std::thread::scope(|scope| {
        for (seed, (path, buckets, words)) in cases.into_iter().enumerate() {
            let socket = nginx.socket();
            scope.spawn(move || {
                let start = Instant::now();
                let mut random = Rng::with_seed(seed as u64 + 1);
                let period = Duration::from_nanos(buckets[0].period().min(200 * MILLI));
                // Not one after the other: what nginx delays must not hold up the next.
                let mut asked: Vec<Asked> = std::thread::scope(|requests| {
                    let requests: Vec<_> = (0..80)
                        .map(|_| {
                            // Bursts with pauses between them; mostly one after the other, so that their order is known.
                            let pause = if random.u8(..6) == 0 { 4.0 } else { 0.4 };
                            std::thread::sleep(Duration::from_millis(8) + period.mul_f64(pause * random.f64()));
                            let socket = socket.as_ref();
                            requests.spawn(move || ask(socket, path, start))
                        })
                        .collect();
                    requests
                        .into_iter()
                        .map(|request| request.join().expect("an answer"))
                        .collect()
                });
                let certain = compare(path, buckets, &mut asked);
                // Most of a schedule is certain; on a machine that stands still for long, at least some of it.
                let certain = words.iter().map(|word| certain[*word as usize]).sum::<usize>();
                assert!(certain > 0, "{path}: nothing is certain: {asked:?}");
            });
        }
    });
}
