//! A process by its directory in `/proc` (proc(5)), and signals to it.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Sends the process `pid` a signal.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| io::Error::other(format!("{pid} is no process id")))?;
    kill_process(number, signal)
        .map_err(|error| io::Error::other(format!("process {pid} cannot be sent {signal:?}: {error}")))
}

/// Has the process `pid` stand still while `act` runs, and go on whatever came of that.
pub fn while_stopped<T, E: From<io::Error>>(pid: u32, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    signal(pid, Signal::STOP)?;
    let result = act();
    signal(pid, Signal::CONT)?;
    result
}

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
    /// That of several processes together.
    pub fn of_all(pids: &[u32]) -> io::Result<Self> {
        let mut sum = Self {
            resident_kib: 0,
            own_kib: 0,
            peak_kib: 0,
            threads: 0,
            descriptors: 0,
        };
        for pid in pids {
            let one = Self::of(*pid)?;
            sum.resident_kib += one.resident_kib;
            sum.own_kib += one.own_kib;
            sum.peak_kib += one.peak_kib;
            sum.threads += one.threads;
            sum.descriptors += one.descriptors;
        }
        Ok(sum)
    }

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

/// The children of the process `pid`, which has one thread.
pub fn children(pid: u32) -> io::Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let pids = children.split_ascii_whitespace().map(str::parse);
    pids.collect::<Result<_, _>>().map_err(io::Error::other)
}

/// Whether the process `pid` runs or waits; one that has ended and was not reaped yet does not.
pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.starts_with(" Z"))
    })
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

/// The time that the process `pid` ran, all its threads together, as the scheduler counts it in nanoseconds.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = thread?.path().join("schedstat");
        let text = fs::read_to_string(&path)?;
        let field = text.split_ascii_whitespace().next().map(str::parse::<u64>);
        let Some(Ok(ran)) = field else {
            return Err(io::Error::other(format!("{} is odd: {text}", path.display())));
        };
        nanos += ran;
    }
    Ok(Duration::from_nanos(nanos))
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Footprint, cpu_ticks, cpu_time};

    #[test]
    fn this_very_process_can_be_seen() {
        let footprint = Footprint::of(std::process::id()).unwrap();
        assert!(footprint.resident_kib > 0 && footprint.peak_kib >= footprint.resident_kib);
        assert!(footprint.threads > 0 && footprint.descriptors > 2);
        assert!(cpu_ticks(std::process::id()).is_ok());
        assert!(cpu_time(std::process::id()).is_ok());
    }
}
