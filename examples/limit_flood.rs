//! Ten million sources against the limits of one process: `cargo run --release --example limit_flood`.
//!
//! Says how many requests of people and of the attack were refused, what a decision costs, and how much memory it takes.

use std::error::Error;
use std::io::Write as _;
use std::time::Instant;

#[path = "../tests/it/limits/flood.rs"]
mod flood;

use flood::Flood;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for (name, limit) in [("10/s, 41 at once", (10, 1, 41)), ("5/min, 5 at once", (5, 60, 5))] {
        let began = Instant::now();
        let outcome = Flood {
            capacity: 1 << 20,
            sources: 10_000_000,
            seconds: 20,
            people: 10_000,
            limit,
        }
        .run();
        let each = began.elapsed().as_nanos() / u128::from(outcome.requests);
        writeln!(
            out,
            "{name}: {outcome:#?}\n{each} ns a request, with the simulation around it"
        )?;
    }
    Ok(())
}
