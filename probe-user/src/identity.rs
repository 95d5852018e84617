//! Who a VM is to people: its name, UUID, VMM and process.
//!
//! The kernel knows a VM by its process alone; the rest comes from that process's command line. Parsing
//! ([`cmdline`], [`process`]) is pure and takes hostile bytes; reading `/proc` is a thin edge behind
//! [`ProcessSource`]. What was once known about a VM is kept when its process is gone.

pub mod cgroup;
pub mod cmdline;
pub mod filter;
pub mod finding_id;
pub mod libvirt;
pub mod process;
pub mod text;

use self::process::{Process, ProcessSource};

/// A VM's identity as far as it is known. Every text in it is hostile: escape it before showing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmIdentity {
    /// The VMM's name for the VM, else the process's comm, else `pid PID`.
    pub name: String,
    /// Canonical lower-case UUID, where the VMM was given one.
    pub uuid: Option<String>,
    /// `qemu`, `firecracker`, `cloud-hypervisor`, `crosvm`, `kvmtool`, or the comm of the process.
    pub vmm: String,
    /// Process id in the initial pid namespace; `None` only until the owner has been reported.
    pub pid: Option<u32>,
    /// The process's start time in clock ticks after boot (`/proc/PID/stat`, field 22).
    pub start_time: Option<u64>,
    /// Tells apart the VMs of one process. For ids only, never shown.
    pub discriminator: String,
}

impl VmIdentity {
    /// The identity of a VM whose owner has not been reported yet.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            name: "unknown".to_owned(),
            uuid: None,
            vmm: "unknown".to_owned(),
            pid: None,
            start_time: None,
            discriminator: String::new(),
        }
    }

    /// Looks up the owner `pid`. Where its process is gone already, keeps what this identity knew about the
    /// same process, and falls back to `pid PID`.
    #[must_use]
    pub fn resolved(&self, pid: u32, discriminator: String, source: &dyn ProcessSource) -> Self {
        match source.read(pid) {
            Some(process) => Self::of(pid, discriminator, &process),
            None if self.pid == Some(pid) => Self {
                discriminator,
                ..self.clone()
            },
            None => Self {
                name: format!("pid {pid}"),
                pid: Some(pid),
                discriminator,
                ..Self::unknown()
            },
        }
    }

    fn of(pid: u32, discriminator: String, process: &Process) -> Self {
        let words = cmdline::parse(&process.cmdline, &process.comm, None);
        let comm = Some(&process.comm).filter(|comm| !comm.is_empty());
        Self {
            name: words
                .name
                .or_else(|| comm.cloned())
                .unwrap_or_else(|| format!("pid {pid}")),
            uuid: words.uuid,
            vmm: words
                .vmm
                .map(str::to_owned)
                .or_else(|| comm.cloned())
                .unwrap_or_else(|| "unknown".to_owned()),
            pid: Some(pid),
            start_time: Some(process.start_time),
            discriminator,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    impl ProcessSource for HashMap<u32, Process> {
        fn read(&self, pid: u32) -> Option<Process> {
            self.get(&pid).cloned()
        }
    }

    fn process(cmdline: &[u8], comm: &str) -> Process {
        Process {
            cmdline: cmdline.to_vec(),
            comm: comm.to_owned(),
            start_time: 77,
        }
    }

    #[test]
    fn a_qemu_is_named_by_its_command_line() {
        let host = HashMap::from([(
            9,
            process(b"qemu-system-x86_64\0-name\0guest=web,debug-threads=on\0", "q"),
        )]);
        let vm = VmIdentity::unknown().resolved(9, "9-11".to_owned(), &host);
        assert_eq!(
            (vm.name.as_str(), vm.vmm.as_str(), vm.pid),
            ("web", "qemu", Some(9))
        );
        assert_eq!(vm.start_time, Some(77));
    }

    #[test]
    fn any_other_vmm_is_named_by_its_comm() {
        let host = HashMap::from([(9, process(b"/opt/my-vmm\0--name\0x\0", "my-vmm"))]);
        let vm = VmIdentity::unknown().resolved(9, String::new(), &host);
        assert_eq!((vm.name.as_str(), vm.vmm.as_str()), ("my-vmm", "my-vmm"));
    }

    #[test]
    fn what_was_known_outlives_the_process_and_a_stranger_is_named_by_its_pid() {
        let host = HashMap::from([(9, process(b"firecracker\0--id\0f1\0", "firecracker"))]);
        let known = VmIdentity::unknown().resolved(9, "a".to_owned(), &host);
        let empty = HashMap::new();
        assert_eq!(known.resolved(9, "a".to_owned(), &empty), known);
        assert_eq!(known.resolved(10, "b".to_owned(), &empty).name, "pid 10");
    }
}
