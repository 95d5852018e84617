//! A process as `/proc` shows it.
//!
//! [`ProcessSource`] is the edge: the engine is tested with a table in its place. A process may end between
//! any two reads; then there is no process.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

/// What is read about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// `/proc/PID/cmdline`: NUL-separated arguments, as the process left them.
    pub cmdline: Vec<u8>,
    /// `/proc/PID/comm`, made valid UTF-8.
    pub comm: String,
    /// Start time in clock ticks after boot (`/proc/PID/stat`, field 22).
    pub start_time: u64,
}

/// Where processes are looked up.
pub trait ProcessSource {
    /// The process `pid` of the initial pid namespace, `None` if there is none (any more).
    fn read(&self, pid: u32) -> Option<Process>;
}

/// The running host's `/proc`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcFs;

/// The most that is read of one file: a VMM's command line has tens of KiB, the kernel allows megabytes.
const MAX_BYTES: u64 = 256 * 1024;

impl ProcessSource for ProcFs {
    fn read(&self, pid: u32) -> Option<Process> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let read = |name: &str| bounded_read(directory.join(name));
        let stat = read("stat").ok()?;
        let comm = read("comm").ok()?;
        // A process that has just ended or is a kernel thread has an empty command line.
        let cmdline = read("cmdline").unwrap_or_default();
        Some(Process {
            cmdline,
            comm: String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(&comm)).into_owned(),
            start_time: start_time(&stat)?,
        })
    }
}

fn bounded_read(path: PathBuf) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)). The comm in field 2 may hold spaces and parentheses, so
/// fields are counted from the last closing one.
fn start_time(stat: &[u8]) -> Option<u64> {
    const FIELD_AFTER_COMM: usize = 3;
    const START_TIME: usize = 22;
    let comm_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(&stat[comm_end + 1..]).ok()?;
    rest.split_ascii_whitespace()
        .nth(START_TIME - FIELD_AFTER_COMM)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_whatever_the_comm_holds() {
        let fields = (3..=52)
            .map(|field| field.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        for comm in ["qemu", "a b", "x) R 1 2 (y", ")", "\x1b[0m"] {
            let stat = format!("4711 ({comm}) {fields}\n");
            assert_eq!(start_time(stat.as_bytes()), Some(22), "{comm}");
        }
        assert_eq!(start_time(b"1 (\xff) S 1"), None);
        assert_eq!(start_time(b""), None);
    }

    #[test]
    fn this_process_is_found_and_one_that_cannot_exist_is_not() {
        let me = ProcFs.read(std::process::id()).unwrap();
        assert!(me.start_time > 0);
        assert!(!me.cmdline.is_empty());
        assert_eq!(ProcFs.read(u32::MAX), None);
    }
}
