//! What is attached to the kernel by anybody: kprobes, BPF programs, maps and links, and the descriptors that hold them.
//!
//! Needs root. Kernels free these things a moment after their last holder is gone: see [`Attached::await_least`].

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::bpf::{command, next_id};

/// A count of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attached {
    /// Kprobes (`/sys/kernel/debug/kprobes/list`).
    pub kprobes: usize,
    /// BPF programs that are loaded.
    pub programs: usize,
    /// BPF maps.
    pub maps: usize,
    /// BPF links.
    pub links: usize,
    /// Descriptors of perf events, of any process.
    pub perf_events: usize,
}

impl Attached {
    /// What is there now.
    pub fn now() -> io::Result<Self> {
        Ok(Self {
            kprobes: fs::read_to_string("/sys/kernel/debug/kprobes/list")?
                .lines()
                .count(),
            programs: count(command::PROG_GET_NEXT_ID)?,
            maps: count(command::MAP_GET_NEXT_ID)?,
            links: count(command::LINK_GET_NEXT_ID)?,
            perf_events: perf_events(),
        })
    }

    /// What is there once it has not become less for a while: kernels free what was let go of a moment later, and ldrscope
    /// exchanges programs up to a second after the last VM's end.
    pub fn settled() -> io::Result<Self> {
        const A_WHILE: Duration = Duration::from_millis(1500);
        let mut least = Self::now()?;
        let mut since = Instant::now();
        while since.elapsed() < A_WHILE {
            thread::sleep(Duration::from_millis(50));
            let now = Self::now()?;
            if now != least {
                (least, since) = (now, Instant::now());
            }
        }
        Ok(least)
    }

    /// Waits for at most `limit` until no more is there than `least`; what is there then.
    pub fn await_least(least: Self, limit: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + limit;
        loop {
            let now = Self::now()?;
            if now.is_at_most(least) || Instant::now() >= deadline {
                return Ok(now);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether nothing is there beyond `other`.
    pub fn is_at_most(self, other: Self) -> bool {
        self.kprobes <= other.kprobes
            && self.programs <= other.programs
            && self.maps <= other.maps
            && self.links <= other.links
            && self.perf_events <= other.perf_events
    }
}

/// How often the kernel left out a run of a BPF program that the process `pid` holds, because another one, or a look-up in
/// a map, was under way on that CPU (`recursion_misses` in its descriptors' fdinfo).
pub fn missed_runs(pid: u32) -> io::Result<u64> {
    let mut missed = 0;
    for descriptor in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let text = fs::read_to_string(descriptor?.path()).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("recursion_misses:"));
        missed += line
            .and_then(|number| number.trim().parse::<u64>().ok())
            .unwrap_or_default();
    }
    Ok(missed)
}

/// How many ids a command walks.
fn count(walk: i64) -> io::Result<usize> {
    let mut id = 0;
    let mut found = 0;
    while let Some(next) = next_id(walk, id)? {
        id = next;
        found += 1;
    }
    Ok(found)
}

fn perf_events() -> usize {
    let directories = |path: &str| fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    directories("/proc")
        .filter(|process| {
            process
                .file_name()
                .to_string_lossy()
                .starts_with(|c: char| c.is_ascii_digit())
        })
        // One that has just ended holds nothing.
        .flat_map(|process| fs::read_dir(process.path().join("fd")).into_iter().flatten())
        .filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok())
        .filter(|target| target.as_os_str() == "anon_inode:[perf_event]")
        .count()
}
