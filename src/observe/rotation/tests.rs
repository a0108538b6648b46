//! Tests of the module above.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::*;

fn rotation(size: Option<u64>, every: Option<Period>, keep: usize, compress: bool) -> Rotation {
    Rotation {
        size,
        every,
        keep,
        compress,
    }
}

fn open(path: &Path, rotation: Rotation) -> RotatingFile {
    RotatingFile::open(path, SHARED, rotation, |_, _, _| ()).unwrap()
}

#[test]
fn it_begins_anew_before_it_is_too_large_and_keeps_as_many_as_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let settings = rotation(Some(10), None, 2, true);
    let mut log = open(&path, settings.clone());
    for line in ["one-one\n", "two-two\n", "three\n", "four-fo\n", "five-fi\n"] {
        log.write_all(line.as_bytes()).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "five-fi\n");
    // The threads may not have done their part yet; what they find afterwards is done.
    tidy(&path, &settings).unwrap();
    let read = |part: &PathBuf| {
        let mut text = String::new();
        GzDecoder::new(File::open(part).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        text
    };
    let kept = parts(&path).unwrap();
    assert_eq!(read(&kept[0]), "three\n");
    assert_eq!(fs::read_to_string(&kept[1]).unwrap(), "four-fo\n");
}

#[test]
fn every_part_is_for_those_whom_the_first_was_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let settings = rotation(Some(4), None, 9, true);
    let mut log = RotatingFile::open(&path, OWNERS, settings.clone(), |_, _, _| ()).unwrap();
    for line in ["one\n", "two\n", "three\n"] {
        log.write_all(line.as_bytes()).unwrap();
    }
    tidy(&path, &settings).unwrap();
    let kept = parts(&path).unwrap();
    let endings = kept
        .iter()
        .map(|part| part.extension().is_some_and(|ending| ending == "gz"));
    assert_eq!(endings.collect::<Vec<_>>(), [true, false]);
    for part in kept.iter().chain([&path]) {
        assert_eq!(fs::metadata(part).unwrap().mode() & 0o777, OWNERS, "{part:?}");
    }
}

#[test]
fn names_within_a_second_are_in_the_order_of_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let names = ["", "-000001", "-000002"].map(|more| with(&path, &format!("19700101T000000Z{more}")));
    assert_eq!(earlier(&path, 0).unwrap(), names[0]);
    fs::write(with(&names[0], "gz"), "").unwrap();
    assert_eq!(earlier(&path, 0).unwrap(), names[1]);
    fs::write(&names[1], "").unwrap();
    assert_eq!(parts(&path).unwrap(), [with(&names[0], "gz"), names[1].clone()]);
    fs::remove_file(with(&names[0], "gz")).unwrap();
    assert_eq!(earlier(&path, 0).unwrap(), names[2], "no name is taken again");
}

#[test]
fn a_line_larger_than_all_is_written_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let mut log = open(&path, rotation(Some(4), None, 9, false));
    log.write_all(b"0123456789\n").unwrap();
    assert_eq!(parts(&path).unwrap().len(), 0);
    assert_eq!(fs::read(&path).unwrap(), b"0123456789\n");
}

#[test]
fn hours_and_days_are_those_of_utc() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let mut log = open(&path, rotation(None, Some(Period::Day), 9, false));
    log.write_all(b"line\n").unwrap();
    let midnight = Period::Day.of(log.begun) * 86_400;
    assert!(!log.is_due(1, midnight) && !log.is_due(1, midnight + 86_399));
    assert!(log.is_due(1, midnight + 86_400) && log.is_due(1, midnight - 1));
    assert_eq!(Period::Hour.of(-1), -1);
    log.size = 0;
    assert!(!log.is_due(1, midnight + 86_400), "nothing is in it");
}

#[test]
fn what_another_process_has_rotated_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let mut one = open(&path, rotation(Some(6), None, 9, false));
    one.write_all(b"first\n").unwrap();
    let mut other = open(&path, rotation(Some(6), None, 9, false));
    other.write_all(b"second\n").unwrap();
    one.write_all(b"third\n").unwrap();
    assert_eq!(parts(&path).unwrap().len(), 1, "rotated once");
    assert_eq!(fs::read_to_string(&path).unwrap(), "second\nthird\n");
}

#[test]
fn only_its_own_parts_are_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    for name in [
        "access.log.1",
        "access.log.old",
        "other.log.20260101T000000Z",
        "access.log.20260101T000000Z",
    ] {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    tidy(&path, &rotation(None, None, 0, true)).unwrap();
    let mut left: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["access.log.1", "access.log.old", "other.log.20260101T000000Z"]);
}
