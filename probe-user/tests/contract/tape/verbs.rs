//! The verbs about recordings, as a user calls them: whole, cut, damaged and made up.

use std::fs;

use recording::Flags;
use serde_json::Value;

use super::{Stage, story};
use crate::{command_line::run, schema::hold};

/// The verbs themselves, without privileges, on this very machine.
#[test]
fn the_verbs_take_a_recording_whole_cut_or_damaged() {
    let (told, recording) = story(Stage::new(None, false));
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let whole = file("whole.ldrrec", &recording);
    assert_eq!(
        run(&["replay", &whole, "--format", "jsonl"]),
        (Some(0), told.clone(), String::new())
    );

    let (code, text, stderr) = run(&["replay", &whole, "--speed", "1000x"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(text.contains("raised     web (pid 100)"), "{text}");

    let cut = file("cut.ldrrec", &recording[..recording.len() * 9 / 10]);
    let (code, stdout, stderr) = run(&["replay", &cut, "--format", "jsonl"]);
    assert_eq!(code, Some(0));
    assert!(
        stderr.contains("cut.ldrrec was cut: it ends after byte "),
        "{stderr}"
    );
    let (last, before) = stdout.trim_end().rsplit_once('\n').map(|(a, b)| (b, a)).unwrap();
    assert!(told.starts_with(before), "{stdout}");
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["status"], "recording-cut");
    hold(&last);

    let mut changed = recording.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let damaged = file("damaged.ldrrec", &changed);
    let (code, stdout, stderr) = run(&["replay", &damaged, "--format", "jsonl"]);
    assert_eq!(code, Some(3));
    assert!(told.starts_with(&stdout), "{stdout}");
    assert!(stderr.starts_with("error[recording-damaged]: "), "{stderr}");
    assert!(
        stderr.contains("is damaged in bytes ") && stderr.contains("\n  remedy: "),
        "{stderr}"
    );

    let (code, stdout, _) = run(&["snapshot", "--from", &whole, "--format", "json", "--at", "749ms"]);
    assert_eq!(code, Some(0));
    let snapshot: Value = serde_json::from_str(&stdout).unwrap();
    hold(&snapshot);
    assert_eq!(snapshot["taken_at"], "2023-11-14T22:13:20.750000Z");
    assert_eq!(snapshot["vms"][0]["name"], "web");
    assert_eq!(snapshot["vms"][0]["aimed"][0]["index"], 2);

    let (code, stdout, _) = run(&[
        "deliver", "--from", &whole, "--at", "749ms", "--vm", "web", "--format", "json",
    ]);
    assert_eq!(code, Some(0));
    hold(&serde_json::from_str(&stdout).unwrap());

    let (code, stdout, _) = run(&["check", "--from", &whole, "--at", "749ms"]);
    assert_eq!(code, Some(2), "{stdout}");
    let (code, stdout, _) = run(&["check", "--from", &whole]);
    assert_eq!(code, Some(0), "{stdout}");
}

#[test]
fn what_cannot_be_replayed_is_said_with_its_word() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("odd.ldrrec");
    let name = path.to_str().unwrap();
    let replayed = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let (code, stdout, stderr) = run(&["replay", name]);
        assert_eq!(stdout, "");
        let (word, _) = stderr.split_once("]: ").unwrap();
        (code, word.to_owned())
    };
    assert_eq!(replayed(b"{}"), (Some(3), "error[no-recording".to_owned()));
    assert_eq!(replayed(b""), (Some(3), "error[no-recording".to_owned()));
    let mut later = recording::file_header(Flags::default());
    later[8] = 3;
    // CRC-32 of the twelve bytes before it.
    let crc = crc_of(&later[..12]);
    later[12..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(replayed(&later), (Some(3), "error[recording-version".to_owned()));
    let (code, _, stderr) = run(&["replay", "/nonexistent/web.ldrrec"]);
    assert_eq!(code, Some(3));
    assert!(stderr.starts_with("error[recording]: "), "{stderr}");

    let (_, recording) = story(Stage::new(None, false));
    fs::write(&path, &recording).unwrap();
    let (code, _, stderr) = run(&["replay", name, "--vm", "db"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("no VM matches `db`: there are "), "{stderr}");
    let (code, _, stderr) = run(&["snapshot", "--from", name, "--at", "2020-01-01T00:00:00Z"]);
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("error[no-such-moment]: "), "{stderr}");
    let (code, stdout, _) = run(&["check", "--from", "/nonexistent"]);
    assert_eq!(code, Some(3));
    assert!(stdout.contains("UNKNOWN"), "{stdout}");
    for wrong in [
        &["snapshot", "--at", "90s"][..],
        &["snapshot", "--from", name, "--hooks", "cold"],
        &["replay", name, "--speed", "fast"],
        &["replay"],
    ] {
        assert_eq!(run(wrong).0, Some(2), "{wrong:?}");
    }
}

/// CRC-32 (IEEE 802.3), bit by bit.
fn crc_of(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
