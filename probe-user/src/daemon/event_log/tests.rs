//! The event log against rotation, full disks and readers that come, go and sleep.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use serde_json::Value;
use tempfile::tempdir;

use super::*;
use crate::{
    daemon::namespace::{in_mount_namespace, mount_tmpfs},
    identity::VmIdentity,
};

const SECOND: u64 = 1_000_000_000;
const WALL: WallClock = WallClock::booted_at(1_700_000_000_000_000_000);

/// A line that is recognized by its count, and long if its name is.
fn numbered(lines: u64, name: &str) -> Output {
    Output::Status(Status {
        at: BootTime(0),
        vm: Some(VmIdentity {
            name: name.to_owned(),
            ..VmIdentity::unknown()
        }),
        kind: StatusKind::Suppressed { lines },
    })
}

fn emit(log: &mut EventLog, count: u64, seconds: u64) {
    log.emit(&numbered(count, "vm"), WALL, BootTime(seconds * SECOND));
}

fn opened(path: &Path) -> EventLog {
    EventLog::open(path, BootTime(0)).unwrap()
}

/// Status and count of every line; each must be whole.
fn told(path: &Path) -> Vec<(String, u64)> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(parsed).collect()
}

fn parsed(line: &str) -> (String, u64) {
    let document: Value = serde_json::from_str(line).unwrap();
    (
        document["status"].as_str().unwrap().to_owned(),
        document["records"].as_u64().unwrap(),
    )
}

fn counts(path: &Path) -> Vec<u64> {
    told(path).into_iter().map(|(_, count)| count).collect()
}

#[test]
fn lines_are_appended_to_a_file_that_the_group_may_read() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    emit(&mut opened(&path), 1, 0);
    emit(&mut opened(&path), 2, 0);
    assert_eq!(counts(&path), [1, 2]);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0);
}

#[test]
fn a_rotated_file_gets_nothing_more_after_reopening() {
    let directory = tempdir().unwrap();
    let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
    let mut log = opened(&path);
    emit(&mut log, 1, 0);
    fs::rename(&path, &old).unwrap();
    emit(&mut log, 2, 0);
    log.reopen(BootTime(0)).unwrap();
    emit(&mut log, 3, 0);
    assert_eq!((counts(&old), counts(&path)), (vec![1, 2], vec![3]));
}

#[test]
fn the_old_file_stays_in_use_where_reopening_fails() {
    let directory = tempdir().unwrap();
    let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
    let mut log = opened(&path);
    fs::rename(&path, &old).unwrap();
    fs::create_dir(&path).unwrap();
    let error = log.reopen(BootTime(0)).unwrap_err();
    assert!(error.to_string().ends_with("log cannot be opened"), "{error}");
    emit(&mut log, 1, 0);
    assert_eq!(counts(&old), [1]);
    assert_eq!(log.losses(), 0);
}

#[test]
fn a_file_that_is_deleted_or_replaced_is_made_anew_within_a_second() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let mut log = opened(&path);
    emit(&mut log, 1, 0);
    fs::remove_file(&path).unwrap();
    emit(&mut log, 2, 1);
    assert_eq!(counts(&path), [2]);
    let ours = fs::metadata(&path).unwrap().ino();
    let other = directory.path().join("other");
    fs::write(&other, "").unwrap();
    fs::rename(&other, &path).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), ours);
    emit(&mut log, 3, 2);
    assert_eq!(counts(&path), [3]);
    assert_eq!(log.losses(), 0);
}

#[test]
fn a_full_device_loses_lines_and_says_how_many_once_there_is_room() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let mut log = opened(&path);
    (1..4).for_each(|count| emit(&mut log, count, 0));
    assert_eq!(log.losses(), 3);
    assert_eq!(log.next_due(), Some(BootTime(SECOND)));
    fs::remove_file(&path).unwrap();
    log.reopen(BootTime(SECOND)).unwrap();
    log.tick(WALL, BootTime(SECOND));
    emit(&mut log, 4, 1);
    let expected = [("output-lost".to_owned(), 3), ("suppressed".to_owned(), 4)];
    assert_eq!(told(&path), expected);
    assert_eq!((log.losses(), log.next_due()), (3, None));
}

