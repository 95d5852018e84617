//! A process by its directory in `/proc` (proc(5)).

use std::fs;
use std::io;
use std::path::PathBuf;

/// What a process takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory in KiB.
    pub resident_kib: u64,
    /// What of it is the process's own in KiB: no file's pages, no pages shared with the kernel, such as a ring's.
    pub own_kib: u64,
    /// The most that it ever was, in KiB.
    pub peak_kib: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Footprint {
    /// That of the process `pid`.
    pub fn of(pid: u32) -> io::Result<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let status = fs::read_to_string(directory.join("status"))?;
        let field = |name: &str| {
            number_after(&status, name)
                .ok_or_else(|| io::Error::other(format!("/proc/{pid}/status has no {name}")))
        };
        Ok(Self {
            resident_kib: field("VmRSS:")?,
            own_kib: field("RssAnon:")?,
            peak_kib: field("VmHWM:")?,
            threads: field("Threads:")?,
            descriptors: fs::read_dir(directory.join("fd"))?.count() as u64,
        })
    }
}

/// User and system time of the process `pid`, all its threads together, in clock ticks of 10 ms.
pub fn cpu_ticks(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Fields 14 and 15; the name in field 2 may hold anything, so counted from behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut ticks = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    match (ticks.next(), ticks.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(user + system),
        _ => Err(io::Error::other(format!("/proc/{pid}/stat is odd: {stat}"))),
    }
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Footprint, cpu_ticks};

    #[test]
    fn this_very_process_can_be_seen() {
        let footprint = Footprint::of(std::process::id()).unwrap();
        assert!(footprint.resident_kib > 0 && footprint.peak_kib >= footprint.resident_kib);
        assert!(footprint.threads > 0 && footprint.descriptors > 2);
        assert!(cpu_ticks(std::process::id()).is_ok());
    }
}
