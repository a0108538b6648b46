//! Limits beside those whom they stand in for, and under attack.

mod express;
mod flood;
mod nginx;
mod shared;

use flood::Flood;

#[test]
fn a_flood_of_new_sources_harms_nobody_who_was_there() {
    // A hundredth of ten million sources, in a hundredth of the space.
    for limit in [(10, 1, 41), (5, 60, 5)] {
        let outcome = Flood {
            capacity: 10_000,
            sources: 100_000,
            seconds: 10,
            people: 2_000,
            limit,
        }
        .run();
        let share = |(asked, refused): (u64, u64)| refused as f64 / asked.max(1) as f64;
        assert!(
            outcome.innocent.0 > 500 && share(outcome.innocent) < 0.001,
            "{outcome:?}"
        );
        assert!(
            outcome.neighbours.0 > 5 && share(outcome.neighbours) < 0.001,
            "{outcome:?}"
        );
        // Whoever comes from a few networks meets the limit of a network.
        assert!(share(outcome.dense) > 0.5, "{outcome:?}");
        assert!(outcome.occupancy.places <= 16_384, "{outcome:?}");
    }
}
