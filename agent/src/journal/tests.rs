//! What the journal promises, on a disk in memory that can refuse, or lose power at any write.

use rollout::base::names::{CanaryId, Revision};
use rollout::base::time::Micros;
use rollout::controller::Verb;
use rollout::controller::fleet::Conn;
use rollout::routing::outcome::{FailureClass, Outcome};
use rollout::routing::route::Placement;
use rollout::routing::table::{Epoch, Version};
use rollout::worker::messages::{Hello, Incarnation, PROTOCOL, Report};
use rollout::worker::tally::{Counts, Slot, Stratum};

use super::*;

/// The disk.
mod disk;

pub(crate) use disk::Disk;

const MANIFEST: &str = "apiVersion: serin.dev/v1alpha1
kind: Canary
metadata: { name: web, namespace: prod }
spec:
  analysis:
    interval: 1s
    threshold: 3
    stepWeights: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 33.3333, 40, 50, 60]
    metrics: [{ name: request-success-rate, interval: 60s, thresholdRange: { min: 12.3456789 } }]
";

/// No records.
const NOTHING: Limits = Limits { bytes: 0, per_canary: 0 };

pub(crate) fn web() -> CanaryId {
    CanaryId::new("prod", "web").unwrap()
}

pub(crate) fn declared() -> Event {
    declared_with("")
}

/// The same canary with more in its `spec`.
pub(crate) fn declared_with(more: &str) -> Event {
    let loaded = manifest::read("web.yaml", &format!("{MANIFEST}{more}"));
    Event::Declared(Box::new(loaded.documents[0].plan().unwrap().clone()))
}

pub(crate) fn hello(incarnation: u64) -> Hello {
    Hello {
        protocol: PROTOCOL,
        incarnation: Incarnation(incarnation),
        node: "proxy".into(),
        cluster: "front".into(),
        filter_version: "1".into(),
        adopted: vec![],
        default_upstreams: vec![],
        trips: vec![],
    }
}

pub(crate) fn report(number: u64) -> Report {
    let stratum = Stratum {
        canary: web(),
        epoch: Epoch(4),
        version: Version::Canary,
        placement: Placement::Sticky,
        slot: Slot(7),
    };
    let mut counts = Counts::begun(7 + number);
    (0..number % 5).for_each(|n| counts.end_both(Outcome::Success, Micros(1_234 * (n + 1)), false));
    counts.end_both(Outcome::Failure(FailureClass::Reset), Micros(77_777), true);
    Report { number, strata: vec![(stratum, counts)], watermarks: vec![], trips: vec![], destinations: vec![] }
}

pub(crate) fn asked(verb: fn(Revision) -> Verb) -> Event {
    Event::Requested(web(), verb(Revision::parse("ann").unwrap()))
}

pub(crate) fn release(actor: Revision) -> Verb {
    Verb::Release { revision: Revision::parse("v2").unwrap(), actor, reason: String::new(), accept_unsupported: false }
}

/// A life with uneven numbers: rates such as 3/7 % must come back exactly.
fn life() -> Vec<(Millis, Event)> {
    let mut events =
        vec![Event::Restarted { away: Millis(0) }, declared(), Event::Connected(Conn(1), hello(1)), asked(release)];
    for number in 1..=12 {
        events.push(Event::reported(Conn(1), report(number)));
        events.push(Event::Timer);
    }
    events.push(Event::Disconnected(Conn(1)));
    events.push(asked(|actor| Verb::Pause { actor, reason: "naïve \"quotes\"".into() }));
    (0..).map(|n| Millis(1_000_000 + n * 700)).zip(events).collect()
}

fn fold(events: &[(Millis, Event)]) -> Controller {
    let mut controller = Controller::default();
    for (at, event) in events {
        controller.handle(event.clone(), *at);
    }
    controller
}

fn append_all(journal: &mut Journal, events: &[(Millis, Event)]) {
    for (at, event) in events {
        journal.append(*at, event).unwrap();
    }
}

pub(crate) async fn through(journal: &Journal, number: u64) {
    let mut stored = journal.stored();
    let reached = stored.wait_for(|stored| stored.through >= number);
    timeout(Duration::from_secs(20), reached).await.expect("deadline: stored").unwrap();
}

async fn failing(journal: &Journal) -> Stored {
    let mut stored = journal.stored();
    let failing = stored.wait_for(|stored| stored.failing.is_some());
    timeout(Duration::from_secs(20), failing).await.expect("deadline: failing").unwrap().clone()
}

