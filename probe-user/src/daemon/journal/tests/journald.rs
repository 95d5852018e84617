//! The real journald, in a mount namespace with a `/run` of its own, read back by journalctl.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use probe_apic::{finding::Severity, id::BootTime, tracker::ChangeKind};
use rustix::{
    mount::mount_bind,
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;

use super::{Entry, HOSTILE, WALL, assert_is_the_collision, collision, numbered};
use crate::daemon::{
    journal::{Journal, SOCKET},
    namespace::{in_mount_namespace, mount_tmpfs},
};

const JOURNALD: &str = "/usr/lib/systemd/systemd-journald";

struct Journald(Child);

impl Journald {
    fn start() -> Self {
        let child = Command::new(JOURNALD)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let journald = Self(child);
        for _ in 0..500 {
            if Journal::is_there(Path::new(SOCKET)) {
                return journald;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("journald did not start");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, signal).unwrap();
    }

    /// Ends it in order, so that all that it took is in its files.
    fn stop(mut self) {
        self.signal(Signal::TERM);
        self.0.wait().unwrap();
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
    }
}

/// Every entry of ours in order, as journalctl reads them.
fn entries() -> Vec<Entry> {
    let output = Command::new("journalctl")
        .args(["-D", "/run/log/journal", "-o", "json", "--all", "--no-pager"])
        .arg("SYSLOG_IDENTIFIER=ldrscope")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let entry = |line: &str| -> Entry {
        let fields: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        fields
            .into_iter()
            .map(|(name, value)| (name, values(&value)))
            .collect()
    };
    text.lines().map(entry).collect()
}

/// A field is a string, an array of bytes where it is not fit to print, or an array of either where it came repeatedly.
fn values(value: &Value) -> Vec<String> {
    let bytes = |value: &Value| -> Option<String> {
        let bytes = value
            .as_array()?
            .iter()
            .map(|byte| u8::try_from(byte.as_u64()?).ok());
        String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
    };
    match value {
        Value::String(text) => vec![text.clone()],
        value => bytes(value).map_or_else(
            || value.as_array().unwrap().iter().flat_map(values).collect(),
            |text| vec![text],
        ),
    }
}

#[test]
fn the_real_journald_gives_back_what_it_was_told_even_after_a_sleep() {
    if !Path::new(JOURNALD).exists() {
        // The lab asks the real one in any case.
        eprintln!("not tested: there is no {JOURNALD} on this machine");
        return;
    }
    in_mount_namespace(|| {
        mount_tmpfs(Path::new("/run"), "256m");
        fs::create_dir_all("/run/systemd/journal").unwrap();
        fs::create_dir_all("/run/log/journal").unwrap();
        fs::write("/run/machine-id", "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::write("/run/none", "").unwrap();
        fs::write(
            "/run/journald.conf",
            "[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\nRateLimitIntervalSec=0\n",
        )
        .unwrap();
        for (from, to) in [
            ("/run/machine-id", "/etc/machine-id"),
            ("/run/journald.conf", "/etc/systemd/journald.conf"),
        ] {
            mount_bind(from, to).unwrap();
        }
        let mut journal = Journal::new(Path::new(SOCKET)).unwrap();
        let journald = Journald::start();
        journal.emit(
            &collision(ChangeKind::Raised, Severity::Critical, HOSTILE, 3),
            WALL,
            BootTime(0),
        );
        let mut by_file = Journal::new(Path::new(SOCKET)).unwrap();
        by_file.socket.shrink();
        by_file.emit(
            &collision(ChangeKind::Changed, Severity::Critical, HOSTILE, 4096),
            WALL,
            BootTime(0),
        );

        journald.signal(Signal::STOP);
        (0..3000).for_each(|count| journal.emit(&numbered(count), WALL, BootTime(0)));
        let lost = journal.losses();
        assert!(lost > 0);
        journald.signal(Signal::CONT);
        for _ in 0..1000 {
            if journal.flush(WALL, BootTime(0)) {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        journald.stop();

        let entries = entries();
        assert_is_the_collision(&entries[0]);
        assert_eq!(entries[1]["EVENT"], ["changed"]);
        assert_eq!(entries[1]["VCPU"].len(), 512);
        let count = |entry: &Entry| entry["RECORDS"][0].parse::<u64>().unwrap();
        let told: Vec<u64> = entries[2..].iter().map(count).collect();
        assert!(
            told.iter().copied().eq((0..3000 - lost).chain([lost])),
            "{told:?}"
        );
        assert_eq!(
            entries.last().map(|entry| entry["STATUS"][0].as_str()),
            Some("output-lost")
        );
    });
}
