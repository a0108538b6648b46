//! A disk tier as a whole, on a real directory.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use tempfile::TempDir;

use super::*;
use crate::cache::store::{Body, Entry, Store};
use crate::cache::{Exchanged, KeyRules, Policy, ResponseDirectives, Seed, Selector, Terms, UrlKey};

const MIB: u64 = 1 << 20;

fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(*name, HeaderValue::from_str(value).expect("a value"));
    }
    fields
}

fn address(url: &str) -> Address {
    KeyRules::default().address(url, "route", &HeaderMap::new())
}

fn entry(url: &str, body: &[u8], tag: &str, vary: &str, request: &HeaderMap) -> Entry {
    let policy = Policy::new("c");
    let answer = map(&[("cache-control", "max-age=60"), ("vary", vary)]);
    let exchanged = Exchanged {
        asked: Moment(1000),
        answered: Moment(1000),
    };
    let directives = ResponseDirectives::of(&answer);
    let terms = Terms::new(&policy, &directives, StatusCode::OK, &answer, exchanged);
    let selector = Selector::new(&policy, request, &answer);
    let chunks = body.chunks(50_000).map(Bytes::copy_from_slice).collect();
    let mut entry = Entry::new(StatusCode::OK, &answer, terms, selector, Body::whole(chunks));
    entry.url = url.into();
    entry.tags = Box::new([tag.into()]);
    entry
}

/// A disk tier, and the memory before it.
struct Tiered {
    disk: Arc<Disk>,
    memory: Store,
}

impl Tiered {
    /// Opens it; the threads of another one of this process that had it may be about to end.
    async fn open(path: &Path, size: u64) -> Self {
        let disk = until(|| match Disk::open(path, size) {
            Err(Unusable::InUse(_)) => None,
            opened => Some(opened.expect("can be opened")),
        });
        let disk = disk.await;
        until(|| (0..PARTS).all(|part| disk.shared.index.is_known(part)).then_some(())).await;
        Self {
            disk,
            memory: Store::new(MIB, Seed(1, 2)),
        }
    }

    fn held(&self) -> Held {
        self.disk.report().held.expect("it knows")
    }

    fn begun(&self, entry: Entry) -> Offer {
        Offer {
            address: address(&entry.url),
            entry: Arc::new(entry),
            asked: 2,
            generation: self.disk.generation(),
            key: UrlKey(1),
            since: self.memory.since(),
        }
    }

    /// Writes an answer; returns when it is written, or is not going to be.
    async fn keep(&self, entry: Entry) {
        self.finish(self.begun(entry)).await;
    }

    async fn finish(&self, offer: Offer) {
        let done = |report: Report| report.written + report.skipped + report.failures;
        let before = done(self.disk.report());
        self.disk.offer(offer);
        until(|| (done(self.disk.report()) > before).then_some(())).await;
    }

    async fn purge(&self, target: Target, soft: Option<Moment>) -> bool {
        self.memory.purge(&target, soft);
        match self.disk.purge(&target, soft) {
            Some(settling) => settling.await.expect("is told"),
            None => true,
        }
    }

    async fn find(&self, url: &str, request: &HeaderMap) -> Option<Entry> {
        match self.disk.lookup(address(url), request).await {
            Lookup::Entry(entry) => Some(*entry),
            Lookup::Others | Lookup::Nothing => None,
        }
    }

    async fn body(&self, url: &str) -> Option<Vec<u8>> {
        let entry = self.find(url, &HeaderMap::new()).await?;
        let mut reader = entry.body.reader(0, None);
        let mut all = Vec::new();
        while let Some(part) = reader.next().await.expect("does not break off") {
            all.extend_from_slice(&part);
        }
        Some(all)
    }

    fn file(&self, url: &str) -> PathBuf {
        let names = self.disk.shared.index.of_address(address(url));
        self.disk.shared.place.entry(names.first().expect("is there"))
    }
}

