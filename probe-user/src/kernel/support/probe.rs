//! Reads the facts: a thin edge over `/proc`, `/sys` and one trial load, and pure parsers.

use std::{fs, os::linux::fs::MetadataExt, path::Path};

use aya::{
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};
use rustix::{fs::Access, io::Errno, thread::CapabilitySet};

use super::{
    Capabilities, Device, KVM_BTF, KernelSupport, Kvm, Lockdown, VMLINUX_BTF, Vendor, file::read,
    surroundings,
};
use crate::kernel::status::ProcessStatus;

impl KernelSupport {
    /// Looks at the running host.
    #[must_use]
    pub fn probe() -> Self {
        let release = kernel_release();
        let status = ProcessStatus::read().ok();
        let capabilities = status
            .map(|status| Capabilities::among(status.effective))
            .unwrap_or_default();
        Self {
            machine: rustix::system::uname().machine().to_string_lossy().into_owned(),
            uid: rustix::process::geteuid().as_raw(),
            capabilities,
            bounding: status.map(|status| Capabilities::among(status.bounding)),
            initial_user_namespace: is_initial_namespace("user", 0xefff_fffd),
            initial_pid_namespace: is_initial_namespace("pid", 0xefff_fffc),
            lockdown: read("/sys/kernel/security/lockdown").and_then(|text| Lockdown::parse(&text)),
            kernel_reads: kernel_reads(capabilities),
            kprobes: Path::new("/sys/bus/event_source/devices/kprobe").exists(),
            kvm: kvm(&release),
            vendor: vendor(),
            kvm_device: device("/dev/kvm"),
            apic_virtualization: apic_virtualization(),
            vector_hashing: switch("kvm/parameters/vector_hashing"),
            vmlinux_btf: Path::new(VMLINUX_BTF).exists(),
            kvm_btf: Path::new(KVM_BTF).exists(),
            kptr_restrict: sysctl("kptr_restrict"),
            perf_event_paranoid: sysctl("perf_event_paranoid"),
            unprivileged_bpf_disabled: sysctl("unprivileged_bpf_disabled"),
            bpf_stats: sysctl("bpf_stats_enabled"),
            memlock: rustix::process::getrlimit(rustix::process::Resource::Memlock).current,
            seccomp: read("/proc/sys/kernel/seccomp/actions_avail").map(|list| has_actions(&list)),
            unit: surroundings::unit(),
            proc_mount: surroundings::ProcMount::look(),
            tracefs: fs::read_dir("/sys/kernel/tracing/events").is_ok(),
            debugfs: fs::read_dir("/sys/kernel/debug").is_ok_and(|mut entries| entries.next().is_some()),
            release,
        }
    }
}

impl Capabilities {
    /// Those of a set that matter.
    fn among(set: CapabilitySet) -> Self {
        Self {
            sys_admin: set.contains(CapabilitySet::SYS_ADMIN),
            syslog: set.contains(CapabilitySet::SYSLOG),
            perfmon: set.contains(CapabilitySet::PERFMON),
            bpf: set.contains(CapabilitySet::BPF),
            sys_resource: set.contains(CapabilitySet::SYS_RESOURCE),
        }
    }
}

impl Lockdown {
    /// The active one is in brackets: `none [integrity] confidentiality`.
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('[')?.1.split_once(']')?.0 {
            "none" => Some(Self::None),
            "integrity" => Some(Self::Integrity),
            "confidentiality" => Some(Self::Confidentiality),
            _ => None,
        }
    }
}

/// The running kernel's release, as `uname -r` prints it.
#[must_use]
fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Asks the kernel itself: a lockdown is not always declared where one could read it. Under lockdown for
/// confidentiality the helper is unknown to the verifier (`bpf_tracing_func_proto`, kernel/trace/bpf_trace.c).
fn kernel_reads(capabilities: Capabilities) -> Option<bool> {
    capabilities.may_load().then(|| {
        is_helper_supported(ProgramType::KProbe, BpfHelper::BPF_FUNC_probe_read_kernel).unwrap_or(false)
    })
}

/// KVM is ready when its vendor half has registered the device; the node in `/dev` can be there before.
fn kvm(release: &str) -> Kvm {
    if Path::new("/sys/class/misc/kvm").exists() {
        // A module that is not built in has a reference count.
        let module = Path::new("/sys/module/kvm/refcnt").exists();
        return if module { Kvm::Module } else { Kvm::BuiltIn };
    }
    let virtualizes = read("/proc/cpuinfo").is_none_or(|cpuinfo| has_virtualization(&cpuinfo));
    let listed = |name: &str| read(format!("/lib/modules/{release}/{name}")).map(|list| lists_kvm(&list));
    // Without either list (an initramfs, say) nobody can tell; a module may still be loaded by its path.
    let modules = [listed("modules.dep"), listed("modules.builtin")];
    let exists = modules.iter().all(Option::is_none) || modules.contains(&Some(true));
    if virtualizes && exists {
        Kvm::NotLoaded
    } else {
        Kvm::Absent
    }
}

