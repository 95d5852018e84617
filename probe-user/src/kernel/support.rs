//! Facts about this host, without an opinion: what the kernel is, what it allows, where KVM stands.
//!
//! [`super::preflight`] decides on them, `doctor` shows them. Whatever cannot be read is "not known", never
//! a guess. Reading them is [`probe`]'s business.

mod file;
mod probe;
mod surroundings;

use std::{fs, os::unix::fs::MetadataExt as _};

pub use surroundings::ProcMount;

/// Where the kernel's own types are.
pub const VMLINUX_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Where those of the kvm module are.
pub const KVM_BTF: &str = "/sys/kernel/btf/kvm";

/// Tells one load of KVM's modules, common and vendor's, from the next, and whether their device is there: the inodes of their
/// directories in sysfs, which are never used again. Of what is not loaded, or built into the kernel and bare of parameters,
/// there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvmInstance([Option<u64>; 4]);

impl KvmInstance {
    /// The present one.
    #[must_use]
    pub fn present() -> Self {
        let inode = |module| fs::metadata(module).ok().map(|directory| directory.ino());
        Self(
            [
                "/sys/module/kvm",
                "/sys/module/kvm_amd",
                "/sys/module/kvm_intel",
                "/sys/class/misc/kvm",
            ]
            .map(inode),
        )
    }
}

/// What a host is and allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSupport {
    /// `uname -r`.
    pub release: String,
    /// `uname -m`.
    pub machine: String,
    /// The effective uid.
    pub uid: u32,
    /// The effective capabilities.
    pub capabilities: Capabilities,
    /// Those that this process and its programs could have at most; `None` where not known.
    pub bounding: Option<Capabilities>,
    /// Whether this is the initial user namespace, in which alone they count; `None` where not known.
    pub initial_user_namespace: Option<bool>,
    /// Whether this is the initial pid namespace; `None` where not known.
    pub initial_pid_namespace: Option<bool>,
    /// What the kernel says about its lockdown; `None` where it does not.
    pub lockdown: Option<Lockdown>,
    /// Whether a program that reads kernel memory may be loaded; `None` where it was not tried, for want of
    /// capabilities.
    pub kernel_reads: Option<bool>,
    /// Whether the kernel has kprobes (perf's `kprobe` event source, kernels from 4.17 on).
    pub kprobes: bool,
    /// Where KVM stands.
    pub kvm: Kvm,
    /// Which of KVM's vendor modules is there.
    pub vendor: Vendor,
    /// Whether `/dev/kvm` may be opened.
    pub kvm_device: Device,
    /// Whether KVM lets hardware virtualize APICs (APICv, AVIC); `None` where its module does not say.
    pub apic_virtualization: Option<bool>,
    /// Whether KVM picks one of several lowest-priority targets by the vector (parameter `vector_hashing`); `None`
    /// where its module does not say.
    pub vector_hashing: Option<bool>,
    /// Whether [`VMLINUX_BTF`] is there.
    pub vmlinux_btf: bool,
    /// Whether [`KVM_BTF`] is there.
    pub kvm_btf: bool,
    /// `kernel.kptr_restrict`.
    pub kptr_restrict: Option<i32>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i32>,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<i32>,
    /// `kernel.bpf_stats_enabled`.
    pub bpf_stats: Option<i32>,
    /// The soft limit of locked memory in bytes; `None` for no limit.
    pub memlock: Option<u64>,
    /// Whether seccomp's filters can be used; `None` where the kernel does not say.
    pub seccomp: Option<bool>,
    /// The systemd unit that this process is the service of.
    pub unit: Option<String>,
    /// What is hidden of `/proc`.
    pub proc_mount: ProcMount,
    /// Whether tracefs is mounted and readable.
    pub tracefs: bool,
    /// Whether debugfs is mounted and readable.
    pub debugfs: bool,
}

/// The capabilities that matter (capabilities(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `CAP_SYS_ADMIN`.
    pub sys_admin: bool,
    /// `CAP_SYSLOG`: without it the kernel can hide its addresses.
    pub syslog: bool,
    /// `CAP_PERFMON`.
    pub perfmon: bool,
    /// `CAP_BPF`.
    pub bpf: bool,
    /// `CAP_SYS_RESOURCE`: limits may be raised.
    pub sys_resource: bool,
}

/// The kernel's lockdown (kernel_lockdown(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// None.
    None,
    /// Integrity: nothing that ldrscope needs is refused.
    Integrity,
    /// Confidentiality: reading kernel memory is refused, even to root.
    Confidentiality,
}

/// Where KVM stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kvm {
    /// There is none and can be none.
    Absent,
    /// It could be loaded.
    NotLoaded,
    /// It is ready, as a module.
    Module,
    /// It is ready, built into the kernel.
    BuiltIn,
}

/// KVM's vendor half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// `kvm_amd`.
    Amd,
    /// `kvm_intel`.
    Intel,
    /// None, or another.
    Unknown,
}

impl Vendor {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd => "amd",
            Self::Intel => "intel",
            Self::Unknown => "unknown",
        }
    }
}

/// A device file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// It is not there.
    Missing,
    /// It is there and may not be used.
    Refused,
    /// It may be used.
    Usable,
}

impl KernelSupport {
    /// Major and minor number of the release; `None` where it does not begin with them.
    #[must_use]
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release.split(|character: char| !character.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

impl Capabilities {
    /// Whether bpf(2) lets tracing programs through at all.
    #[must_use]
    pub const fn may_load(&self) -> bool {
        self.sys_admin || (self.bpf && self.perfmon)
    }
}

#[cfg(test)]
impl KernelSupport {
    /// A host on which everything works: tests take one thing away.
    pub(crate) fn capable() -> Self {
        let every = Capabilities {
            sys_admin: true,
            syslog: true,
            perfmon: true,
            bpf: true,
            sys_resource: true,
        };
        Self {
            release: "6.1.0-56-amd64".to_owned(),
            machine: "x86_64".to_owned(),
            uid: 0,
            capabilities: every,
            bounding: Some(every),
            initial_user_namespace: Some(true),
            initial_pid_namespace: Some(true),
            lockdown: Some(Lockdown::Integrity),
            kernel_reads: Some(true),
            kprobes: true,
            kvm: Kvm::Module,
            vendor: Vendor::Amd,
            kvm_device: Device::Usable,
            apic_virtualization: Some(false),
            vector_hashing: Some(true),
            vmlinux_btf: true,
            kvm_btf: true,
            kptr_restrict: Some(0),
            perf_event_paranoid: Some(3),
            unprivileged_bpf_disabled: Some(2),
            bpf_stats: Some(0),
            memlock: None,
            seccomp: Some(true),
            unit: None,
            proc_mount: ProcMount::default(),
            tracefs: true,
            debugfs: true,
        }
    }
}