/// Waits for something; fails where it does not come.
async fn until<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    for _ in 0..20_000 {
        if let Some(ready) = ready() {
            return ready;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it does not come");
}

/// What is in a directory at this moment: as a process that was killed would leave it.
fn copy(from: &Path) -> TempDir {
    fn copy_all(from: &Path, to: &Path) {
        for file in fs::read_dir(from).expect("a folder").flatten() {
            let to = to.join(file.file_name());
            if file.path().is_dir() {
                fs::create_dir(&to).expect("is made");
                copy_all(&file.path(), &to);
            } else {
                fs::copy(file.path(), to).expect("is copied");
            }
        }
    }
    let to = tempfile::tempdir().expect("a folder");
    copy_all(from, to.path());
    to
}

fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

const A: &str = "http://site.test/a";
const B: &str = "http://site.test/b?x=1";

#[tokio::test]
async fn answers_are_there_after_a_restart_and_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = HeaderMap::new();
    let tiered = Tiered::open(folder.path(), 100 * MIB).await;
    assert!(!tiered.disk.may_have(&address(A)));
    let large = sample(3_000_000);
    for (url, body) in [(A, &b"small"[..]), (B, &large)] {
        tiered.keep(entry(url, body, "t", "", &none)).await;
    }
    drop(tiered);
    let disk = until(|| Disk::open(folder.path(), 100 * MIB).ok()).await;
    // Not every directory has been read yet, perhaps: the one that counts is.
    let Lookup::Entry(found) = disk.lookup(address(A), &none).await else {
        panic!("is there at once")
    };
    let before = entry(A, b"small", "t", "", &none);
    assert_eq!(
        (&found.terms, &found.fields, &found.tags),
        (&before.terms, &before.fields, &before.tags)
    );
    assert_eq!(found.body.chunks().expect("came along").concat(), b"small");
    drop(disk);
    let tiered = Tiered::open(folder.path(), 100 * MIB).await;
    assert_eq!(tiered.held().entries, 2);
    let found = tiered.find(B, &none).await.expect("is there");
    assert_eq!(
        (found.body.in_memory(), found.body.length()),
        (0, Some(3_000_000)),
        "it stays on disk"
    );
    assert_eq!(tiered.body(B).await.as_deref(), Some(&large[..]));
    let mut part = found.body.reader(70_000, Some(200_000));
    let mut read = Vec::new();
    while let Some(piece) = part.next().await.expect("is there") {
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, large[70_000..200_000]);
}

#[tokio::test]
async fn each_request_gets_its_variant() {
    let folder = tempfile::tempdir().expect("a folder");
    let tiered = Tiered::open(folder.path(), 100 * MIB).await;
    let (de, en) = (map(&[("accept-language", "de")]), map(&[("accept-language", "en")]));
    tiered.keep(entry(A, b"de", "t", "accept-language", &de)).await;
    tiered.keep(entry(A, b"en", "t", "accept-language", &en)).await;
    tiered.keep(entry(A, b"EN", "t", "accept-language", &en)).await;
    assert_eq!(tiered.held().entries, 2, "the same again takes its place");
    for (request, expected) in [(&de, b"de"), (&en, b"EN")] {
        let found = tiered.find(A, request).await.expect("is there");
        assert_eq!(found.body.chunks().expect("came along").concat(), expected);
    }
    let fr = map(&[("accept-language", "fr")]);
    assert!(matches!(tiered.disk.lookup(address(A), &fr).await, Lookup::Others));
    let other = KeyRules::default().address(A, "another route", &HeaderMap::new());
    assert!(!tiered.disk.may_have(&other));
}

#[tokio::test]
async fn what_was_purged_does_not_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = HeaderMap::new();
    let targets = [
        (Target::Url(A.into()), [false, true]),
        (Target::Url("/a".into()), [false, true]),
        (Target::Prefix("/".into()), [false, false]),
        (Target::Tag("b".into()), [true, false]),
        (Target::All, [false, false]),
    ];
    for (target, expected) in targets {
        let tiered = Tiered::open(folder.path(), 100 * MIB).await;
        tiered.keep(entry(A, b"a", "a", "", &none)).await;
        tiered.keep(entry(B, b"b", "b", "", &none)).await;
        assert!(tiered.purge(target.clone(), None).await, "{target:?}");
        let killed = copy(folder.path());
        let after = Tiered::open(killed.path(), 100 * MIB).await;
        for tiered in [&tiered, &after] {
            let there = [tiered.body(A).await.is_some(), tiered.body(B).await.is_some()];
            assert_eq!(there, expected, "{target:?}");
        }
        // What is asked for after the purge is another matter, here and there.
        after.keep(entry(A, b"new", "b", "", &none)).await;
        let killed = copy(killed.path());
        let again = Tiered::open(killed.path(), 100 * MIB).await;
        assert_eq!(again.body(A).await.as_deref(), Some(&b"new"[..]), "{target:?}");
    }
}

