//! A register state of a VM, told as the steps that lead to it: what is tried on KVM, shrunk, and printed as a
//! regression case. A list of steps rather than of registers, because KVM's map depends on how a state came about: vCPUs
//! in order of creation, LDRs that survive a change of mode, a vCPU that no recalculation has seen yet.

use std::collections::BTreeSet;
use std::fmt;

use crate::guest::lapic::{ApicMode, ApicReg};

/// One step towards a state. vCPUs are named by their vCPU id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Userspace turns on KVM_X2APIC_API_USE_32BIT_IDS.
    WideIds,
    /// Userspace turns on KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK.
    NoBroadcastQuirk,
    /// A vCPU is created.
    Create(u32),
    /// The VMM sets a register. Such steps of one vCPU that follow one another are one `KVM_SET_LAPIC`.
    Restore(u32, ApicReg, u32),
    /// The VMM sets the mode (`KVM_SET_SREGS`).
    SetMode(u32, ApicMode),
    /// Guest code stores to a register of the xAPIC page.
    Write(u32, ApicReg, u32),
    /// Guest code writes a register's MSR.
    WriteMsr(u32, ApicReg, u32),
    /// Guest code sets the mode, through IA32_APIC_BASE.
    WriteMode(u32, ApicMode),
    /// An INIT from outside, to the vCPU's physical ID.
    Init(u32),
}

impl Step {
    /// The vCPU that it is about.
    pub(super) const fn vcpu(self) -> Option<u32> {
        match self {
            Self::WideIds | Self::NoBroadcastQuirk => None,
            Self::Create(id)
            | Self::Restore(id, ..)
            | Self::SetMode(id, _)
            | Self::Write(id, ..)
            | Self::WriteMsr(id, ..)
            | Self::WriteMode(id, _)
            | Self::Init(id) => Some(id),
        }
    }

    /// The same step about another vCPU.
    pub(super) const fn about(self, vcpu: u32) -> Self {
        match self {
            Self::WideIds | Self::NoBroadcastQuirk => self,
            Self::Create(_) => Self::Create(vcpu),
            Self::Restore(_, reg, value) => Self::Restore(vcpu, reg, value),
            Self::SetMode(_, mode) => Self::SetMode(vcpu, mode),
            Self::Write(_, reg, value) => Self::Write(vcpu, reg, value),
            Self::WriteMsr(_, reg, value) => Self::WriteMsr(vcpu, reg, value),
            Self::WriteMode(_, mode) => Self::WriteMode(vcpu, mode),
            Self::Init(_) => Self::Init(vcpu),
        }
    }
}

/// As it is written in Rust.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::WideIds | Self::NoBroadcastQuirk | Self::Create(_) | Self::Init(_) => write!(f, "{self:?}"),
            Self::Restore(vcpu, reg, value) => write!(f, "Restore({vcpu}, {reg:?}, {})", Hex(value)),
            Self::Write(vcpu, reg, value) => write!(f, "Write({vcpu}, {reg:?}, {})", Hex(value)),
            Self::WriteMsr(vcpu, reg, value) => write!(f, "WriteMsr({vcpu}, {reg:?}, {})", Hex(value)),
            Self::SetMode(vcpu, mode) => write!(f, "SetMode({vcpu}, {mode:?})"),
            Self::WriteMode(vcpu, mode) => write!(f, "WriteMode({vcpu}, {mode:?})"),
        }
    }
}

/// A number as clippy wants it: `0xFFFF_FFFF`.
struct Hex(u32);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 >> 16, self.0 & 0xFFFF) {
            (0, low) => write!(f, "0x{low:X}"),
            (high, low) => write!(f, "0x{high:04X}_{low:04X}"),
        }
    }
}

/// The steps to a state, first to last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State(pub(super) Vec<Step>);

impl State {
    /// The ids of the vCPUs that it creates, in order of creation.
    pub(super) fn vcpus(&self) -> Vec<u32> {
        let created = |step: &Step| match step {
            Step::Create(id) => Some(*id),
            _ => None,
        };
        self.0.iter().filter_map(created).collect()
    }

    /// Whether userspace turns the broadcast quirk off.
    pub(super) fn turns_quirk_off(&self) -> bool {
        self.0.contains(&Step::NoBroadcastQuirk)
    }

    /// The state without these vCPUs.
    pub(super) fn without(&self, vcpus: &[u32]) -> Self {
        let gone: BTreeSet<_> = vcpus.iter().collect();
        let stays = |step: &&Step| step.vcpu().is_none_or(|vcpu| !gone.contains(&vcpu));
        Self(self.0.iter().filter(stays).copied().collect())
    }
}

/// As it is written in Rust, for the table of regressions.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "&[")?;
        for step in &self.0 {
            writeln!(f, "    {step},")?;
        }
        write!(f, "],")
    }
}

#[cfg(test)]
mod tests {
    use super::State;
    use super::Step::*;
    use crate::guest::lapic::ApicMode::{Off, X2apic};
    use crate::guest::lapic::ApicReg::{Dfr, Ldr, Svr};

    /// The value of some Rust, and that Rust.
    macro_rules! with_source {
        ($($source:tt)*) => {
            ($($source)*, stringify!($($source)*))
        };
    }

    #[test]
    fn a_printed_state_is_the_rust_that_makes_it() {
        let (steps, source) = with_source!(&[
            WideIds,
            NoBroadcastQuirk,
            Create(3),
            Restore(3, Ldr, 0x0300_0000),
            SetMode(3, X2apic),
            Write(3, Svr, 0x1FF),
            WriteMsr(3, Svr, 0xFF),
            WriteMode(3, Off),
            Init(3),
            Restore(3, Dfr, 0xFFFF_FFFF)
        ]);
        let bare = |text: &str| text.split_whitespace().collect::<String>().replace(",]", "]");
        let printed = State(steps.to_vec()).to_string();
        assert_eq!(bare(printed.trim_end_matches(',')), bare(source));
    }

    #[test]
    fn a_vcpu_goes_with_all_its_steps() {
        let state = State(vec![WideIds, Create(1), Create(0), Init(1), Restore(0, Ldr, 1)]);
        assert_eq!(state.vcpus(), [1, 0]);
        assert_eq!(
            state.without(&[1]),
            State(vec![WideIds, Create(0), Restore(0, Ldr, 1)])
        );
    }
}
