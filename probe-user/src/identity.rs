//! Who a VM is to people: its name, UUID, VMM and process, and what it belongs to.
//!
//! The kernel knows a VM by its process alone; the rest comes from that process's command line ([`cmdline`]), its
//! control group ([`cgroup`]) and libvirt's run-time file ([`libvirt`]), put together by [`naming`]. All of these are
//! pure and take hostile bytes; reading files is a thin edge behind [`ProcessSource`].
//!
//! # Never another VM's
//!
//! A pid is used again, so a process is a pid *and* a start time. A process that started after its VM cannot have made
//! it; one whose start time is another than at first, or that was not there at first, is another process. In all
//! these cases what was known stays.
//!
//! # What is read when
//!
//! A VM is looked up when it is born or found, once more when it is first read (KVM then has its name in debugfs),
//! and where the kernel names another owner. Within milliseconds of its birth, that is: what a VMM calls itself later,
//! by execve(2), prctl(2) or by overwriting its arguments, is not followed. A later look at the same process that
//! finds less than the one before, such as the empty command line of one that is ending, takes nothing away.

pub mod cgroup;
pub mod cmdline;
pub mod filter;
pub mod finding_id;
pub mod libvirt;
mod naming;
pub mod process;
#[cfg(test)]
mod tests;
pub mod text;

use probe_apic::id::BootTime;

pub use self::naming::NamedBy;
use self::process::{Process, ProcessSource};

/// A VM's identity as far as it is known. Every text in it is hostile: escape it before showing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmIdentity {
    /// What people call it: `NAMESPACE/NAME` under KubeVirt, Nova's name, else the VMM's or libvirt's, else the
    /// process's comm, else `pid PID`.
    pub name: String,
    /// Who gave it that name.
    pub named_by: NamedBy,
    /// Canonical lower-case UUID, where the VMM was given one.
    pub uuid: Option<String>,
    /// `qemu`, `firecracker`, `cloud-hypervisor`, `crosvm`, `kvmtool`, or the comm of the process.
    pub vmm: String,
    /// Process id in the initial pid namespace; `None` only until the owner has been reported.
    pub pid: Option<u32>,
    /// The process's start time in clock ticks after boot (`/proc/PID/stat`, field 22); `None` where it was gone.
    pub start_time: Option<u64>,
    /// What the VM is part of, for labels and fields that join with others' data.
    pub belongs: Box<Belongs>,
    /// Tells apart the VMs of one process. For ids only, never shown.
    pub discriminator: String,
    /// Another VM of this host has the same UUID and had it first, as while a VM migrates within its host.
    pub twin: bool,
    /// The id by which the kernel named the owner; a thread's where that made the VM.
    pub owner: Option<u32>,
    /// When the VM was born or found: its process is older. `None` where that is not known.
    pub seen_at: Option<BootTime>,
}

/// What a VM is part of, as those say who manage it. Every text in it is hostile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Belongs {
    /// libvirt's name for it: the label `domain` of libvirt's exporters.
    pub domain: Option<String>,
    /// The title that somebody gave the domain.
    pub title: Option<String>,
    /// Kubernetes namespace: the label `namespace` of `kubevirt_vmi_*`.
    pub namespace: Option<String>,
    /// Name of the VirtualMachineInstance: the label `name` of `kubevirt_vmi_*`.
    pub workload: Option<String>,
    /// UID of the pod that it runs in, KubeVirt's launcher or another.
    pub pod_uid: Option<String>,
    /// Name of the OpenStack project.
    pub project: Option<String>,
    /// Id of the OpenStack project.
    pub project_id: Option<String>,
    /// Name of the OpenStack user who made it.
    pub owner: Option<String>,
    /// systemd's unit, as systemd spells it.
    pub unit: Option<String>,
}

impl VmIdentity {
    /// The identity of a VM whose owner has not been reported yet.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            name: "unknown".to_owned(),
            named_by: NamedBy::Nobody,
            uuid: None,
            vmm: "unknown".to_owned(),
            pid: None,
            start_time: None,
            belongs: Box::default(),
            discriminator: String::new(),
            twin: false,
            owner: None,
            seen_at: None,
        }
    }

    /// The same of a VM that was born or found at `seen_at`.
    #[must_use]
    pub fn seen(seen_at: BootTime) -> Self {
        Self {
            seen_at: Some(seen_at),
            ..Self::unknown()
        }
    }

    /// Looks up the owner, whom the kernel names by `id`, a process's or a thread's. Where its process is gone
    /// already, keeps what this identity knew about the same owner, and falls back to `pid PID`.
    #[must_use]
    pub fn resolved(&self, id: u32, discriminator: String, source: &dyn ProcessSource) -> Self {
        let known = self.owner == Some(id);
        let found = source
            .read(id)
            .filter(|process| self.may_be_of(process))
            .map(|process| self.of(id, &process, source));
        let identity = match found {
            Some(found) if !known || self.is_refined_by(&found) => found,
            _ if known => self.clone(),
            _ => Self {
                name: format!("pid {id}"),
                pid: Some(id),
                owner: Some(id),
                seen_at: self.seen_at,
                ..Self::unknown()
            },
        };
        Self {
            discriminator,
            ..identity
        }
    }

    /// A process that is younger than the VM has the pid of one that is gone.
    fn may_be_of(&self, process: &Process) -> bool {
        /// What `/proc` counts in, on every x86 kernel (`USER_HZ` is 100).
        const TICK_NS: u64 = 10_000_000;
        let started = process.start_time.max(process.thread_start_time);
        self.seen_at.is_none_or(|seen_at| started <= seen_at.0 / TICK_NS)
    }

    /// Whether `found`, of the same owner, is of the same process and says no less.
    fn is_refined_by(&self, found: &Self) -> bool {
        self.start_time == found.start_time && self.named_by <= found.named_by
    }

    fn of(&self, id: u32, process: &Process, source: &dyn ProcessSource) -> Self {
        let pid = if process.pid == 0 { id } else { process.pid };
        let named = naming::name(pid, process, source);
        Self {
            name: named.name,
            named_by: named.by,
            uuid: named.uuid,
            vmm: named.vmm,
            pid: Some(pid),
            start_time: Some(process.start_time),
            belongs: Box::new(named.belongs),
            discriminator: String::new(),
            twin: false,
            owner: Some(id),
            seen_at: self.seen_at,
        }
    }
}
