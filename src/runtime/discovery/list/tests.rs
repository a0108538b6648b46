//! Tests of the module above.

use std::fs;
use std::pin::pin;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn names(reading: &Reading) -> Vec<String> {
    match reading {
        Ok(entries) => entries.iter().map(ToString::to_string).collect(),
        Err(fault) => panic!("{fault}"),
    }
}

#[tokio::test]
async fn a_file_is_read_with_its_faults() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("servers");
    assert!(read(&path).await.is_err(), "not there");
    fs::write(&path, "# ours\n10.0.0.1:80\n\napp:80 weight=2 # twice\n").unwrap();
    let entries = read(&path).await;
    assert_eq!(names(&entries), ["10.0.0.1:80", "app:80"]);
    assert_eq!(entries.unwrap()[1].weight, 2);
    fs::write(&path, "10.0.0.1:80\n10.0.0.2\n").unwrap();
    let fault = read(&path).await.unwrap_err();
    assert!(fault.contains("line 2"), "{fault}");
    fs::write(&path, "#".repeat(1024 * 1024 + 1)).unwrap();
    assert!(read(&path).await.unwrap_err().contains("larger"));
    let names_of = |count: usize| -> String { (0..count).map(|number| format!("name{number}:80\n")).collect() };
    fs::write(&path, names_of(NAMES_MAX)).unwrap();
    assert_eq!(read(&path).await.map(|entries| entries.len()), Ok(NAMES_MAX));
    fs::write(&path, names_of(NAMES_MAX + 1)).unwrap();
    assert!(read(&path).await.unwrap_err().contains("more than 1000 names"));
    fs::write(&path, "").unwrap();
    assert_eq!(names(&read(&path).await), [""; 0]);
}

#[tokio::test]
async fn every_change_is_seen_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("servers");
    let mut changes = pin!(changes(path.clone()));
    let mut next = async || {
        timeout(PATIENCE, changes.next())
            .await
            .expect("in time")
            .expect("endless")
    };
    assert!(next().await.is_err(), "not there");
    fs::write(&path, "10.0.0.1:80\n").unwrap();
    assert_eq!(names(&next().await), ["10.0.0.1:80"]);
    let other = directory.path().join("other");
    fs::write(&other, "10.0.0.2:80\n").unwrap();
    fs::rename(&other, &path).unwrap();
    assert_eq!(names(&next().await), ["10.0.0.2:80"]);
    fs::remove_file(&path).unwrap();
    assert!(next().await.is_err(), "gone");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_written_is_not_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("servers");
    fs::write(&path, "10.0.0.1:80\n").unwrap();
    let (_, seen) = next(&path, Looked::Never).await;
    assert!(timeout(PATIENCE, next(&path, seen)).await.is_err());
}

#[tokio::test]
async fn a_file_that_is_being_written_is_waited_for() {
    use std::io::Write;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("servers");
    let (_, seen) = next(&path, Looked::Never).await;
    let mut file = fs::File::create(&path).unwrap();
    let mut change = pin!(next(&path, seen));
    // For longer than a poll takes: what is there is never complete.
    let end = tokio::time::Instant::now() + 3 * POLL;
    let mut written = 0;
    while tokio::time::Instant::now() < end {
        written += 1;
        file.write_all(format!("10.0.0.1:{written}\n").as_bytes()).unwrap();
        tokio::select! {
            (reading, _) = &mut change => {
                // The machine was busy for so long that nothing was written for a while.
                assert_eq!(names(&reading).len(), written, "half of it was read");
                return;
            }
            () = sleep(SETTLED / 10) => {}
        }
    }
    let (reading, _) = timeout(PATIENCE, change).await.expect("in time");
    assert_eq!(names(&reading).len(), written);
}
