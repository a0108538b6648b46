//! How many instructions the parts of the hot path take: counted by valgrind, which hardly varies, where times do.
//!
//! `cargo bench --profile count --bench instructions` compares with `counts.toml` beside this file and fails where one takes over 2 % more;
//! `cargo bench --profile count --bench instructions -- --write` writes that file anew.

#![expect(clippy::print_stdout, reason = "a table is what it is for")]

mod cases;
mod counts;

use std::error::Error;
use std::process::{Command, ExitCode};

use self::cases::CASES;
use self::counts::{Counts, Machine};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc; // as in the binary

/// How often a case is run to be counted.
const TIMES: u32 = 1000;
/// In how many processes.
const PROCESSES: u32 = 5;
/// More is worse.
const TOLERANCE: f64 = 0.02;
/// Where the counts are of another compiler or valgrind: a tenth is theirs.
const ELSEWHERE: f64 = 0.10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--run", name, times] => run(name, times),
        ["--write", ..] => write().map(|()| true),
        _ => compare(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("instructions: {error}");
            ExitCode::from(2)
        }
    }
}

/// What valgrind watches: one case, so many times.
fn run(name: &str, times: &str) -> Result<bool, Box<dyn Error>> {
    let case = CASES.iter().find(|(known, _)| *known == name);
    let (_, case) = case.ok_or_else(|| format!("there is no case `{name}`"))?;
    case(times.parse()?);
    Ok(true)
}

fn compare() -> Result<bool, Box<dyn Error>> {
    let known = Counts::read()?;
    let here = Machine::this()?;
    let tolerance = if known.machine == here { TOLERANCE } else { ELSEWHERE };
    if known.machine != here {
        println!(
            "counted with {}; here are {here}: up to {:.0} % are theirs",
            known.machine,
            tolerance * 100.0
        );
    }
    println!("{:<16}{:>10}{:>10}{:>9}", "", "known", "now", "");
    let mut good = true;
    for (name, _) in CASES {
        let now = count(name)?;
        let Some(&before) = known.counts.get(*name) else {
            println!("{name:<16}{:>10}{now:>10}  is not in the file", "");
            good = false;
            continue;
        };
        let change = now as f64 / before as f64 - 1.0;
        let word = match change {
            worse if worse > tolerance => "  worse",
            better if better < -tolerance => "  better: take it down with `-- --write`",
            _ => "",
        };
        good &= change <= tolerance;
        println!("{name:<16}{before:>10}{now:>10}{:>8.1}%{word}", change * 100.0);
    }
    Ok(good)
}

fn write() -> Result<(), Box<dyn Error>> {
    let mut counts = Counts::none(Machine::this()?);
    for (name, _) in CASES {
        let now = count(name)?;
        println!("{name:<16}{now:>10}");
        counts.counts.insert((*name).to_owned(), now);
    }
    counts.write()
}

/// Instructions of one time: what many take more than none, so that the start of the process is not counted. Of several
/// processes the best: maps have another seed in each, and some have more collisions.
fn count(name: &str) -> Result<u64, Box<dyn Error>> {
    let mut best = u64::MAX;
    for _ in 0..PROCESSES {
        let all = collected(name, TIMES)?.saturating_sub(collected(name, 0)?);
        best = best.min(all / u64::from(TIMES));
    }
    Ok(best)
}

fn collected(name: &str, times: u32) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--run", name, &times.to_string()])
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let line = told.lines().find_map(|line| line.split_once("Collected : "));
    let count = line.and_then(|(_, count)| count.trim().parse().ok());
    match count {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("valgrind did not count `{name}`:\n{told}").into()),
    }
}