#[tokio::test]
async fn what_is_read_back_is_the_state_that_was() {
    let (disk, life) = (Disk::new(), life());
    let (mut journal, first) = disk.journal().unwrap();
    assert_eq!((first.replayed, first.controller), (0, Controller::default()));
    append_all(&mut journal, &life);
    journal.close().await;
    let (_journal, recovered) = disk.journal().unwrap();
    assert!(matches!(fold(&life).canaries().next().unwrap().phase, rollout::release::phase::Phase::Paused(_)));
    assert_eq!(recovered.controller, fold(&life));
    assert_eq!((recovered.replayed, recovered.last_at), (life.len(), life.last().unwrap().0));
}

#[tokio::test]
async fn a_snapshot_anywhere_changes_nothing_but_the_length() {
    let life = life();
    for at in 0..=life.len() {
        let disk = Disk::new();
        let (mut journal, _) = disk.journal().unwrap();
        let (before, after) = life.split_at(at);
        append_all(&mut journal, before);
        journal.snapshot(&fold(before)).unwrap().queue();
        append_all(&mut journal, after);
        journal.close().await;
        let (mut journal, recovered) = disk.journal().unwrap();
        assert_eq!(recovered.controller, fold(&life));
        assert_eq!((recovered.replayed, recovered.last_at), (after.len(), life.last().unwrap().0), "snapshot at {at}");
        // Numbers go on where they were.
        assert_eq!(journal.append(Millis(9_999_999), &Event::Timer).unwrap(), life.len() as u64 + 1);
    }
}

#[tokio::test]
async fn a_power_cut_at_any_write_leaves_a_whole_prefix_with_all_that_was_called_stored() {
    // Enough for the first check; every further event would only add more of the same writes.
    let life = &life()[..8];
    let mut interrupted = 0;
    for writes in 0.. {
        let disk = Disk::new();
        let (mut journal, _) = disk.journal().unwrap();
        disk.fail_after(writes);
        let mut promised = 0;
        for (at, event) in life {
            let number = journal.append(*at, event).unwrap();
            let mut stored = journal.stored();
            let answer = stored.wait_for(|stored| stored.through >= number || stored.failing.is_some());
            let answer = timeout(Duration::from_secs(20), answer)
                .await
                .expect("deadline: an answer of the disk")
                .unwrap()
                .clone();
            if answer.failing.is_some() {
                break;
            }
            promised = number;
        }
        journal.close().await;
        disk.heal();
        let (_journal, recovered) = disk.journal().unwrap();
        let kept = recovered.replayed;
        assert!(kept as u64 >= promised, "{promised} were called stored, {kept} are there after {writes} writes");
        assert_eq!(recovered.controller, fold(&life[..kept]));
        if promised == life.len() as u64 {
            break;
        }
        interrupted += 1;
    }
    assert!(interrupted > life.len(), "every commit takes more than one write: {interrupted}");
}

#[tokio::test]
async fn a_disk_that_refuses_is_reported_and_caught_up_with() {
    let (disk, life) = (Disk::new(), life());
    let (mut journal, _) = disk.journal().unwrap();
    append_all(&mut journal, &life[..3]);
    through(&journal, 3).await;
    disk.fail_after(0);
    append_all(&mut journal, &life[3..]);
    let stored = failing(&journal).await;
    assert_eq!(stored.through, 3);
    assert!(stored.failing.unwrap().contains("no space left on this disk"));
    disk.heal();
    through(&journal, life.len() as u64).await;
    assert_eq!(journal.stored().borrow().failing, None);
    journal.close().await;
    assert_eq!(disk.journal().unwrap().1.controller, fold(&life));
}

