//! A shelf against bounds, foreign files and full disks.

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt as _, symlink},
    time::SystemTime,
};

use tempfile::{TempDir, tempdir};

use super::*;
use crate::daemon::namespace::{in_mount_namespace, mount_tmpfs};

const STAMP: &str = "20231114T221321Z";

fn store(shelf: &Shelf, bytes: usize) -> Result<PathBuf, ShelfError> {
    shelf.store(STAMP.to_owned(), Reason::Signal, &[&vec![b'x'; bytes]])
}

fn directory(keep: usize, max_bytes: u64) -> (TempDir, Shelf) {
    let directory = tempdir().unwrap();
    let shelf = Shelf::new(Kind::Snapshot, directory.path().to_owned(), keep, max_bytes);
    (directory, shelf)
}

/// What is in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(directory).unwrap().map(name).collect();
    names.sort();
    names
}

fn serials(directory: &Path) -> Vec<u32> {
    let mut serials: Vec<u32> = names(directory)
        .iter()
        .filter_map(|name| Name::parse(Kind::Snapshot, name))
        .map(|name| name.serial)
        .collect();
    serials.sort_unstable();
    serials
}

#[test]
fn a_file_is_written_whole_into_a_directory_that_is_made() {
    let parent = tempdir().unwrap();
    let shelf = Shelf::new(Kind::Recording, parent.path().join("a/b"), 3, 1 << 20);
    let parts: [&[u8]; 3] = [b"one", b"", b" and two"];
    let path = shelf.store(STAMP.to_owned(), Reason::Critical, &parts).unwrap();
    assert!(path.ends_with("a/b/ldrscope-20231114T221321Z-critical-1.ldrrec"));
    assert_eq!(fs::read(&path).unwrap(), b"one and two");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0);
}

#[test]
fn two_kinds_share_a_directory_and_neither_costs_the_other() {
    let (directory, snapshots) = directory(1, 100);
    let recordings = Shelf::new(Kind::Recording, directory.path().to_owned(), 2, 100);
    for _ in 0..3 {
        store(&snapshots, 10).unwrap();
        store(&recordings, 10).unwrap();
    }
    assert_eq!(serials(directory.path()), [3]);
    assert_eq!(names(directory.path()).len(), 3);
}

#[test]
fn the_oldest_go_first_by_number_and_by_size_even_if_the_clock_was_set_back() {
    let (directory, shelf) = directory(3, 100);
    for _ in 0..5 {
        store(&shelf, 10).unwrap();
    }
    assert_eq!(serials(directory.path()), [3, 4, 5]);
    shelf
        .store("19700101T000000Z".to_owned(), Reason::Signal, &[b"x"])
        .unwrap();
    assert_eq!(serials(directory.path()), [4, 5, 6]);
    store(&shelf, 85).unwrap();
    assert_eq!(serials(directory.path()), [5, 6, 7]);
    store(&shelf, 100).unwrap();
    assert_eq!(serials(directory.path()), [8]);
}

#[test]
fn one_that_is_too_large_is_refused_and_costs_no_other() {
    let (directory, shelf) = directory(3, 100);
    store(&shelf, 100).unwrap();
    let error = store(&shelf, 101).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a snapshot of 101 bytes is larger than all snapshots together may be (100 bytes); \
         raise snapshot-max-size"
    );
    assert_eq!(serials(directory.path()), [1]);
}

#[test]
fn what_is_not_ours_is_never_touched() {
    let (directory, shelf) = directory(1, 10);
    let foreign = [
        "notes.json",
        "ldrscope-20231114T221321Z-critical-1.json.gz",
        ".ldrscope.tmp",
    ];
    for name in foreign {
        fs::write(directory.path().join(name), vec![0; 1000]).unwrap();
    }
    let link = directory.path().join("ldrscope-20231114T221321Z-signal-7.json");
    symlink(directory.path().join("notes.json"), &link).unwrap();
    fs::create_dir(directory.path().join("ldrscope-20231114T221321Z-signal-8.json")).unwrap();
    for _ in 0..3 {
        store(&shelf, 10).unwrap();
    }
    let names = names(directory.path());
    assert_eq!(names.len(), foreign.len() + 3, "{names:?}");
    assert!(link.is_symlink());
}

#[test]
fn what_a_killed_writer_left_is_cleared_away_and_what_another_writes_is_not() {
    let (directory, shelf) = directory(3, 100);
    let temporary = |serial| {
        let name = Name {
            kind: Kind::Snapshot,
            stamp: STAMP.to_owned(),
            reason: Reason::Signal,
            serial,
        };
        directory.path().join(name.temporary())
    };
    let old = File::create(temporary(8)).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_mins(2))
        .unwrap();
    File::create(temporary(9)).unwrap();
    store(&shelf, 10).unwrap();
    assert!(!temporary(8).exists() && temporary(9).exists());
}

#[test]
fn a_full_disk_leaves_no_half_and_costs_no_older_one() {
    in_mount_namespace(|| {
        let (directory, shelf) = directory(2, 1 << 20);
        mount_tmpfs(directory.path(), "64k");
        store(&shelf, 20_000).unwrap();
        store(&shelf, 20_000).unwrap();
        let before = names(directory.path());
        let error = store(&shelf, 40_000).unwrap_err();
        assert!(
            error.to_string().contains("cannot be written: No space left"),
            "{error}"
        );
        assert_eq!(names(directory.path()), before);
        store(&shelf, 10_000).unwrap();
        assert_eq!(serials(directory.path()), [2, 3]);
    });
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let (directory, _) = directory(1, 1);
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = store(&Shelf::new(Kind::Snapshot, file.join("sub"), 1, 100), 1).unwrap_err();
    assert!(
        error.to_string().contains("/file/sub cannot be written"),
        "{error}"
    );
}

#[test]
fn the_last_serial_number_is_said_to_be_the_last() {
    let (directory, shelf) = directory(1, 10);
    let last = format!("ldrscope-{STAMP}-signal-{}.json", u32::MAX);
    fs::write(directory.path().join(&last), "").unwrap();
    let error = store(&shelf, 1).unwrap_err();
    assert!(error.to_string().contains(&last), "{error}");
}
