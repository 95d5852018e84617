//! The kernel's console: kept in a file, watched for the lines of a kernel that broke.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// What a broken kernel says. Matched as a substring, since time stamps and CPU numbers come before.
const TROUBLE: &[&str] = &[
    "Kernel panic - not syncing",
    "Oops: ",
    "] BUG: ",
    "kernel BUG at ",
    "general protection fault",
    "soft lockup",
    "hard LOCKUP",
    "blocked for more than",
    "rcu: INFO: ",
    "Unable to mount root fs",
];

/// Whether `line` of a kernel's console says that the kernel broke.
pub(crate) fn is_trouble(line: &str) -> bool {
    TROUBLE.iter().any(|marker| line.contains(marker))
}

/// The file that a console is kept in while the lab runs; deleted when dropped, unless kept.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    kept: bool,
}

impl Log {
    /// A log in `directory`, with a name of this process's own.
    pub(crate) fn create(directory: &Path, series: &str) -> Result<(Self, File)> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let path = directory.join(format!("console-{series}-{}.log", std::process::id()));
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok((Self { path, kept: false }, file))
    }

    /// Leaves the file in place and says where.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.kept = true;
        self.path.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if !self.kept {
            // A log that cannot be deleted does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Copies `console` to `log` until it ends, and calls `on_trouble` with every line that [`is_trouble`].
pub(crate) fn watch(console: impl Read, mut log: File, mut on_trouble: impl FnMut(String)) {
    let mut console = BufReader::new(console);
    let mut line = Vec::new();
    while matches!(console.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        // The disk being full must not end the run: the log is for reading afterwards only.
        let _ = writeln!(log, "{text}");
        if is_trouble(text) {
            on_trouble(text.to_owned());
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_from_talk() {
        assert!(is_trouble(
            "[    4.1] Kernel panic - not syncing: sysrq triggered crash"
        ));
        assert!(is_trouble(
            "[   31.2] watchdog: BUG: soft lockup - CPU#0 stuck for 26s!"
        ));
        assert!(is_trouble("[    4.1] Oops: 0002 [#1] PREEMPT SMP NOPTI"));
        assert!(!is_trouble("[    0.0] DEBUG: printk enabled"));
        assert!(!is_trouble("[    1.5] kvm: Nested Paging enabled"));
    }

    #[test]
    fn a_console_is_logged_without_carriage_returns() {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, file) = Log::create(directory.path(), "6.1").unwrap();
        let mut seen = Vec::new();
        watch(&b"one\r\n[1.2] BUG: two\r\nthree"[..], file, |line| {
            seen.push(line)
        });
        assert_eq!(seen, ["[1.2] BUG: two"]);
        let path = log.keep();
        drop(log);
        assert_eq!(fs::read_to_string(path).unwrap(), "one\n[1.2] BUG: two\nthree\n");
    }
}
