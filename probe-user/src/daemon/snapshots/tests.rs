//! Snapshots against bounds, foreign files and full disks.

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt as _, symlink},
    time::SystemTime,
};

use probe_apic::{id::BootTime, map_rules::MapRules};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::{
    daemon::namespace::{in_mount_namespace, mount_tmpfs},
    observer::HostFacts,
};

const STAMP: &str = "20231114T221321Z";

fn store(snapshots: &Snapshots, bytes: usize) -> Result<PathBuf, SnapshotError> {
    snapshots.store(STAMP.to_owned(), Reason::Signal, &vec![b'x'; bytes])
}

fn directory(keep: usize, max_bytes: u64) -> (TempDir, Snapshots) {
    let directory = tempdir().unwrap();
    let snapshots = Snapshots::new(directory.path().to_owned(), keep, max_bytes);
    (directory, snapshots)
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
        .filter_map(|name| SnapshotName::parse(name))
        .map(|name| name.serial)
        .collect();
    serials.sort_unstable();
    serials
}

#[test]
fn a_snapshot_of_the_host_is_written_whole_into_a_directory_that_is_made() {
    let parent = tempdir().unwrap();
    let snapshots = Snapshots::new(parent.path().join("a/b"), 3, 1 << 20);
    let facts = HostFacts {
        kernel: "6.1.0".to_owned(),
        kvm_vendor: "amd".to_owned(),
        possible_rules: vec![MapRules::Overwrite],
        rules_proven: true,
        precise: false,
        vector_hashing: None,
    };
    let host = HostView {
        taken_at: BootTime(1_234_567_890),
        facts: &facts,
        map_rules: None,
        as_kvm: None,
        vms: Vec::new(),
    };
    let wall = WallClock::booted_at(1_700_000_000_000_000_000);
    let path = snapshots.write(&host, wall, Reason::Critical).unwrap();
    assert!(path.ends_with("a/b/ldrscope-20231114T221321Z-critical-1.json"));
    let document: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(document["schema"], "ldrscope.snapshot.v1");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0);
}

#[test]
fn the_oldest_go_first_by_number_and_by_size_even_if_the_clock_was_set_back() {
    let (directory, snapshots) = directory(3, 100);
    for _ in 0..5 {
        store(&snapshots, 10).unwrap();
    }
    assert_eq!(serials(directory.path()), [3, 4, 5]);
    snapshots
        .store("19700101T000000Z".to_owned(), Reason::Signal, b"x")
        .unwrap();
    assert_eq!(serials(directory.path()), [4, 5, 6]);
    store(&snapshots, 85).unwrap();
    assert_eq!(serials(directory.path()), [5, 6, 7]);
    store(&snapshots, 100).unwrap();
    assert_eq!(serials(directory.path()), [8]);
}

#[test]
fn one_that_is_too_large_is_refused_and_costs_no_other() {
    let (directory, snapshots) = directory(3, 100);
    store(&snapshots, 100).unwrap();
    let error = store(&snapshots, 101).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a snapshot of 101 bytes is larger than all snapshots together may be (100 bytes); \
         raise snapshot-max-size"
    );
    assert_eq!(serials(directory.path()), [1]);
}

#[test]
fn what_is_not_ours_is_never_touched() {
    let (directory, snapshots) = directory(1, 10);
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
        store(&snapshots, 10).unwrap();
    }
    let names = names(directory.path());
    assert_eq!(names.len(), foreign.len() + 3, "{names:?}");
    assert!(link.is_symlink());
}

#[test]
fn what_a_killed_writer_left_is_cleared_away_and_what_another_writes_is_not() {
    let (directory, snapshots) = directory(3, 100);
    let temporary = |serial| {
        let name = SnapshotName {
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
    store(&snapshots, 10).unwrap();
    assert!(!temporary(8).exists() && temporary(9).exists());
}

#[test]
fn a_full_disk_leaves_no_half_and_costs_no_older_one() {
    in_mount_namespace(|| {
        let (directory, snapshots) = directory(2, 1 << 20);
        mount_tmpfs(directory.path(), "64k");
        store(&snapshots, 20_000).unwrap();
        store(&snapshots, 20_000).unwrap();
        let before = names(directory.path());
        let error = store(&snapshots, 40_000).unwrap_err();
        assert!(
            error.to_string().contains("cannot be written: No space left"),
            "{error}"
        );
        assert_eq!(names(directory.path()), before);
        store(&snapshots, 10_000).unwrap();
        assert_eq!(serials(directory.path()), [2, 3]);
    });
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let (directory, _) = directory(1, 1);
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = store(&Snapshots::new(file.join("sub"), 1, 100), 1).unwrap_err();
    assert!(
        error.to_string().contains("/file/sub cannot be written"),
        "{error}"
    );
}

#[test]
fn the_last_serial_number_is_said_to_be_the_last() {
    let (directory, snapshots) = directory(1, 10);
    let last = format!("ldrscope-{STAMP}-signal-{}.json", u32::MAX);
    fs::write(directory.path().join(&last), "").unwrap();
    let error = store(&snapshots, 1).unwrap_err();
    assert!(error.to_string().contains(&last), "{error}");
}