#[tokio::test]
async fn what_was_made_stale_stays_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = HeaderMap::new();
    for target in [Target::Url(A.into()), Target::Tag("t".into()), Target::All] {
        let tiered = Tiered::open(folder.path(), 100 * MIB).await;
        tiered.keep(entry(A, b"a", "t", "", &none)).await;
        assert!(tiered.purge(target.clone(), Some(Moment(5000))).await);
        let killed = copy(folder.path());
        let after = Tiered::open(killed.path(), 100 * MIB).await;
        for tiered in [&tiered, &after] {
            let found = tiered.find(A, &none).await.expect("is there");
            assert!(found.terms.fresh_for(Moment(6000)).is_err(), "{target:?}");
            assert_eq!(tiered.body(A).await.as_deref(), Some(&b"a"[..]));
        }
    }
}

#[tokio::test]
async fn a_purge_is_carried_out_to_the_last_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = HeaderMap::new();
    let tiered = Tiered::open(folder.path(), 100 * MIB).await;
    for number in 0..50 {
        let url = format!("http://site.test/{number}");
        tiered
            .keep(entry(
                &url,
                b"x",
                if number % 2 == 0 { "even" } else { "odd" },
                "",
                &none,
            ))
            .await;
    }
    assert!(tiered.purge(Target::Tag("even".into()), None).await);
    until(|| (tiered.held().entries == 25).then_some(())).await;
    until(|| tiered.disk.shared.purges.all().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_purge_wins_against_what_is_being_fetched() {
    let folder = tempfile::tempdir().expect("a folder");
    let tiered = Tiered::open(folder.path(), 100 * MIB).await;
    let none = HeaderMap::new();
    for target in [
        Target::Url(A.into()),
        Target::Prefix("/a".into()),
        Target::Tag("t".into()),
        Target::All,
    ] {
        let under_way = tiered.begun(entry(A, b"old", "t", "", &none));
        tiered.purge(target.clone(), None).await;
        tiered.disk.offer(under_way);
        // The writer takes one after the other: when this one is there, the other one was dealt with.
        tiered.keep(entry(B, b"b", "other", "", &none)).await;
        assert_eq!(tiered.body(A).await, None, "{target:?}");
        let killed = copy(folder.path());
        let after = Tiered::open(killed.path(), 100 * MIB).await;
        assert_eq!(after.body(A).await, None, "{target:?}");
    }
}

#[tokio::test]
async fn it_takes_no_more_than_its_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = HeaderMap::new();
    let tiered = Tiered::open(folder.path(), MIB).await;
    let on_disk = || -> u64 {
        let parts = (0..PARTS).flat_map(|part| tiered.disk.shared.place.list(part).expect("is listed"));
        parts.map(|(_, length)| length.div_ceil(4096) * 4096).sum()
    };
    for number in 0..100 {
        tiered
            .keep(entry(
                &format!("http://site.test/{number}"),
                &sample(30_000),
                "t",
                "",
                &none,
            ))
            .await;
        assert!(tiered.held().bytes <= MIB && on_disk() <= MIB);
    }
    let held = tiered.held();
    assert!(held.evicted > 0 && held.entries > 20, "{held:?}");
    assert_eq!(on_disk(), held.bytes);
    tiered.keep(entry(A, &sample(600_000), "t", "", &none)).await;
    assert_eq!(tiered.body(A).await, None, "more than half of it");
    tiered.disk.resize(MIB / 4);
    until(|| (tiered.held().bytes <= MIB / 4).then_some(())).await;
    until(|| (on_disk() <= MIB / 4).then_some(())).await;
}

