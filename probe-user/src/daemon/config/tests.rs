//! Flags and files, right and wrong.

use std::{fs, os::unix::fs::PermissionsExt as _};

use clap::Parser;
use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::cli::{Cli, Command};

fn flags(words: &[&str]) -> Serve {
    let words = ["ldrscope", "serve"].iter().chain(words);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Serve(serve) => *serve,
        _ => panic!("not serve"),
    }
}

fn surroundings(default_file: &Path) -> Surroundings {
    Surroundings {
        default_file: default_file.to_owned(),
        state_directory: None,
    }
}

/// What a file of this text and these flags come to.
fn load(text: &str, words: &[&str]) -> Result<Settings, String> {
    let directory = tempdir().unwrap();
    let file = directory.path().join("l.toml");
    fs::write(&file, text).unwrap();
    Settings::load(&flags(words), &surroundings(&file)).map_err(|error| {
        let told = format!("{error} | {}", error.remedy());
        told.replace(&directory.path().display().to_string(), "")
    })
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let told = load(text, &[]).unwrap_err();
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn without_file_and_flags_there_are_defaults() {
    let nowhere = Path::new("/nonexistent/ldrscope.toml");
    let mut surroundings = surroundings(nowhere);
    let settings = Settings::load(&flags(&[]), &surroundings).unwrap();
    assert_eq!(
        settings.to_string(),
        "listen = \"127.0.0.1:9761\"\ntextfile-interval = \"15s\"\njournal = \"auto\"\nsnapshot-dir = \"none\"\n\
         snapshot-keep = 20\nsnapshot-max-size = 67108864\n\
         recording-dir = \"none\"\nrecording-keep = 20\nrecording-max-size = 67108864\nrecording-memory = 2097152\n\
         vcpu-metrics = false\nprogram-stats = false\n\
         max-connections = 64\nsettle = \"200ms\"\nrate-limit = \"1/s\"\nno-sandbox = false\nhooks = \"auto\"\n\
         no-canary = false\nring-size = 1048576\nbpf-log = false\n"
    );
    assert_eq!(settings.file, None);
    let state = tempdir().unwrap();
    surroundings.state_directory = Some(state.path().to_owned());
    let settings = Settings::load(&flags(&[]), &surroundings).unwrap();
    assert_eq!(settings.snapshot_dir, Some(state.path().join("snapshots")));
    assert!(!state.path().join("snapshots").exists());
    assert_eq!(settings.recording_dir, Some(state.path().join("recordings")));
    settings.prepare().unwrap();
    assert!(state.path().join("snapshots").is_dir() && state.path().join("recordings").is_dir());
    let off = Settings::load(&flags(&["--snapshot-dir", "none"]), &surroundings).unwrap();
    assert_eq!(off.snapshot_dir, None);
}

#[test]
fn a_flag_beats_the_file() {
    let text = "listen = \"none\"\nvcpu-metrics = true\nno-canary = true\nsettle = 0\nvm = 42\n";
    let settings = load(text, &[]).unwrap();
    assert_eq!((settings.listen, settings.vcpu_metrics), (None, true));
    assert!(!settings.observer.canary && settings.settle.is_zero());
    assert_eq!(settings.vm.as_deref(), Some("42"));
    let words = [
        "--listen",
        "[::1]:80",
        "--vcpu-metrics=false",
        "--settle",
        "1s",
        "--no-sandbox",
    ];
    let settings = load(text, &words).unwrap();
    assert_eq!(settings.listen, Some("[::1]:80".parse().unwrap()));
    assert_eq!((settings.vcpu_metrics, settings.sandbox), (false, false));
    assert_eq!(settings.settle, Duration::from_secs(1));
}

#[test]
fn every_key_of_the_help_can_be_in_the_file_and_is_printed_as_it_was_read() {
    let directory = tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("btf"), "").unwrap();
    let text = format!(
        "listen = \"0.0.0.0:1\"\ntextfile = \"{}\"\ntextfile-interval = \"60s\"\nevent-log = \"{}\"\n\
         journal = \"off\"\nsnapshot-dir = \"{}\"\nsnapshot-keep = 3\nsnapshot-max-size = 65536\n\
         recording-dir = \"{}\"\nrecording-keep = 4\nrecording-max-size = 262144\nrecording-memory = 131072\n\
         vcpu-metrics = true\nprogram-stats = true\nmax-connections = 1\nsettle = \"1.5s\"\n\
         vm = \"w\\u001B\\\"\"\nrate-limit = \"10/m\"\nuser = \"ldrscope\"\nno-sandbox = true\nhooks = \"precise\"\n\
         no-canary = true\nbtf = \"{}\"\nring-size = 65536\nbpf-log = true\n",
        at("a.prom"),
        at("new/events.jsonl"),
        at("new/snapshots"),
        at("new/recordings"),
        at("btf"),
    );
    for key in Options::keys() {
        assert!(text.contains(&format!("{key} = ")), "{key}");
    }
    let settings = load(&text, &[]).unwrap();
    let printed = settings.to_string();
    assert_eq!(load(&printed, &[]).unwrap().to_string(), printed);
    let options = |text: &str| file::parse(Path::new("x"), text).unwrap().options;
    assert_eq!(options(&printed), options(&text));
}

#[test]
fn a_flight_recorder_that_could_never_save_is_refused() {
    let text = "recording-dir = \"/tmp\"\nrecording-memory = \"32MiB\"\n";
    assert!(load(text, &[]).is_ok());
    let error = load(text, &["--recording-max-size", "63MiB"]).unwrap_err();
    assert_eq!(
        error,
        "/l.toml:2: recordings of 33554432 bytes of memory do not fit well into 66060288 bytes | \
         make recording-max-size at least twice recording-memory"
    );
    let error = load("recording-dir = \"/tmp\"\nrecording-max-size = \"1MiB\"\n", &[]).unwrap_err();
    assert!(error.starts_with("/l.toml:2: "), "{error}");
    assert!(load("recording-max-size = \"1MiB\"\n", &[]).is_ok());
}