/// Whether `/proc/cpuinfo` shows AMD's or Intel's virtualization to this kernel.
fn has_virtualization(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|flags| {
        flags
            .split_ascii_whitespace()
            .any(|flag| matches!(flag, "svm" | "vmx"))
    })
}

/// Whether a list of modules (one path a line, perhaps compressed, perhaps with dependencies) has kvm.
fn lists_kvm(list: &str) -> bool {
    list.lines().any(|line| {
        line.split(':')
            .next()
            .is_some_and(|path| path.contains("/kvm/kvm.ko"))
    })
}

fn vendor() -> Vendor {
    let loaded = |name: &str| Path::new("/sys/module").join(name).exists();
    match (loaded("kvm_amd"), loaded("kvm_intel")) {
        (true, false) => Vendor::Amd,
        (false, true) => Vendor::Intel,
        // Both can be built in; the one in use is the one that fits the processor.
        (true, true) => match read("/proc/cpuinfo") {
            Some(cpuinfo) if cpuinfo.contains("AuthenticAMD") || cpuinfo.contains("HygonGenuine") => {
                Vendor::Amd
            }
            Some(cpuinfo) if cpuinfo.contains("GenuineIntel") => Vendor::Intel,
            _ => Vendor::Unknown,
        },
        (false, false) => Vendor::Unknown,
    }
}

/// The vendor modules' parameters say so: kvm_intel `enable_apicv`, kvm_amd `avic`.
fn apic_virtualization() -> Option<bool> {
    switch("kvm_intel/parameters/enable_apicv").or_else(|| switch("kvm_amd/parameters/avic"))
}

/// A module's parameter that is on or off.
fn switch(path: &str) -> Option<bool> {
    let value = read(Path::new("/sys/module").join(path))?;
    Some(matches!(value.trim(), "Y" | "1"))
}

/// By asking, not by opening: a look is no use.
fn device(path: &str) -> Device {
    match rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK) {
        Ok(()) => Device::Usable,
        Err(Errno::NOENT | Errno::NOTDIR) => Device::Missing,
        Err(_) => Device::Refused,
    }
}

/// Inode numbers of the initial namespaces are fixed (include/linux/proc_ns.h, `PROC_*_INIT_INO`).
fn is_initial_namespace(kind: &str, inode: u64) -> Option<bool> {
    fs::metadata(format!("/proc/self/ns/{kind}"))
        .ok()
        .map(|namespace| namespace.st_ino() == inode)
}

/// Whether seccomp's filters can answer as ldrscope's do (all kernels from 4.14 on that have filters at all).
fn has_actions(list: &str) -> bool {
    let has = |action| list.split_ascii_whitespace().any(|listed| listed == action);
    has("kill_process") && has("errno")
}

fn sysctl(name: &str) -> Option<i32> {
    read(format!("/proc/sys/kernel/{name}"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpf_and_perfmon_together_may_load() {
        let capabilities = Capabilities::among(CapabilitySet::BPF | CapabilitySet::PERFMON);
        assert_eq!(
            capabilities,
            Capabilities {
                bpf: true,
                perfmon: true,
                ..Capabilities::default()
            }
        );
        assert!(capabilities.may_load());
        assert!(!Capabilities::among(CapabilitySet::BPF).may_load());
    }

    #[test]
    fn a_seccomp_that_cannot_kill_a_process_will_not_do() {
        assert!(has_actions(
            "kill_process kill_thread trap errno user_notif trace log allow\n"
        ));
        assert!(!has_actions("kill trap errno trace allow\n"));
    }

    #[test]
    fn the_lockdown_in_brackets_is_the_active_one() {
        assert_eq!(
            Lockdown::parse("[none] integrity confidentiality\n"),
            Some(Lockdown::None)
        );
        assert_eq!(
            Lockdown::parse("none integrity [confidentiality]\n"),
            Some(Lockdown::Confidentiality)
        );
        assert_eq!(Lockdown::parse(""), None);
    }

    #[test]
    fn kvm_is_found_in_either_list_of_modules() {
        assert!(lists_kvm(
            "kernel/arch/x86/kvm/kvm.ko.xz: kernel/virt/lib/irqbypass.ko.xz\n"
        ));
        assert!(lists_kvm("kernel/fs/ext4/ext4.ko\nkernel/arch/x86/kvm/kvm.ko\n"));
        assert!(!lists_kvm("kernel/drivers/x.ko: kernel/arch/x86/kvm/kvm.ko\n"));
    }

    #[test]
    fn virtualization_is_a_flag_of_the_processor() {
        assert!(has_virtualization("processor\t: 0\nflags\t\t: fpu svm sse\n"));
        assert!(!has_virtualization(
            "processor\t: 0\nflags\t\t: fpu sse\nbugs\t: vmx\n"
        ));
    }
}
