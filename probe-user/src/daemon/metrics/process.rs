//! What this process uses of the host, under the names that Prometheus' client libraries share.
//!
//! Read from `/proc/self` through descriptors that are opened once, by the process that is meant: they go on telling
//! after a sandbox has closed the way to `/proc`.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use rustix::{
    fs::Dir,
    process::{Resource, getrlimit},
};

use super::family::{Family, count};
use crate::clock::WallClock;

/// `USER_HZ` (asm-generic/param.h): the unit of times in `/proc`, the same on every x86 kernel.
const TICKS_PER_SECOND: f64 = 100.0;
/// The unit of `rss`.
const PAGE_BYTES: u64 = 4096;
/// `/proc/self/stat` has some 300 bytes.
const STAT_BYTES: usize = 4096;

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessStats {
    /// User and system time in seconds.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors; `None` where they cannot be counted.
    pub open_fds: Option<u64>,
    /// How many it may open; `None` for no limit.
    pub max_fds: Option<u64>,
    /// When it was started, in seconds of Unix time.
    pub start_seconds: f64,
}

/// Reads [`ProcessStats`] of the process that opened it.
#[derive(Debug)]
pub struct ProcessReader {
    stat: File,
    fds: Option<Dir>,
    /// Taken once: a wall clock that is set later starts no process anew.
    wall: WallClock,
}

impl ProcessReader {
    /// Opens `/proc/self`: after the last fork, before a sandbox.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            stat: File::open("/proc/self/stat")?,
            fds: File::open("/proc/self/fd")
                .ok()
                .and_then(|fds| Dir::new(fds).ok()),
            wall: WallClock::read(),
        })
    }

    /// What the process uses now; `None` where the kernel does not tell.
    pub fn read(&mut self) -> Option<ProcessStats> {
        let mut bytes = [0; STAT_BYTES];
        let length = self.stat.read_at(&mut bytes, 0).ok()?;
        let stat = Stat::parse(bytes.get(..length)?)?;
        Some(ProcessStats {
            cpu_seconds: count(stat.cpu_ticks) / TICKS_PER_SECOND,
            resident_bytes: stat.rss_pages.saturating_mul(PAGE_BYTES),
            threads: stat.threads,
            open_fds: self.open_fds(),
            max_fds: getrlimit(Resource::Nofile).current,
            start_seconds: self.wall.unix_seconds_at_boot() + count(stat.start_ticks) / TICKS_PER_SECOND,
        })
    }

    fn open_fds(&mut self) -> Option<u64> {
        let fds = self.fds.as_mut()?;
        fds.rewind();
        let mut open = 0;
        while let Some(entry) = fds.read() {
            if !entry.ok()?.file_name().to_bytes().starts_with(b".") {
                open += 1;
            }
        }
        Some(open)
    }
}

/// The fields of `/proc/PID/stat` that are shown (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    rss_pages: u64,
}

impl Stat {
    /// The comm in field 2 may hold spaces and parentheses, so that fields are counted from the last closing one.
    fn parse(stat: &[u8]) -> Option<Self> {
        const FIELD_AFTER_COMM: usize = 3;
        let comm_end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = str::from_utf8(stat.get(comm_end + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - FIELD_AFTER_COMM)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)?.checked_add(field(15)?)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            rss_pages: field(24)?,
        })
    }
}

/// The `process_*` families.
pub(super) fn families(process: &ProcessStats) -> Vec<Family> {
    let mut families = vec![
        Family::counter(
            "process_cpu_seconds_total",
            "User and system CPU time of this process, in seconds.",
        )
        .of(process.cpu_seconds),
        Family::gauge(
            "process_resident_memory_bytes",
            "Resident memory of this process, in bytes.",
        )
        .of(count(process.resident_bytes)),
        Family::gauge(
            "process_start_time_seconds",
            "When this process was started, in seconds since the epoch.",
        )
        .of(process.start_seconds),
        Family::gauge("process_threads", "Threads of this process.").of(count(process.threads)),
    ];
    let descriptors = [
        (
            "process_open_fds",
            "File descriptors that this process has open.",
            process.open_fds,
        ),
        (
            "process_max_fds",
            "File descriptors that this process may have open.",
            process.max_fds,
        ),
    ];
    for (name, help, value) in descriptors {
        families.extend(value.map(|value| Family::gauge(name, help).of(count(value))));
    }
    families
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn fields_are_found_whatever_the_comm_holds() {
        let fields = (3..=52)
            .map(|field| field.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        let stat = Stat {
            cpu_ticks: 29,
            threads: 20,
            start_ticks: 22,
            rss_pages: 24,
        };
        for comm in ["ldrscope", ") R 1 2 (y", "\x1b"] {
            assert_eq!(
                Stat::parse(format!("7 ({comm}) {fields}\n").as_bytes()),
                Some(stat)
            );
        }
        assert_eq!(Stat::parse(b"7 (ldrscope) S 1"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn this_process_is_told_of() {
        let mut reader = ProcessReader::open().unwrap();
        let first = reader.read().unwrap();
        let held = File::open("/proc/self/stat").unwrap();
        let second = reader.read().unwrap();
        assert!(second.resident_bytes > 1 << 20, "{second:?}");
        assert!(second.threads >= 1 && second.cpu_seconds >= first.cpu_seconds);
        assert_eq!(second.start_seconds, first.start_seconds);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        assert!(
            (0.0..86_400.0).contains(&(now - second.start_seconds)),
            "{second:?}"
        );
        assert!(second.open_fds.unwrap() >= 4);
        drop(held);
    }
}
