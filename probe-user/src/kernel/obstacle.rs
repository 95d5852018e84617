//! Why ldrscope cannot look: one cause word, one plain sentence and one remedy each.
//!
//! The words are a contract: scripts match them. Collecting the facts is [`super::support`]'s business,
//! the order in which they are judged [`super::preflight`]'s. Errors from below are kept as the source.

use std::{error::Error, io, path::PathBuf};

/// An error from a layer below, kept whole for its own text.
pub type Source = Box<dyn Error + Send + Sync + 'static>;

/// The reason why this host cannot be observed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// The processor is not an x86-64 one: there is no local APIC of this kind.
    #[error("this machine is {arch}; local-APIC destination maps exist on x86-64 only")]
    NotX86 {
        /// The machine as `uname -m` names it.
        arch: String,
    },
    /// The kernel is older than what is supported.
    #[error("kernel {release} is too old: ldrscope reads KVM from 5.10 on")]
    KernelTooOld {
        /// The kernel's release string.
        release: String,
    },
    /// Not root, and none of the capabilities that would do instead.
    #[error("ldrscope runs as uid {uid} without the capabilities to trace the kernel")]
    NotRoot {
        /// The effective uid.
        uid: u32,
    },
    /// Root or not, a capability is missing.
    #[error("{missing} is missing, so the kernel refuses tracing programs")]
    MissingCapability {
        /// What is missing, by its kernel name.
        missing: &'static str,
    },
    /// Confidentiality lockdown, or a kernel that refuses to read its memory just the same.
    #[error("this kernel forbids reading its memory, even to root: {how}")]
    Lockdown {
        /// What shows it.
        how: LockdownEvidence,
    },
    /// ldrscope runs inside a pid namespace, where the kernel's process numbers mean nothing.
    #[error("ldrscope runs in a pid namespace of its own, so it cannot tell which process a VM belongs to")]
    PidNamespace,
    /// The host has no KVM at all.
    #[error(
        "this host has no KVM: the processor offers no virtualization, or the kernel was built without it"
    )]
    NoKvm,
    /// KVM is a module that nobody has loaded.
    #[error("the kvm module is not loaded")]
    KvmNotLoaded,
    /// The kernel carries no type information.
    #[error("the kernel offers no type information ({path} is missing)", path = path.display())]
    NoBtf {
        /// The file looked for.
        path: PathBuf,
    },
    /// The kvm module carries no type information, and its build is not a known one.
    #[error(
        "the kvm module of kernel {release} carries no type information, and ldrscope does not know this build"
    )]
    NoModuleBtf {
        /// The kernel's release string.
        release: String,
    },
    /// The build is known, but nothing would show that its module is as it should be.
    #[error(
        "the kvm module carries no type information; what ldrscope knows of {build} may be used only once a test VM was \
         read by it, and `--no-canary` forbids that"
    )]
    Unproven {
        /// The family of builds.
        build: &'static str,
    },
    /// A type information file is there but unusable.
    #[error("the type information in {path} cannot be used", path = path.display())]
    BtfUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Source,
    },
    /// The kernel's types lack a member that ldrscope must read, or contradict each other.
    #[error(
        "the layout of this kernel's KVM is unknown: `{path}` is not where it is on the kernels that ldrscope knows"
    )]
    FieldMissing {
        /// `struct.member`, or the type.
        path: String,
    },
    /// A test VM was made and seen, and did not read back as it was made.
    #[error("the layout of this kernel's KVM is not what it was taken for: {what}")]
    LayoutDisproved {
        /// What did not read back.
        what: String,
    },
    /// The kernel cannot be probed.
    #[error("this kernel was built without kprobes, so its functions cannot be observed")]
    NoKprobes,
    /// A function or variable without which nothing can be seen is not listed.
    #[error("the kernel does not list `{name}`, and nothing can be observed without it")]
    SymbolMissing {
        /// The symbol.
        name: String,
    },
    /// Interrupts are to be counted, and it is not known where they pass, or what they consist of.
    #[error("the interrupts of this kernel's KVM cannot be counted: {what}")]
    InterruptsUncountable {
        /// What is not there.
        what: &'static str,
    },
    /// The kernel hides the addresses of its variables.
    #[error("the kernel hides its addresses from this process")]
    AddressesHidden,
    /// ldrscope was built without its kernel-side programs.
    #[error("this ldrscope was built without its kernel-side programs")]
    NoObject,
    /// The kernel refused to load a program.
    #[error("the kernel refused to load the program `{program}`")]
    LoadRefused {
        /// The program, or the map.
        program: String,
        /// The kernel's answer.
        source: Source,
    },
    /// The kernel refused to attach a program.
    #[error("the program for `{function}` could not be attached")]
    AttachFailed {
        /// The kernel function.
        function: String,
        /// The kernel's answer.
        source: Source,
    },
    /// The canary VM could not be made.
    #[error("the test VM that proves the hooks could not be made (while {step})")]
    CanaryFailed {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: Source,
    },
    /// Everything attached, and yet the canary VM was not seen.
    #[error("the hooks are attached but deaf: {what}")]
    Deaf {
        /// What was expected and did not come.
        what: String,
    },
    /// Another process of ldrscope's met it, and tells of it.
    #[error("{sentence}")]
    Relayed {
        /// The cause word.
        word: &'static str,
        /// What stands in the way, sources included.
        sentence: String,
        /// What to do about it.
        remedy: String,
    },
    /// A read or wait on ldrscope's own side failed.
    #[error("{doing} failed")]
    Internal {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: Source,
    },
}

