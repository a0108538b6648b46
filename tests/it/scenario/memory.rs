//! What a crowd took, and what is left of it.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::client::Connection;
use crate::support::eventually;
use crate::support::process::Process;

const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn what_a_crowd_took_is_given_back_although_nothing_more_happens() {
    // Beside those of other tests in this process.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).expect("as many files as may be");
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("gateway.toml");
    let text = "[server]\nlisten = [\"127.0.0.1:0\"]\nmax_connections_per_client = 5000\n[admin]\nlisten = false\n\
                [access_log]\nenabled = false\n[[route]]\nname = \"a\"\npath = \"/*\"\nrespond = { body = \"ok\" }\n";
    std::fs::write(&file, text).expect("file");
    let gateway = Process::run(&file).await;
    let mut one = Connection::open(gateway.address).await;
    assert_eq!(one.ask(ASK).await.status, 200);
    let before = gateway.resident_kib();
    let mut crowd = Vec::new();
    for _ in 0..2000 {
        let mut connection = Connection::open(gateway.address).await;
        assert_eq!(connection.ask(ASK).await.status, 200);
        crowd.push(connection);
    }
    let taken = gateway.resident_kib() - before;
    assert!(taken > 2000, "a connection takes over a KiB: {taken}");
    drop(crowd);
    eventually("most of it is given back", async || {
        gateway.resident_kib().saturating_sub(before) < taken / 2
    })
    .await;
}
