//! Records through snapshot, crashes and power cuts, within their bounds, and never in the journal's way.

use std::io::{Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use rollout::base::names::Revision;
use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::{Controller, Event, Verb};
use rollout::record::{Added, Line, Opening, Recorder};

use super::*;
use crate::journal::tests::{Disk, asked, declared, hello, release, report, through, web};
use crate::journal::{Journal, PendingSnapshot};

const PLENTY: Limits = Limits { bytes: 16 << 20, per_canary: 5 };

/// A release with reports that is aborted, and one more that goes on.
fn life() -> Vec<(Millis, Event)> {
    let mut events =
        vec![Event::Restarted { away: Millis(0) }, declared(), Event::Connected(Conn(1), hello(1)), asked(release)];
    events.extend((1..=3).map(|number| Event::reported(Conn(1), report(number))));
    events.push(asked(|actor| Verb::Abort { actor, reason: "so".into() }));
    events.extend([Event::Timer, asked(release), Event::reported(Conn(1), report(4))]);
    (0..).map(|n| Millis(1_000_000 + n * 700)).zip(events).collect()
}

/// What the records of a life must hold.
fn additions(life: &[(Millis, Event)]) -> Vec<(u64, Addition)> {
    let (mut controller, mut recorder) = (Controller::default(), Recorder::default());
    let mut all = vec![];
    for (number, (at, event)) in (1..).zip(life) {
        let (_, additions) = recorder.handle(&mut controller, event.clone(), *at);
        all.extend(additions.into_iter().map(|addition| (number, addition)));
    }
    all
}

/// A record as it lies on the disk.
async fn lines(archive: &Archive, release: u64) -> Option<(Opening, Vec<Line>)> {
    let record = archive.read(web(), ReleaseId(release)).await.unwrap()?;
    let mut text = String::new();
    MultiGzDecoder::new(record.file.take(record.bytes)).read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    let opening = serde_json::from_str(lines.next().unwrap()).unwrap();
    Some((opening, lines.map(|line| serde_json::from_str(line).unwrap()).collect()))
}

fn expected(all: &[(u64, Addition)], release: u64) -> (Opening, Vec<Line>) {
    let (mut opening, mut lines) = (None, vec![]);
    for (_, addition) in all.iter().filter(|(_, addition)| addition.release == ReleaseId(release)) {
        match &addition.what {
            Added::Opening(it) => opening = Some((**it).clone()),
            Added::Line(it) => lines.push((**it).clone()),
        }
    }
    (opening.unwrap(), lines)
}

/// Bytes of all files below a folder.
fn used(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { used(&path) } else { path.metadata().unwrap().len() }).sum()
}

/// How the journal is shortened: after which event, and whether that reaches its disk.
#[derive(Clone, Copy, Debug)]
struct Shortened {
    after: usize,
    is_stored: bool,
}

/// One life of an agent's journal and archive.
async fn live(
    disk: &Disk,
    folder: &Path,
    events: &[(Millis, Event)],
    shortened: Option<Shortened>,
) -> (Journal, Archive) {
    let (mut journal, recovered) = disk.journal_with(Archive::open(folder.into(), PLENTY).unwrap()).unwrap();
    let (mut controller, mut recorder, archive) = (recovered.controller, recovered.recorder, recovered.archive);
    for (n, (at, event)) in events.iter().enumerate() {
        let number = journal.append(*at, event).unwrap();
        let (_, additions) = recorder.handle(&mut controller, event.clone(), *at);
        through(&journal, number).await;
        additions.into_iter().for_each(|addition| archive.add(number, addition));
        if let Some(Shortened { is_stored, .. }) = shortened.filter(|shortened| shortened.after == n) {
            let snapshot = Some(journal.snapshot(&controller).unwrap()).filter(|_| is_stored);
            let (done, is_done) = oneshot::channel();
            archive.through(number, move || {
                snapshot.into_iter().for_each(PendingSnapshot::queue);
                let _ = done.send(());
            });
            is_done.await.unwrap();
        }
    }
    (journal, archive)
}

/// A power cut: what was not synced may be anything.
fn spoil(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            spoil(&entry);
        } else if entry.extension().is_some_and(|extension| extension == "gz") {
            std::fs::OpenOptions::new()
                .append(true)
                .open(&entry)
                .unwrap()
                .write_all(b"\x1f\x8b\x08 half a member")
                .unwrap();
            std::fs::write(entry.with_extension("new"), "{\"half").unwrap();
        }
    }
}

