//! `reproduce` as a user calls it: what it prints is C that a compiler takes without a warning, whatever names it holds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::command_line::run;

fn example(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    path.join(name).display().to_string()
}

/// A snapshot of the shipped recording, at the moment at which the guest's interrupt is stolen.
fn stolen() -> Value {
    let recording = example("kdump-2019-on-6.1.ldrrec");
    let (code, document, stderr) = run(&[
        "snapshot", "--format", "json", "--from", &recording, "--at", MOMENT,
    ]);
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&document).unwrap()
}

const MOMENT: &str = "2026-11-26T01:21:35Z";

/// Compiles `program` with every warning an error, and does not link it.
fn compile(directory: &Path, program: &str) {
    let source = directory.join("reproduce.c");
    fs::write(&source, program).unwrap();
    for standard in ["c99", "gnu17"] {
        let said = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-D_GNU_SOURCE"])
            .arg(format!("-std={standard}"))
            .arg(&source)
            .output()
            .unwrap();
        assert!(
            said.status.success(),
            "{}\n{program}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

#[test]
fn a_recording_becomes_a_program_that_names_the_stolen_interrupt() {
    let directory = tempfile::tempdir().unwrap();
    let recording = example("kdump-2019-on-6.1.ldrrec");
    let (code, program, stderr) = run(&["reproduce", "--from", &recording, "--at", MOMENT]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    compile(directory.path(), &program);
    assert!(program.contains("#define DEST 0x1u"), "{program}");
    assert!(program.contains("#define VECTOR 0x30u"), "{program}");
    assert!(program.contains("ioapic 2 aims there"), "{program}");
    assert!(
        program.contains(" * Finding: critical ldr-collision: slot 0"),
        "{program}"
    );

    let snapshot = directory.path().join("stolen.json");
    fs::write(&snapshot, stolen().to_string()).unwrap();
    let of_snapshot = run(&["reproduce", "--from", snapshot.to_str().unwrap()]);
    assert_eq!(of_snapshot, (Some(0), program, String::new()));
}

#[test]
fn hostile_names_stay_in_their_comment_and_string() {
    let directory = tempfile::tempdir().unwrap();
    let mut document = stolen();
    let hostile = "*/ int x; /* ??/\n\\ \"%n\u{202e} größe */\\";
    let vm = &mut document["vms"][0];
    for part in ["name", "vmm"] {
        vm[part] = hostile.into();
    }
    for part in ["summary", "rule", "severity"] {
        vm["findings"][0][part] = hostile.into();
    }
    vm["aimed"][0]["source"] = hostile.into();
    vm["confidence"] = "uncertain".into();
    vm["map"]["agrees"] = json!(false);
    document["host"]["kernel"] = hostile.into();
    let path = directory.path().join("hostile.json");
    fs::write(&path, document.to_string()).unwrap();
    let (code, program, stderr) = run(&["reproduce", "--from", path.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        program.is_ascii() && program.contains("* / int x; / *"),
        "{program}"
    );
    assert_eq!(program.matches(" * Beware: ").count(), 2, "{program}");
    compile(directory.path(), &program);
}

#[test]
fn what_is_asked_wrongly_or_cannot_be_is_told_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let mut document = stolen();
    let path = directory.path().join("a.json");
    let refused = |document: &Value, arguments: &[&str], code: i32, expected: &str| {
        fs::write(&path, document.to_string()).unwrap();
        let (ended, stdout, stderr) =
            run(&[&["reproduce", "--from", path.to_str().unwrap()], arguments].concat());
        assert_eq!((ended, stdout.as_str()), (Some(code), ""), "{stderr}");
        assert!(
            stderr.starts_with(expected) && stderr.contains("remedy: "),
            "{stderr}"
        );
    };
    refused(
        &document,
        &["--at", "1s"],
        2,
        "error[usage]: `--at` names a moment",
    );
    refused(&document, &["--vm", "nobody"], 2, "error[no-such-vm]: ");
    refused(&json!({"schema": "else"}), &[], 2, "error[bad-snapshot]: ");
    document["host"]["map_rules"] = "unknown".into();
    refused(&document, &[], 3, "error[not-reproducible]: the map rules");
    let twice = document["vms"][0].clone();
    document["vms"].as_array_mut().unwrap().push(twice);
    refused(
        &document,
        &[],
        2,
        "error[not-reproducible]: there are 2 VMs in it: ",
    );
    let ended = example("kdump-2019-on-6.1.ldrrec");
    let (code, _, stderr) = run(&["reproduce", "--from", &ended, "--physical"]);
    assert_eq!(code, Some(2), "{stderr}");
}