/// How a lockdown shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockdownEvidence {
    /// `/sys/kernel/security/lockdown` says so.
    #[error("it is locked down for confidentiality")]
    Declared,
    /// The kernel does not say, but refuses the program.
    #[error(
        "it refuses kernel-reading programs although all capabilities are held, as a lockdown for confidentiality does"
    )]
    Refused,
}

impl Obstacle {
    /// Wraps an I/O error of ldrscope's own side.
    #[must_use]
    pub fn internal(doing: &'static str, source: io::Error) -> Self {
        Self::Internal {
            doing,
            source: source.into(),
        }
    }

    /// All cause words.
    pub const WORDS: [&'static str; 20] = [
        "not-x86-64",
        "kernel-too-old",
        "not-root",
        "missing-capability",
        "lockdown",
        "pid-namespace",
        "no-kvm",
        "kvm-not-loaded",
        "no-btf",
        "unknown-layout",
        "no-kprobes",
        "symbol-missing",
        "no-interrupts",
        "addresses-hidden",
        "no-object",
        "load-refused",
        "attach-failed",
        "canary-failed",
        "deaf",
        "internal",
    ];

    /// The sentence with those of its sources behind it.
    #[must_use]
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text.push_str(&format!(": {error}"));
            source = error.source();
        }
        text
    }

    /// The fixed cause word, as printed in `error[word]`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NotX86 { .. } => "not-x86-64",
            Self::KernelTooOld { .. } => "kernel-too-old",
            Self::NotRoot { .. } => "not-root",
            Self::MissingCapability { .. } => "missing-capability",
            Self::Lockdown { .. } => "lockdown",
            Self::PidNamespace => "pid-namespace",
            Self::NoKvm => "no-kvm",
            Self::KvmNotLoaded => "kvm-not-loaded",
            Self::NoBtf { .. } | Self::NoModuleBtf { .. } | Self::Unproven { .. } => "no-btf",
            Self::BtfUnreadable { .. } | Self::FieldMissing { .. } | Self::LayoutDisproved { .. } => {
                "unknown-layout"
            }
            Self::NoKprobes => "no-kprobes",
            Self::SymbolMissing { .. } => "symbol-missing",
            Self::InterruptsUncountable { .. } => "no-interrupts",
            Self::AddressesHidden => "addresses-hidden",
            Self::NoObject => "no-object",
            Self::LoadRefused { .. } => "load-refused",
            Self::AttachFailed { .. } => "attach-failed",
            Self::CanaryFailed { .. } => "canary-failed",
            Self::Deaf { .. } => "deaf",
            Self::Relayed { word, .. } => word,
            Self::Internal { .. } => "internal",
        }
    }

    /// What to do about it: one sentence.
    #[must_use]
    pub const fn remedy(&self) -> &str {
        match self {
            Self::NotX86 { .. } => "run ldrscope on the x86-64 host that runs the VMs",
            Self::KernelTooOld { .. } => "run a kernel from 5.10 on; 6.1 or later is recommended",
            Self::NotRoot { .. } => {
                "run it as root (`sudo ldrscope ...`), or grant CAP_SYS_ADMIN, or CAP_BPF with CAP_PERFMON and CAP_SYSLOG"
            }
            Self::MissingCapability { .. } => {
                "grant CAP_SYS_ADMIN, or CAP_BPF with CAP_PERFMON and CAP_SYSLOG; in a container add them to its bounding set"
            }
            Self::Lockdown { .. } => {
                "boot with `lockdown=integrity` or `lockdown=none` (with Secure Boot, see your distribution's manual); \
                 there is no way around it on a running kernel"
            }
            Self::PidNamespace => "run it on the host itself, or start the container with `--pid=host`",
            Self::NoKvm => {
                "enable virtualization in the firmware, or run ldrscope on the host that runs the VMs, not in a guest"
            }
            Self::KvmNotLoaded => {
                "load it with `modprobe kvm_amd` or `modprobe kvm_intel`, or let ldrscope wait for it with `watch --wait`"
            }
            Self::NoBtf { .. } => {
                "run a kernel built with CONFIG_DEBUG_INFO_BTF and, where KVM is a module, \
                 CONFIG_DEBUG_INFO_BTF_MODULES, or name a file with `--btf FILE`"
            }
            Self::NoModuleBtf { .. } => {
                "make a file from the debug data of this very build's kvm.ko (on Debian in the package linux-image-RELEASE-dbg) \
                 with `pahole --btf_encode_detached=kvm.btf kvm.ko`, pahole 1.22 or later, and name it with `--btf kvm.btf`"
            }
            Self::Unproven { .. } => {
                "leave `--no-canary` out, or name a file made from kvm.ko's debug data with `--btf FILE`"
            }
            Self::BtfUnreadable { .. } => {
                "name the BTF file of the running kernel and of no other with `--btf FILE`"
            }
            Self::LayoutDisproved { .. } => {
                "name a BTF file made from the debug data of the running kernel's kvm.ko with `--btf FILE`; \
                 if it comes from there already, please report the kernel's release and this message"
            }
            Self::FieldMissing { .. } => {
                "use an ldrscope that knows this kernel; please report the kernel's release and this message"
            }
            Self::NoKprobes => "run a kernel built with CONFIG_KPROBES, as the distributions' kernels are",
            Self::SymbolMissing { .. } => {
                "run a kernel that is built with CONFIG_KALLSYMS_ALL and shows its addresses, or an ldrscope that knows this one: \
                 `ldrscope doctor` lists what it finds"
            }
            Self::InterruptsUncountable { .. } => {
                "leave `--interrupts` out, all else works without it; see `ldrscope doctor`, and please report the kernel's release"
            }
            Self::AddressesHidden => {
                "set `kernel.kptr_restrict` to 0 or 1 and run it as root, or grant CAP_SYSLOG as well; a systemd unit must not \
                 have ProtectKernelTunables= or ProtectKernelLogs="
            }
            Self::NoObject => "build it with `cargo xtask build`, which embeds them",
            Self::LoadRefused { .. } => {
                "see the kernel's answer above and `ldrscope doctor`; with `-v` the verifier's log is shown; a systemd unit's \
                 SystemCallFilter= must let bpf through"
            }
            Self::AttachFailed { .. } => "see `ldrscope doctor`; another `--hooks` set may do without it",
            Self::CanaryFailed { .. } => {
                "see that /dev/kvm can be opened and a VM can be made (group kvm; in a systemd unit DeviceAllow=/dev/kvm rw), or do \
                 without the proof with `--no-canary`"
            }
            Self::Deaf { .. } => {
                "run `ldrscope doctor`; if kvm was loaded again a moment ago, start ldrscope again"
            }
            Self::Relayed { remedy, .. } => remedy.as_str(),
            Self::Internal { .. } => "start it again; if it happens again, please report this message",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_btf_counts_as_an_unknown_layout() {
        let obstacle = Obstacle::BtfUnreadable {
            path: "/tmp/x.btf".into(),
            source: io::Error::from(io::ErrorKind::InvalidData).into(),
        };
        assert_eq!(obstacle.word(), "unknown-layout");
        assert_eq!(
            obstacle.to_string(),
            "the type information in /tmp/x.btf cannot be used"
        );
    }

    #[test]
    fn the_sentence_and_the_remedy_of_a_missing_module_name_the_way_out() {
        let obstacle = Obstacle::KvmNotLoaded;
        assert_eq!(obstacle.word(), "kvm-not-loaded");
        assert!(obstacle.remedy().contains("--wait"));
    }
}
