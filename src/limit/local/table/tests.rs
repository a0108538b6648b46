//! What is kept, what is given up, and when it is too much.

use super::*;

fn slot(id: u64) -> Slot {
    Slot::client(u128::from(id) << 64 | u128::from(id) << 1, mix)
}

fn network(id: u64) -> Slot {
    Slot::network(u128::from(id), mix)
}

fn mix(id: u128) -> u64 {
    (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

fn put(table: &mut Table, id: u64, tat: u64, now: u64) {
    table.put(slot(id), tat, now, mix);
}

#[test]
fn states_are_found_again_while_there_is_room() {
    let mut table = Table::new(4096);
    for id in 1..=1500 {
        put(&mut table, id, 1_000 + id, 0);
        put(&mut table, id, 2_000 + id, 0);
    }
    assert!((1..=1500).all(|id| table.find(slot(id)) == 2_000 + id));
    assert_eq!(table.find(slot(1501)), 0);
    let (keys, places, flooded) = table.occupancy(0);
    assert_eq!((keys, flooded), (1500, false));
    assert!((1500..=4096).contains(&places), "{places}");
}

#[test]
fn a_table_remembers_a_minute_and_no_more() {
    let places = |pace: u64| {
        let mut table = Table::new(1 << 20);
        for id in 1..100_000 {
            put(&mut table, id, id * pace + 10, id * pace);
        }
        table.occupancy(0).1
    };
    // A hundred keys in a minute; and a hundred thousand.
    let (few, many) = (places(MEMORY / 100), places(MEMORY / 100_000));
    assert!(few <= 512 && many >= 100_000, "{few} {many}");
    // What is full already is not kept at all.
    let mut table = Table::new(64);
    put(&mut table, 1, 5, 5);
    assert_eq!(table.find(slot(1)), 0);
}

#[test]
fn the_nearest_to_full_is_given_up_first() {
    let mut table = Table::new(WAYS);
    for id in 1..=16 {
        put(&mut table, id, 100 + id, 0);
    }
    put(&mut table, 17, 500, 0);
    assert_eq!(table.find(slot(1)), 0);
    assert!((2..=16).all(|id| table.find(slot(id)) == 100 + id));
    // Number 9 is full again and older than all others.
    put(&mut table, 9, 50, 0);
    put(&mut table, 18, 500, 60);
    assert_eq!(table.find(slot(9)), 0);
    assert_eq!(table.find(slot(2)), 102);
    assert_eq!(table.occupancy(0), (16, 16, false));
}

#[test]
fn networks_displace_each_other_rather_than_clients() {
    let mut table = Table::new(WAYS);
    for id in 1..=14 {
        put(&mut table, id, 100 + id, 0);
    }
    for id in 0..100 {
        table.put(network(id), 1_000 + id, 0, mix);
    }
    // Two places were empty, two more they took from clients: the nearest to full.
    assert!((1..=14).all(|id| (table.find(slot(id)) != 0) == (id > 2)));
    // Of a hundred networks the four with the longest debts stay.
    assert_eq!((96..100).filter(|id| table.find(network(*id)) != 0).count(), 4);
    // Clients displace whatever matters least.
    put(&mut table, 50, 5_000, 0);
    assert_eq!(table.find(slot(3)), 0);
}

#[test]
fn a_flood_begins_when_the_table_fills_quickly_and_lasts_while_many_come() {
    const SECOND: u64 = 1 << WINDOW_BITS;
    const PLACES: usize = WAYS * 16;
    let mut table = Table::new(PLACES);
    let mut next = 0;
    let mut come = |table: &mut Table, now: u64| {
        next += 1;
        let flooded = table.unknown(now);
        if !flooded {
            put(table, next, now + 1, now);
        }
        flooded
    };
    // Slowly it may be filled.
    assert!(!(0..1000).any(|at| come(&mut table, at * SECOND / 10)));
    // Quickly it may be filled to a half, and then by a sixteenth more.
    let mut table = Table::new(PLACES);
    let begin = (0..1000).find(|_| come(&mut table, 200 * SECOND)).expect("a flood");
    assert_eq!(begin, PLACES / 2 + PLACES / FLOOD);
    assert!(table.occupancy(200 * SECOND).2);
    // It lasts while as many come, and a slow second later it is over.
    assert!((0..=PLACES / FLOOD).all(|_| come(&mut table, 201 * SECOND)));
    assert!((0..PLACES / FLOOD).all(|_| come(&mut table, 202 * SECOND)));
    assert!(!come(&mut table, 203 * SECOND));
    assert!(!table.occupancy(203 * SECOND).2);
    // After a pause nothing is left of it.
    assert!((0..=PLACES / FLOOD).any(|_| come(&mut table, 203 * SECOND)));
    assert!(!come(&mut table, 500 * SECOND));
}

#[test]
fn another_size_keeps_what_matters_most() {
    let mut table = Table::new(4096);
    for id in 1..=1500 {
        put(&mut table, id, 1_000 + id, 0);
    }
    table.resize(8192, mix);
    assert!(
        (1..=1500).all(|id| table.find(slot(id)) == 1_000 + id),
        "larger: nothing is lost"
    );
    table.resize(1024, mix);
    let (keys, places, _) = table.occupancy(0);
    assert_eq!(places, 1024);
    let known = |ids: std::ops::RangeInclusive<u64>| ids.filter(|&id| table.find(slot(id)) != 0).count();
    assert_eq!(keys, known(1..=1500));
    assert!((900..=1024).contains(&keys), "{keys}");
    assert!(
        known(1..=300) < 150 && known(1201..=1500) > 290,
        "the largest states are kept"
    );
}

#[test]
fn a_key_that_is_forgotten_leaves_its_place() {
    let mut table = Table::new(256);
    put(&mut table, 1, 10, 0);
    assert!(table.forget(slot(1)) && !table.forget(slot(1)));
    assert_eq!((table.find(slot(1)), table.occupancy(0).0), (0, 0));
}