#[tokio::test]
async fn what_is_damaged_is_a_miss_and_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = HeaderMap::new();
    let tiered = Tiered::open(folder.path(), 100 * MIB).await;
    for length in [0, 100, 100_000, 3_000_000] {
        for (place, cut) in [(0u64, false), (40, false), (u64::MAX, false), (0, true)] {
            tiered.keep(entry(A, &sample(length), "t", "", &none)).await;
            let path = tiered.file(A);
            let file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .expect("is there");
            let real = file.metadata().expect("is there").len();
            if cut {
                file.set_len(real - 1).expect("is cut");
            } else {
                let at = place.min(real - 1);
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).expect("is read");
                file.write_all_at(&[byte[0] ^ 1], at).expect("is written");
            }
            let before = tiered.disk.report().damaged;
            assert_eq!(tiered.body(A).await, None, "{length} {place} {cut}");
            assert_eq!(tiered.disk.report().damaged, before + 1);
            assert!(!path.exists() && !tiered.disk.may_have(&address(A)));
        }
    }
}

#[tokio::test]
async fn a_file_in_anothers_place_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = HeaderMap::new();
    let tiered = Tiered::open(folder.path(), 100 * MIB).await;
    tiered.keep(entry(A, b"a", "t", "", &none)).await;
    tiered.keep(entry(B, b"b", "t", "", &none)).await;
    fs::copy(tiered.file(A), tiered.file(B)).expect("is copied");
    assert_eq!(tiered.body(B).await, None);
    assert_eq!(tiered.body(A).await.as_deref(), Some(&b"a"[..]));
}

#[tokio::test]
async fn a_disk_that_fails_costs_misses() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = HeaderMap::new();
    let tiered = Tiered::open(folder.path(), 100 * MIB).await;
    // In the place of the directory that the answer would be in: whoever runs the test may be above permissions.
    let part = tiered.disk.shared.place.part(name::part(address(A).url));
    fs::write(&part, b"").expect("is written");
    tiered.keep(entry(A, b"a", "t", "", &none)).await;
    assert_eq!(tiered.disk.report().failures, 1);
    assert_eq!(tiered.held().entries, 0);
    assert_eq!(tiered.body(A).await, None);
    let left = fs::read_dir(folder.path().join("incoming")).expect("a folder").count();
    assert_eq!(left, 0, "what was begun is gone");
}

#[tokio::test]
async fn without_its_journal_nothing_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = HeaderMap::new();
    for damage in [
        (|path: &Path| fs::remove_file(path).expect("is removed")) as fn(&Path),
        |path| fs::write(path, b"?").expect("is written"),
    ] {
        let tiered = Tiered::open(folder.path(), 100 * MIB).await;
        tiered.keep(entry(A, b"a", "t", "", &none)).await;
        drop(tiered);
        damage(&folder.path().join("purges"));
        let tiered = Tiered::open(folder.path(), 100 * MIB).await;
        assert_eq!((tiered.held().entries, tiered.body(A).await), (0, None));
    }
}

#[tokio::test]
async fn a_directory_is_for_one_gateway_and_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new/pages");
    let _disk = Disk::open(&path, MIB).expect("is made");
    let mode = fs::metadata(&path).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let Err(refused) = Disk::open(&path, MIB) else {
        panic!("it is in use")
    };
    let told = refused.to_string();
    assert!(told.contains(&format!("process {}", std::process::id())), "{told}");
    let other = folder.path().join("site");
    fs::create_dir(&other).expect("is made");
    fs::write(other.join("index.html"), b"").expect("is written");
    let Err(refused) = Disk::open(&other, MIB) else {
        panic!("it is no cache")
    };
    assert!(refused.to_string().contains("index.html"), "{refused}");
    assert_eq!(
        fs::read_dir(&other).expect("a folder").count(),
        1,
        "nothing was made in it"
    );
    let file = folder.path().join("file");
    fs::write(&file, b"").expect("is written");
    assert!(matches!(Disk::open(&file, MIB), Err(Unusable::Io(..))));
}

#[tokio::test]
async fn a_directory_is_taken_over_from_a_process_that_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = HeaderMap::new();
    let before = Tiered::open(folder.path(), MIB).await;
    before.keep(entry(A, b"a", "t", "", &none)).await;
    before.keep(entry(B, b"b", "t", "", &none)).await;
    let late = DiskTier::open_after(folder.path(), MIB).expect("waits");
    assert!(!late.may_have(&address(A)));
    assert_eq!(late.report(), Report::default());
    drop(late.purge(&Target::Url(A.into()), None));
    drop(before);
    until(|| late.may_have(&address(B)).then_some(())).await;
    assert!(matches!(late.lookup(address(B), &none).await, Lookup::Entry(_)));
    assert!(matches!(late.lookup(address(A), &none).await, Lookup::Nothing));
}
