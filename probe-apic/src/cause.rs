//! Who changed a register: the route, the writer, the old and the new value.
//!
//! Words and values only. Which change belongs to which event is worked out in [`crate::history`].

use std::fmt;

use crate::{
    comm::Comm,
    id::{BootTime, VcpuId},
};

/// How a register changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The guest wrote it.
    GuestWrite,
    /// `KVM_SET_LAPIC`: a restore, a migration, or a VMM's own edit.
    SetLapic,
    /// Reset of the vCPU (creation or system reset).
    Reset,
    /// INIT.
    Init,
    /// A write of IA32_APIC_BASE: enable, disable, or change of mode.
    ApicBase,
    /// Not seen: found by reading the VM.
    Scan,
}

impl Route {
    /// All of them, in the order of the JSON contract.
    pub const ALL: [Self; 6] = [
        Self::GuestWrite,
        Self::SetLapic,
        Self::Reset,
        Self::Init,
        Self::ApicBase,
        Self::Scan,
    ];

    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GuestWrite => "guest-write",
            Self::SetLapic => "set-lapic",
            Self::Reset => "reset",
            Self::Init => "init",
            Self::ApicBase => "apic-base",
            Self::Scan => "scan",
        }
    }
}

/// How often something happened by each route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteCounts([u64; Route::ALL.len()]);

impl RouteCounts {
    /// Never, by any.
    pub const NONE: Self = Self([0; Route::ALL.len()]);

    /// Counts one more.
    pub const fn count(&mut self, route: Route) {
        self.add(route, 1);
    }

    /// Counts `more`.
    pub const fn add(&mut self, route: Route, more: u64) {
        let count = &mut self.0[route as usize];
        *count = count.saturating_add(more);
    }

    /// How often by `route`.
    #[must_use]
    pub const fn of(&self, route: Route) -> u64 {
        self.0[route as usize]
    }
}

/// A register that decides a vCPU's place in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Register {
    /// Local APIC ID, page offset 0x20.
    Id,
    /// Logical Destination Register, 0xD0.
    Ldr,
    /// Destination Format Register, 0xE0.
    Dfr,
    /// Spurious-Interrupt Vector Register (KVM's `APIC_SPIV`), 0xF0.
    Svr,
    /// IA32_APIC_BASE, MSR 0x1B.
    ApicBase,
}

impl Register {
    /// All of them, in the order of the JSON contract.
    pub const ALL: [Self; 5] = [Self::Id, Self::Ldr, Self::Dfr, Self::Svr, Self::ApicBase];

    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Ldr => "ldr",
            Self::Dfr => "dfr",
            Self::Svr => "svr",
            Self::ApicBase => "apic_base",
        }
    }
}

/// A host task, as the kernel named it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Thread-group id in the initial pid namespace.
    pub tgid: u32,
    /// The thread's name.
    pub comm: Comm,
}

/// The change of one register that a finding rests on. What is not known is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// When the change was made or noticed.
    pub at: BootTime,
    /// By which route.
    pub route: Route,
    /// The vCPU whose register changed.
    pub vcpu_id: Option<VcpuId>,
    /// The host task that ran.
    pub task: Option<Task>,
    /// The register.
    pub register: Option<Register>,
    /// The last value that ldrscope saw before.
    pub old: Option<u64>,
    /// The value after.
    pub new: Option<u64>,
    /// Guest instruction pointer, where a precise hook read it.
    pub guest_rip: Option<u64>,
    /// True only where the difference is on the vCPU that ran.
    pub certain: bool,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