#[tokio::test]
async fn a_record_has_each_event_once_wherever_the_journal_was_shortened_and_the_power_cut() {
    let life = life();
    let all = additions(&life);
    for shortened in 0..life.len() {
        // The power may also go when the records are synced and the journal is not shortened yet.
        let moments = (shortened..life.len()).map(|cut| (cut, true)).chain([(shortened, false)]);
        for (cut, is_stored) in moments {
            let snapshot = Shortened { after: shortened, is_stored };
            let (disk, dir) = (Disk::new(), tempfile::tempdir().unwrap());
            let (mut journal, archive) = live(&disk, dir.path(), &life[..=cut], Some(snapshot)).await;
            // The thread forgets what it holds, as if it had been killed.
            archive.close().await;
            journal.close().await;
            drop((journal, archive));
            spoil(dir.path());
            let (mut journal, archive) = live(&disk, dir.path(), &life[cut + 1..], None).await;
            for release in [1, 2] {
                let seen = lines(&archive, release).await;
                let said = format!("release {release}, {snapshot:?}, cut after {cut}");
                assert_eq!(seen, Some(expected(&all, release)), "{said}");
            }
            let infos = archive.list(web()).await;
            assert_eq!(infos.len(), 2);
            assert_eq!((infos[0].lines, infos[1].lines, &infos[0].truncated), (6, 2, &None));
            assert_eq!(infos[0].closing.as_ref().unwrap().outcome.name(), "aborted");
            assert!(infos[1].ended.is_none());
            archive.close().await;
            journal.close().await;
        }
    }
}

#[tokio::test]
async fn a_record_with_a_gap_says_so_and_one_of_another_journal_gives_way() {
    let (life, dir) = (life(), tempfile::tempdir().unwrap());
    let disk = Disk::new();
    let (mut journal, archive) =
        live(&disk, dir.path(), &life, Some(Shortened { after: life.len() - 1, is_stored: true })).await;
    archive.close().await;
    journal.close().await;
    // A life without records, whose journal was shortened.
    let (mut journal, recovered) = disk.journal().unwrap();
    journal.append(Millis(2_000_000), &Event::Timer).unwrap();
    journal.snapshot(&recovered.controller).unwrap().queue();
    journal.close().await;
    let (mut journal, recovered) = disk.journal_with(Archive::open(dir.path().into(), PLENTY).unwrap()).unwrap();
    let infos = recovered.archive.list(web()).await;
    assert_eq!(infos.iter().map(|info| info.truncated.is_some()).collect::<Vec<_>>(), [false, true]);
    recovered.archive.close().await;
    journal.close().await;
    // The journal was moved away: releases count from 1 again.
    let later: Vec<(Millis, Event)> = life.iter().map(|(at, event)| (at.plus(Millis(5)), event.clone())).collect();
    let (mut journal, archive) = live(&Disk::new(), dir.path(), &later[..4], None).await;
    assert_eq!(lines(&archive, 1).await, Some(expected(&additions(&later[..4]), 1)));
    archive.close().await;
    journal.close().await;
}

/// The additions of many releases one after the other, each aborted after some reports that do not compress well.
fn many(releases: u64, reports: u64) -> Vec<(u64, Addition)> {
    let mut events = vec![declared(), Event::Connected(Conn(1), hello(1))];
    let mut number = 0;
    for _ in 0..releases {
        events.push(asked(release));
        for _ in 0..reports {
            number += 1;
            let mut report = report(number);
            for (_, counts) in &mut report.strata {
                (0..60u64).for_each(|n| {
                    counts
                        .latency
                        .record(rollout::base::time::Micros((number * 7_919 + n * n * 104_729) % 600_000_000));
                });
            }
            events.push(Event::reported(Conn(1), report));
        }
        events.push(asked(|actor| Verb::Abort { actor, reason: "so".into() }));
    }
    let life: Vec<(Millis, Event)> = (0..).map(|n| Millis(1_000_000 + n * 700)).zip(events).collect();
    additions(&life)
}

#[tokio::test]
async fn the_oldest_go_first_and_the_disk_used_stays_within_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: 120_000, per_canary: 4 };
    let mut store = Store::open(dir.path().into(), limits).unwrap();
    let all = many(10, 250);
    let mut greatest = 0;
    for (number, addition) in all {
        store.add(number, addition);
        if number % 25 == 0 {
            store.sync(number);
        }
        greatest = greatest.max(used(dir.path()));
    }
    assert!((60_000..limits.bytes).contains(&greatest), "{greatest} bytes were used at most");
    let kept: Vec<u64> = store.list(&web()).iter().map(|info| info.release.0).collect();
    assert!(kept.len() > 1 && kept.len() <= 4 && kept.last() == Some(&10), "{kept:?}");
    drop(store);
    let store = Store::open(dir.path().into(), Limits { per_canary: 1, ..limits }).unwrap();
    assert_eq!(store.list(&web()).iter().map(|info| info.release.0).collect::<Vec<_>>(), [10]);
    drop(store);
    Store::open(dir.path().into(), Limits { bytes: 0, per_canary: 1 }).unwrap();
    assert_eq!(used(dir.path()), 0);
}

