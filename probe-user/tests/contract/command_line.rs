//! The binary itself: exit codes and where its words go. Nothing here gets as far as the kernel, except
//! `doctor`, which only looks.

use std::{
    fs::File,
    process::{Command, Output, Stdio},
};

pub(crate) fn ldrscope(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ldrscope"));
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = ldrscope(arguments).output().unwrap();
    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

#[test]
fn help_is_a_result_and_names_the_exit_codes() {
    for arguments in [
        &["--help"][..],
        &["watch", "--help"],
        &["help", "snapshot"],
        &["serve", "--help"],
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(stdout.contains("Exit codes:"), "{arguments:?}");
        assert!(!stdout.contains('\x1b'), "{arguments:?}");
    }
}

#[test]
fn wrong_usage_is_2_and_says_so_on_stderr() {
    for arguments in [
        &[][..],
        &["look"],
        &["watch", "--settle", "soon"],
        &["watch", "--hooks", "hot"],
        &["watch", "--ring-size", "3MiB"],
        &["snapshot", "--format", "pdf"],
        &["snapshot", "--settle", "1s"],
        &["deliver", "--dest", "0x100000000"],
        &["deliver", "--dest", "0-65536"],
        &["deliver", "--lowest-priority", "256"],
        &["deliver", "--dest", "9-1"],
        &["serve", "--listen", "localhost:9761"],
        &["serve", "--rate-limit", "0/s"],
        &["serve", "--no-sandbox=perhaps"],
        &["serve", "--config", "/nonexistent/ldrscope.toml"],
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn map_rules_that_do_not_exist_are_refused_with_those_that_do() {
    for verb in ["snapshot", "deliver"] {
        let (code, stdout, stderr) = run(&[verb, "--as-kvm", "newest"]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""));
        for choice in ["keep-disabled", "overwrite", "conflict-disables", "6.1"] {
            assert!(stderr.contains(choice), "{stderr}");
        }
    }
}

#[test]
fn a_configuration_is_checked_without_being_applied() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ldrscope.toml");
    let log = directory.path().join("new").join("events.jsonl");
    let check = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let words = ["serve", "--check-config", "--config", file.to_str().unwrap()];
        run(&[&words, more].concat())
    };
    let good = format!("event-log = \"{}\"\nlisten = \"none\"\n", log.display());
    let ok = format!("{}: ok\n", file.display());
    assert_eq!(check(&good, &[]), (Some(0), ok.clone(), String::new()));
    let (code, stdout, _) = check(&good, &["-v", "--listen", "127.0.0.1:1"]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with(&ok) && stdout.contains("listen = \"127.0.0.1:1\"\n"),
        "{stdout}"
    );
    assert!(stdout.contains("hooks = \"auto\"\n"), "{stdout}");

    let (code, stdout, stderr) = check(&format!("{good}setle = \"1s\"\n"), &[]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    let place = format!(
        "error[config]: {}:3: there is no key `setle`; did you mean `settle`?",
        file.display()
    );
    assert!(stderr.starts_with(&place), "{stderr}");
    assert!(stderr.contains("\n  remedy: known keys are listen, "), "{stderr}");
    let (code, _, stderr) = check("", &["--event-log", "/dev/null/events.jsonl"]);
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("error[config]: --event-log: "), "{stderr}");
    assert!(!log.parent().unwrap().exists(), "nothing is made by a check");
}

#[test]
fn doctor_prints_results_on_stdout_and_ends_with_0_or_3() {
    let (code, stdout, stderr) = run(&["doctor"]);
    assert_eq!(stderr, "");
    let able = stdout.ends_with("This host can be watched.\n");
    assert_eq!(code, Some(if able { 0 } else { 3 }));
    assert_eq!(able, !stdout.contains("blocked "));
    assert!(stdout.contains("kernel: "));
}

#[test]
fn an_output_that_is_full_is_3_with_its_word() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = ldrscope(&["doctor", "--format", "json"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .starts_with("error[output]: ")
    );
}

#[test]
fn an_output_that_nobody_reads_is_0() {
    let mut child = ldrscope(&["doctor"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stderr.is_empty());
}