#[test]
fn what_is_wrong_is_told_by_its_line_with_a_remedy() {
    refused(
        "# a comment\n\nlistn = \"none\"\n",
        "/l.toml:3: there is no key `listn`; did you mean `listen`? | known keys are listen, textfile, ",
    );
    refused(
        "colour = 1\n",
        "/l.toml:1: there is no key `colour` | known keys are ",
    );
    refused(
        "\n[serve]\nlisten = \"none\"\n",
        "/l.toml:2: there are no tables, such as [serve]",
    );
    refused("config = \"x\"\n", "/l.toml:1: there is no key `config`");
    refused(
        "journal = \"auto\"\nlisten = \"localhost\"\n",
        "/l.toml:2: listen: not an address; write for example 127.0.0.1:9761, [::1]:9761 or none | \
         `ldrscope serve --help` says what listen takes",
    );
    refused(
        "settle = 5\n",
        "/l.toml:1: settle: not a duration; write for example 0, 200ms",
    );
    refused(
        "journal = \"maybe\"\n",
        "/l.toml:1: journal: not one of auto, on, off | ",
    );
    refused(
        "hooks = \"hot\"\n",
        "/l.toml:1: hooks: not one of cold, precise, auto | ",
    );
    refused(
        "vcpu-metrics = \"yes\"\n",
        "/l.toml:1: vcpu-metrics: invalid type: string \"yes\", expected a boolean",
    );
    refused(
        "listen = [1]\n",
        "/l.toml:1: listen: invalid type: sequence, expected a text or a number",
    );
    refused(
        "snapshot-keep = 0\n",
        "/l.toml:1: snapshot-keep: not a number from 1 to 10000",
    );
    refused("user = \"\"\n", "/l.toml:1: an empty name | ");
    refused(
        "listen = \"none\"\nlisten = 7\n",
        "/l.toml:2: duplicate key: `listen = 7`",
    );
    refused("listen = none\n", "/l.toml:1: ");
    refused("listen = \"none\n", "/l.toml:1: ");
    refused("= \u{1b}\n", "/l.toml:1: ");
}

#[test]
fn a_named_file_must_be_there_and_be_a_text() {
    let directory = tempdir().unwrap();
    let named = |name: &str| {
        let path = directory.path().join(name);
        let serve = flags(&["--config", path.to_str().unwrap()]);
        Settings::load(&serve, &surroundings(Path::new("/nonexistent")))
            .map(|settings| settings.file)
            .map_err(|error| error.to_string())
    };
    assert!(
        named("none")
            .unwrap_err()
            .contains("none: cannot be read: No such file")
    );
    fs::write(directory.path().join("bytes"), b"\xff\xfe").unwrap();
    assert!(named("bytes").unwrap_err().contains("bytes: cannot be read: "));
    fs::write(directory.path().join("long"), "#".repeat(2 << 20)).unwrap();
    assert!(named("long").unwrap_err().contains("long: cannot be read: "));
    assert!(named("").unwrap_err().contains("cannot be read: "));
    fs::write(directory.path().join("good"), "").unwrap();
    assert_eq!(named("good"), Ok(Some(directory.path().join("good"))));
}

#[test]
fn places_that_cannot_be_written_are_told_by_who_names_them() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let inside = at("file/x");
    for key in ["textfile", "event-log", "snapshot-dir"] {
        let told = load(&format!("\n{key} = \"{inside}\"\n"), &[]).unwrap_err();
        assert!(told.starts_with("/l.toml:2: "), "{told}");
        let told = load("", &[&format!("--{key}"), &inside]).unwrap_err();
        assert!(told.starts_with(&format!("--{key}: ")), "{told}");
        assert!(told.contains(" | name another place"), "{told}");
    }
    for key in ["textfile", "event-log"] {
        let told = load(&format!("{key} = \"{}\"", at("")), &[]).unwrap_err();
        assert!(told.contains("is not the name of a file"), "{told}");
    }
    let told = load(&format!("btf = \"{}\"", at("none")), &[]).unwrap_err();
    assert!(told.contains("cannot be read: No such file"), "{told}");
    let both = format!("textfile = \"{0}\"\nevent-log = \"{0}\"", at("one"));
    assert!(load(&both, &[]).unwrap_err().contains("is the textfile, too"));
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing was made"
    );
}

#[test]
fn a_directory_without_permission_is_refused_unless_one_is_root() {
    let directory = tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let settings = load(
        &format!("event-log = \"{}/new/log\"", directory.path().display()),
        &[],
    );
    assert_eq!(settings.is_ok(), rustix::process::geteuid().is_root());
}

proptest! {
    #[test]
    fn no_text_is_too_odd_to_be_refused_by_its_line(
        odd in ".{0,40}", at in 0..60_usize, lines in 0..3_usize
    ) {
        let good = "listen = \"none\"\nsettle = \"1s\"\nvcpu-metrics = true\nring-size = 65536\n";
        let mut text = good.to_owned();
        text.insert_str(good.floor_char_boundary(at), &odd);
        text.insert_str(0, &"\n".repeat(lines));
        if let Err(error) = file::parse(Path::new("x"), &text) {
            let told = error.to_string();
            let line = told.strip_prefix("x:").and_then(|told| told.split_once(':'));
            let line: usize = line.map(|(line, _)| line.parse().unwrap()).unwrap();
            prop_assert!((1..=text.lines().count() + 1).contains(&line), "{told}");
        }
    }
}
