//! The machines that cases run on: which kernel, how many CPUs, which KVM, loaded how. Which case runs on which of them is
//! in [`super::table`]; booting them is for `cargo xtask test`.

use lab_protocol::{Boot, KvmBuild, Userland, boot::PLAIN};

use crate::host::Series;

/// A machine that cases run on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) name: &'static str,
    pub(super) kernels: Kernels,
    cpus: u8,
    kvm_loaded: bool,
    pub(super) kvm_build: KvmBuild,
    kvm_amd_parameters: &'static str,
    userland: Userland,
    /// What its Linux guests boot, if cases have such guests.
    guest_kernel: Option<Series>,
    kernel_arguments: &'static str,
}

/// The kernels of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernels {
    /// Every one of the matrix.
    All,
    /// This series and later ones.
    From(Series),
    /// These two.
    Both([Series; 2]),
    /// This series alone: the machine is about something that does not differ between kernels, or is this kernel.
    Only(Series),
}

pub(super) const ORDINARY: Machine = Machine {
    name: PLAIN,
    kernels: Kernels::All,
    cpus: 1,
    kvm_loaded: true,
    kvm_build: KvmBuild::Stock,
    kvm_amd_parameters: "",
    userland: Userland::Tiny,
    guest_kernel: None,
    kernel_arguments: "",
};

/// Two CPUs: hooks run beside the reader, not only before or after it. Guests' timing is unreliable there (one thread
/// emulates both), so that only cases without deadlines of the guest's own run on it.
pub(super) const TWO_CPUS: Machine = Machine {
    name: "x2",
    kernels: Kernels::Only(Series::V6_12),
    cpus: 2,
    ..ORDINARY
};

pub(super) const WITHOUT_KVM: Machine = Machine {
    name: "no-kvm",
    kernels: Kernels::Only(Series::V6_12),
    kvm_loaded: false,
    ..ORDINARY
};

pub(super) const LOCKED_DOWN: Machine = Machine {
    name: "lockdown",
    kernels: Kernels::Only(Series::V6_1),
    kernel_arguments: "lockdown=confidentiality",
    ..ORDINARY
};

/// The KVM of 2019, built from the sources of 6.1: what ldrscope says of map rules that no kernel of the matrix has any more
/// happens here.
pub(super) const KVM_OF_2019: Machine = Machine {
    name: "2019",
    kernels: Kernels::Only(Series::V6_1),
    kvm_build: KvmBuild::KeepDisabled,
    ..ORDINARY
};

/// KVM keeps the reasons that inhibit AVIC, though the emulated processor has none. Guests must not run there: nobody
/// would trap their APIC writes. So its cases act by `KVM_SET_LAPIC` and the like alone. Before 6.0 kvm-amd could not be
/// told to.
pub(super) const AVIC: Machine = Machine {
    name: "avic",
    kernels: Kernels::From(Series::V6_1),
    kvm_amd_parameters: "avic=1 force_avic=1",
    ..ORDINARY
};

/// A host that is not spared: storms, churn, kills, modules that go. On the two kernels between which KVM's map rules and the
/// reuse of its addresses differ most. Without huge pages, into which the kernel turns a heap whenever it pleases: what memory
/// is taken up is to be ldrscope's doing.
pub(super) const HARASSED: Machine = Machine {
    name: "harassed",
    kernels: Kernels::Both([Series::V6_1, Series::V7_3]),
    kernel_arguments: "transparent_hugepage=never",
    ..ORDINARY
};

/// A host as its operators have it: systemd is PID 1, and their tools are those of the outer machine.
pub(super) const SYSTEMD: Machine = Machine {
    name: "systemd",
    kernels: Kernels::Both([Series::V6_1, Series::V7_3]),
    userland: Userland::Systemd,
    ..ORDINARY
};

/// A host of Linux guests, which take QEMU from the outer machine. The guests' kernel is the smallest of the
/// matrix, and one that uses logical destinations in xAPIC mode, which Linux has given up since.
pub(super) const LINUX: Machine = Machine {
    name: "linux",
    userland: Userland::Host,
    guest_kernel: Some(Series::V5_10),
    ..ORDINARY
};

/// A migration's hosts, in its order. They have QEMU from the outer machine.
pub(super) const MIGRATION: [&Machine; 3] = [&SOURCE, &TARGET, &HOME];

pub(super) const SOURCE: Machine = Machine {
    name: "migration-source",
    kernels: Kernels::Only(Series::V6_1),
    userland: Userland::Host,
    ..ORDINARY
};

pub(super) const TARGET: Machine = Machine {
    name: "migration-target",
    kernels: Kernels::Only(Series::V6_12),
    ..SOURCE
};

pub(super) const HOME: Machine = Machine {
    name: "migration-home",
    ..SOURCE
};

/// The machines that stand alone; those of [`MIGRATION`] are no use without each other.
pub(super) const MACHINES: [&Machine; 9] = [
    &ORDINARY,
    &TWO_CPUS,
    &WITHOUT_KVM,
    &LOCKED_DOWN,
    &KVM_OF_2019,
    &AVIC,
    &HARASSED,
    &SYSTEMD,
    &LINUX,
];

impl Machine {
    /// A boot of it that runs `cases`.
    pub(super) fn boot(&self, cases: Vec<String>) -> Boot {
        Boot {
            name: self.name.to_owned(),
            cpus: self.cpus,
            kvm_loaded: self.kvm_loaded,
            kvm_build: self.kvm_build,
            kvm_amd_parameters: self.kvm_amd_parameters.to_owned(),
            userland: self.userland,
            guest_kernel: self.guest_kernel.map(|series| series.to_string()),
            kernel_arguments: self.kernel_arguments.to_owned(),
            cases,
        }
    }

    /// Whether it is booted with that kernel.
    pub(super) fn exists_on(&self, series: Series) -> bool {
        match self.kernels {
            Kernels::All => true,
            Kernels::From(first) => series >= first,
            Kernels::Both(both) => both.contains(&series),
            Kernels::Only(only) => series == only,
        }
    }
}