#[tokio::test]
async fn a_journal_whose_disk_refuses_can_be_closed() {
    let disk = Disk::new();
    let (mut journal, _) = disk.journal().unwrap();
    disk.fail_after(0);
    append_all(&mut journal, &life());
    failing(&journal).await;
    timeout(CLOSE_WITHIN, journal.close()).await.expect("deadline: closed");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_named() {
    let (disk, life) = (Disk::new(), life());
    let (mut journal, _) = disk.journal().unwrap();
    append_all(&mut journal, &life[..5]);
    journal.close().await;
    let spoil = |table: TableDefinition<'_, u64, &[u8]>, number: u64| {
        let database = Database::builder().create_with_backend(disk.clone()).unwrap();
        let writing = database.begin_write().unwrap();
        writing.open_table(table).unwrap().insert(number, &b"{\"at\":1,\"event\":\"dream\"}"[..]).unwrap();
        writing.commit().unwrap();
    };
    spoil(EVENTS, 4);
    let error = disk.journal().unwrap_err().to_string();
    assert!(error.contains("journal memory: record 4 cannot be read: unknown variant `dream`"), "{error}");
    spoil(SNAPSHOT, 2);
    let error = disk.journal().unwrap_err().to_string();
    assert!(error.contains("record 2 cannot be read") && error.contains("move the file aside"), "{error}");
}

#[test]
fn one_directory_is_for_one_agent() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a/b");
    let (_journal, _) = Journal::open(&data, NOTHING).unwrap();
    let error = Journal::open(&data, NOTHING).unwrap_err().to_string();
    assert!(error.starts_with(&format!("data directory {} is in use by another agent", data.display())), "{error}");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Journal::open(&file, NOTHING).unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()) && error.contains("--data"), "{error}");
    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("journal.redb"), "x".repeat(8192)).unwrap();
    let error = Journal::open(&foreign, NOTHING).unwrap_err().to_string();
    assert!(error.contains("foreign/journal.redb"), "{error}");
    for part in ["damaged", "restore a copy", "move it away", "are lost"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

/// A journal as agents wrote it before it had a number, with one event.
fn write_unnumbered(database: &Database) {
    let writing = database.begin_write().unwrap();
    writing.open_table(EVENTS).unwrap().insert(1, &b"{\"at\":1,\"event\":\"timer\"}"[..]).unwrap();
    writing.open_table(SNAPSHOT).unwrap();
    writing.commit().unwrap();
}

/// The names of its tables, and its events.
fn content(database: &Database) -> (Vec<String>, Vec<(u64, Vec<u8>)>) {
    let reading = database.begin_read().unwrap();
    let mut names: Vec<String> = reading.list_tables().unwrap().map(|table| table.name().to_owned()).collect();
    names.sort();
    let events = reading.open_table(EVENTS).unwrap();
    let rows = events.iter().unwrap().map(|row| row.map(|(number, bytes)| (number.value(), bytes.value().to_vec())));
    (names, rows.map(Result::unwrap).collect())
}

#[test]
fn a_journal_of_another_format_is_refused_by_name_and_left_untouched_with_its_records() {
    let number = |database: &Database, number: u64| {
        let writing = database.begin_write().unwrap();
        writing.open_table(FORMATS).unwrap().insert(FORMAT_KEY, number).unwrap();
        writing.commit().unwrap();
    };
    for (found, numbered) in [(1, None), (1, Some(1)), (FORMAT + 1, Some(FORMAT + 1))] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.redb");
        let before = {
            let database = Database::create(&path).unwrap();
            write_unnumbered(&database);
            numbered.into_iter().for_each(|numbered| number(&database, numbered));
            content(&database)
        };
        // An archive that was opened would remove it: nothing says how much of it counts.
        let record = dir.path().join("records/prod/web/1.jsonl.gz");
        std::fs::create_dir_all(record.parent().unwrap()).unwrap();
        std::fs::write(&record, "former").unwrap();
        let refused = Journal::open(dir.path(), NOTHING).unwrap_err();
        assert!(matches!(&refused, JournalError::Format(error) if error.found == found), "{refused:?}");
        let error = refused.to_string();
        let words = [path.to_str().unwrap(), &format!("has format {found}"), &format!("reads format {FORMAT}")];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert!(
            error.contains("an empty --data directory") && error.contains("the version of serin that wrote it"),
            "{error}"
        );
        assert_eq!(content(&Database::create(&path).unwrap()), before);
        assert_eq!(std::fs::read(&record).unwrap(), b"former");
    }
}

#[tokio::test]
async fn a_new_journal_has_the_number_and_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    for replayed in [0, 1] {
        let (mut journal, recovered) = Journal::open(dir.path(), NOTHING).unwrap();
        assert_eq!(recovered.replayed, replayed);
        if replayed == 0 {
            journal.append(Millis(1), &declared()).unwrap();
        }
        journal.close().await;
    }
    assert_eq!(format(&Database::create(dir.path().join("journal.redb")).unwrap()).unwrap(), Some(FORMAT));
}