#[test]
fn a_full_disk_leaves_whole_lines_and_an_exact_count() {
    in_mount_namespace(|| {
        let directory = tempdir().unwrap();
        mount_tmpfs(directory.path(), "64k");
        let path = directory.path().join("log");
        let ballast = directory.path().join("ballast");
        fs::write(&ballast, vec![0; 20_000]).unwrap();
        let mut log = opened(&path);
        let name = "x".repeat(3000);
        for count in 0..40 {
            log.emit(&numbered(count, &name), WALL, BootTime(0));
        }
        let there = counts(&path);
        assert_eq!(there, (0..there.len() as u64).collect::<Vec<_>>());
        assert!((5..20).contains(&there.len()), "{}", there.len());
        let lost = 40 - there.len() as u64;
        assert_eq!(log.losses(), lost);

        fs::remove_file(&ballast).unwrap();
        log.tick(WALL, BootTime(SECOND));
        log.emit(&numbered(99, &name), WALL, BootTime(SECOND));
        let after = told(&path).split_off(there.len());
        assert_eq!(
            after,
            [("output-lost".to_owned(), lost), ("suppressed".to_owned(), 99)]
        );
        assert_eq!((log.losses(), log.next_due()), (lost, None));
    });
}

fn fifo(path: &Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_bits_truncate(0o600)).unwrap();
}

fn reader(path: &Path) -> File {
    File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .unwrap()
}

#[test]
fn a_fifo_is_written_while_somebody_reads_it() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("fifo");
    fifo(&path);
    let mut log = opened(&path);
    emit(&mut log, 1, 0);
    let first = reader(&path);
    emit(&mut log, 2, 1);
    let mut lines = BufReader::new(first).lines().map(Result::unwrap);
    assert_eq!(parsed(&lines.next().unwrap()), ("output-lost".to_owned(), 1));
    assert_eq!(parsed(&lines.next().unwrap()), ("suppressed".to_owned(), 2));
    drop(lines);
    emit(&mut log, 3, 1);
    let second = reader(&path);
    log.tick(WALL, BootTime(2 * SECOND));
    let mut lines = BufReader::new(second).lines().map(Result::unwrap);
    assert_eq!(parsed(&lines.next().unwrap()), ("output-lost".to_owned(), 1));
    assert_eq!(log.losses(), 2);
}

#[test]
fn a_reader_that_sleeps_blocks_nobody_and_wakes_to_whole_lines() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("fifo");
    fifo(&path);
    let mut sleeper = reader(&path);
    let mut log = opened(&path);
    // Longer than a pipe takes in one piece, so that lines are torn.
    let name = "y".repeat(10_000);
    for count in 0..50 {
        log.emit(&numbered(count, &name), WALL, BootTime(0));
    }
    let lost = log.losses();
    assert!((40..50).contains(&lost), "{lost}");
    assert_eq!(log.next_due(), Some(BootTime(SECOND)));
    let mut text = String::new();
    for seconds in 1..4 {
        let mut some = Vec::new();
        // Ends in EAGAIN once the pipe is empty.
        let _ = sleeper.read_to_end(&mut some);
        text.push_str(&String::from_utf8(some).unwrap());
        log.tick(WALL, BootTime(seconds * SECOND));
    }
    let told: Vec<_> = text.lines().map(parsed).collect();
    let whole = 50 - lost;
    assert_eq!(told.len() as u64, whole + 1);
    assert!(
        told[..told.len() - 1]
            .iter()
            .map(|(_, count)| *count)
            .eq(0..whole)
    );
    assert_eq!(told.last(), Some(&("output-lost".to_owned(), lost)));
}

#[test]
fn what_cannot_be_a_log_is_refused_by_name() {
    let directory = tempdir().unwrap();
    let error = EventLog::open(directory.path(), BootTime(0)).unwrap_err();
    assert!(error.to_string().starts_with("the event log "), "{error}");
    assert!(EventLog::open(&directory.path().join("no/such"), BootTime(0)).is_err());
}