#[tokio::test]
async fn one_release_that_needs_more_than_there_is_is_truncated_and_can_be_read_so_far() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: 40_000, per_canary: 4 };
    let mut store = Store::open(dir.path().into(), limits).unwrap();
    for (number, addition) in many(1, 600) {
        store.add(number, addition);
        if number % 20 == 0 {
            store.sync(number);
        }
    }
    assert!(used(dir.path()) < limits.bytes);
    let info = store.list(&web()).remove(0);
    assert!(info.truncated.as_ref().unwrap().contains("no room within 40000 bytes"), "{info:?}");
    assert!(info.lines > 20 && info.ended.is_some(), "{info:?}");
    let record = store.read(&web(), info.release).unwrap().unwrap();
    let mut text = String::new();
    MultiGzDecoder::new(record.file.take(record.bytes)).read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count() as u64, info.lines + 1);
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_nothing_and_the_gap_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(dir.path().into(), PLENTY).unwrap();
    let all = additions(&life());
    all.iter().take(3).for_each(|(number, addition)| archive.add(*number, addition.clone()));
    let (hang, hanging) = mpsc::channel::<()>();
    archive.through(4, move || {
        let _ = hanging.recv();
    });
    for _ in 0..MAX_WAITING + 2 {
        archive.add(5, all[3].1.clone());
    }
    let (done, is_done) = mpsc::channel();
    archive.through(5, move || done.send(()).unwrap());
    is_done.try_recv().expect("the journal is shortened all the same");
    drop(hang);
    // The list waits until the thread is there.
    archive.list(web()).await;
    archive.add(6, all[4].1.clone());
    assert!(archive.list(web()).await[0].truncated.as_ref().unwrap().contains("too slow"));
    archive.close().await;
}

#[tokio::test]
async fn a_gap_is_told_also_of_a_release_that_began_while_the_disk_was_slow() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(dir.path().into(), PLENTY).unwrap();
    let all = additions(&life());
    let (first, is_slow) = (all[0].0, mpsc::channel::<()>());
    let (slow, waiting) = is_slow;
    archive.through(first - 1, move || {
        let _ = waiting.recv();
    });
    // The opening waits behind a job, and the queue is filled up to the last place but for lines that are missing.
    assert!(matches!(all[0].1.what, Added::Opening(_)));
    archive.add(first, all[0].1.clone());
    for _ in 0..MAX_WAITING {
        archive.add(first, all[1].1.clone());
    }
    archive.add(first + 1, all[2].1.clone());
    drop(slow);
    archive.list(web()).await;
    archive.add(first + 2, all[3].1.clone());
    let info = archive.list(web()).await.remove(0);
    assert!(info.truncated.as_ref().is_some_and(|why| why.contains("too slow")), "{info:?}");
    archive.close().await;
}

#[tokio::test]
async fn an_archive_that_cannot_be_used_is_done_without() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("records");
    std::fs::write(&file, "").unwrap();
    let archive = Archive::open(file, PLENTY).unwrap();
    let (done, is_done) = mpsc::channel();
    archive.through(1, move || done.send(()).unwrap());
    is_done.try_recv().unwrap();
    assert_eq!(archive.list(web()).await, []);
    assert!(archive.read(web(), ReleaseId(1)).await.unwrap().is_none());
    archive.close().await;
}

#[test]
fn a_name_cannot_lead_out_of_the_folder() {
    let mut info = Info {
        format: rollout::record::FORMAT,
        canary: CanaryId::new("..", ".").unwrap(),
        release: ReleaseId(3),
        revision: Revision::parse("v1").unwrap(),
        began: Millis(1),
        ended: None,
        closing: None,
        lines: 0,
        bytes: 0,
        truncated: None,
        first: 1,
        through: 1,
    };
    assert_eq!(store::path_of(Path::new("/r"), &info), Path::new("/r/@../@./3.jsonl.gz"));
    info.canary = CanaryId::new("prod", "web").unwrap();
    assert_eq!(store::path_of(Path::new("/r"), &info), Path::new("/r/prod/web/3.jsonl.gz"));
}

#[test]
fn records_of_another_format_are_refused_by_name_and_left_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("prod/web");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("1.jsonl.gz"), "former").unwrap();
    for (companion, found) in [(r#"{"canary":"prod/web","release":1}"#, 1), (r#"{"format":9}"#, 9)] {
        std::fs::write(folder.join("1.json"), companion).unwrap();
        for limits in [PLENTY, Limits { bytes: 0, per_canary: 0 }] {
            let refused = Archive::open(dir.path().into(), limits).unwrap_err();
            assert_eq!((&refused.path, refused.found), (&folder.join("1.json"), found));
            let error = refused.to_string();
            assert!(error.contains(&format!("has format {found}")) && error.contains("--data"), "{error}");
            assert_eq!(std::fs::read_to_string(folder.join("1.json")).unwrap(), companion);
            assert_eq!(std::fs::read(folder.join("1.jsonl.gz")).unwrap(), b"former");
        }
    }
}
