//! Sticky sessions, and servers that drain.

use super::*;

#[test]
fn sessions_stick() {
    let pool = pool(EJECTING, &[]);
    let now = Instant::now();
    let of = |name: &str, number| Member::new(name, address(number), 1);
    pool.update(vec![
        of("app:80", 0),
        of("app:80", 1),
        of("one:80", 2),
        of("127.0.0.1:1003", 3),
    ]);
    let endpoints = pool.endpoints();
    let sessions: Vec<_> = endpoints.iter().map(|endpoint| endpoint.session()).collect();
    assert_eq!(
        sessions,
        [
            "app:80@127.0.0.1:1000",
            "app:80@127.0.0.1:1001",
            "one:80@127.0.0.1:1002",
            "127.0.0.1:1003"
        ]
    );
    let stuck = |session: &str, tried: &[SocketAddr]| {
        let ask = Ask {
            tried,
            sticky: Some(session),
            ..Ask::any(now)
        };
        let mut picked: Vec<u16> = (0..8)
            .map(|_| pool.pick(&ask).unwrap().endpoint().address().port() - 1000)
            .collect();
        picked.dedup();
        picked
    };
    for (number, session) in sessions.iter().enumerate() {
        assert_eq!(stuck(session, &[]), [number as u16]);
    }
    assert_eq!(stuck("one:80@127.0.0.1:9", &[]), [2], "it has another address now");
    assert_eq!(stuck("one:80", &[]), [2]);
    for lost in ["app:80@127.0.0.1:9", "app:80", "gone:80", "", "@", "one:80@x"] {
        assert!(stuck(lost, &[]).len() > 1, "{lost}");
    }
    assert!(
        !stuck(sessions[2], &[address(2)]).contains(&2),
        "it failed this request"
    );
    drain(&pool, 2, Drain::Everything);
    assert!(
        !stuck(sessions[2], &[]).contains(&2),
        "sessions are given another server"
    );
    drain(&pool, 2, Drain::KeepSessions);
    assert_eq!(stuck(sessions[2], &[]), [2], "sessions stay");
    assert!(!picks(&pool, 20, now).contains(&2), "nobody else comes");
    eject(&pool, 0, now);
    assert!(!stuck(sessions[0], &[]).contains(&0));
    fail(&pool, 2);
    assert!(!stuck(sessions[2], &[]).contains(&2));
}

#[test]
fn who_is_drained_stays_drained() {
    let app = |last: u8| Member::new("app:80", SocketAddr::from(([10, 0, 0, last], 80)), 1);
    let pool = pool(UNCHECKED, &[]);
    let drained = |pool: &Pool| -> Vec<bool> { pool.endpoints().iter().map(|one| one.is_draining()).collect() };
    pool.update(vec![app(1), app(2)]);
    pool.drain("app:80@10.0.0.1:80", Drain::Everything).unwrap();
    assert_eq!(drained(&pool), [true, false], "one address");
    assert!(!pool.is_drained("app:80"));
    pool.update(vec![app(2), app(1), app(3)]);
    assert_eq!(drained(&pool), [false, true, false]);
    pool.update(vec![app(2)]);
    pool.update(vec![app(1), app(2)]);
    assert_eq!(
        drained(&pool),
        [false, false],
        "another server may have the address now"
    );

    pool.drain("app:80", Drain::KeepSessions).unwrap();
    pool.update(vec![]);
    pool.update(vec![app(4), Member::new("web:80", address(7), 1)]);
    assert_eq!(drained(&pool), [true, false], "a name keeps it");
    let reloaded = pool.successor(EJECTING);
    reloaded.update(vec![app(5)]);
    assert_eq!(drained(&reloaded), [true]);
    assert_eq!(pick(&reloaded, &[]).unwrap_err(), PickError::NoneFit);
    reloaded.drain("app:80", Drain::Off).unwrap();
    assert_eq!(drained(&reloaded), [false]);
    assert!(!reloaded.is_drained("app:80"));
    let many = (0..2000).map(|number| reloaded.drain(&format!("server-{number}:80"), Drain::Everything));
    assert_eq!(many.filter(Result::is_err).count(), 2000 - 1024);
}
