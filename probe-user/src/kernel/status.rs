//! What the kernel says about this process: its sets of capabilities and how it is confined (`/proc/self/status`).

use std::{fs, io};

use rustix::thread::CapabilitySet;

/// The lines of `/proc/PID/status` that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStatus {
    /// How many threads the process has.
    pub threads: u32,
    /// What programs that it executes may inherit.
    pub inheritable: CapabilitySet,
    /// What it may take into use.
    pub permitted: CapabilitySet,
    /// What it has in use.
    pub effective: CapabilitySet,
    /// What programs that it executes can have at most.
    pub bounding: CapabilitySet,
    /// What programs that it executes have without further ado.
    pub ambient: CapabilitySet,
    /// Whether no program that it executes can gain a privilege.
    pub no_new_privs: bool,
    /// How seccomp confines it: 0 not at all, 2 by filters. Kernels without it say nothing, which counts as 0.
    pub seccomp: u32,
}

impl ProcessStatus {
    /// Of this process.
    ///
    /// # Errors
    ///
    /// Where `/proc/self/status` cannot be read or lacks a line.
    pub fn read() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/self/status")?;
        Self::parse(&text).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "/proc/self/status lacks a line about capabilities",
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        let number = |name: &str| value(name)?.parse().ok();
        let set = |name: &str| {
            let bits = u64::from_str_radix(value(name)?, 16).ok()?;
            Some(CapabilitySet::from_bits_retain(bits))
        };
        Some(Self {
            threads: number("Threads:")?,
            inheritable: set("CapInh:")?,
            permitted: set("CapPrm:")?,
            effective: set("CapEff:")?,
            bounding: set("CapBnd:")?,
            ambient: set("CapAmb:")?,
            no_new_privs: number("NoNewPrivs:")? == 1,
            seccomp: number("Seccomp:").unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t0\t0\t0\t0\nThreads:\t3\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\n\
                          CapEff:\t000000c000000000\nCapBnd:\t0000000400200000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n\
                          Seccomp:\t2\nSeccomp_filters:\t1\n";

    #[test]
    fn every_set_is_read_from_its_own_line() {
        let status = ProcessStatus::parse(STATUS).unwrap();
        assert_eq!(status.threads, 3);
        assert_eq!(status.effective, CapabilitySet::BPF | CapabilitySet::PERFMON);
        assert_eq!(status.bounding, CapabilitySet::SYSLOG | CapabilitySet::SYS_ADMIN);
        assert_eq!(status.permitted.bits(), 0x1ff_ffff_ffff);
        assert!(status.inheritable.is_empty() && status.ambient.is_empty());
        assert!(status.no_new_privs);
        assert_eq!(status.seccomp, 2);
    }

    #[test]
    fn a_status_without_capabilities_is_not_taken_for_none_held() {
        assert_eq!(ProcessStatus::parse("Name:\tx\nThreads:\t1\n"), None);
    }
}
