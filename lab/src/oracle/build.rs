//! From a state's steps to a VM that stands: each step is done to real KVM, in order. What its registers then say and whom
//! interrupts reach is for `facts`.

use kvm_bindings::{KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK, KVM_X2APIC_API_USE_32BIT_IDS};

use super::state::{State, Step};
use crate::guest::lapic::{ApicMode, ApicReg, MSR_APIC_BASE};
use crate::guest::{Guest, GuestError, Irqchip, Op};

/// What is done at once: a step, or several of one vCPU that are one `KVM_SET_LAPIC` or one guest program.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    X2apicApi(u32),
    Create(u32),
    SetLapic(u32, Vec<(ApicReg, u32)>),
    SetMode(u32, ApicMode),
    Program(u32, Vec<Op>),
    Init(u32),
}

/// Makes the VM of `state`.
pub(super) fn build(state: &State) -> Result<Guest, GuestError> {
    let mut guest = Guest::empty(Irqchip::Full)?;
    for act in acts(&state.0) {
        match act {
            Act::X2apicApi(flags) => guest.enable_x2apic_api(flags)?,
            Act::Create(vcpu) => guest.add_vcpu(vcpu)?,
            Act::SetLapic(vcpu, registers) => guest.edit_lapic(vcpu, &registers)?,
            Act::SetMode(vcpu, mode) => guest.set_apic_base(vcpu, mode.apic_base())?,
            Act::Program(vcpu, program) => drop(guest.exec(vcpu, &program)?),
            Act::Init(vcpu) => {
                let dest = match ApicMode::of(guest.apic_base(vcpu)?) {
                    ApicMode::X2apic => vcpu,
                    ApicMode::Xapic | ApicMode::Off => guest.lapic(vcpu)?.get(ApicReg::Id) >> 24,
                };
                guest.signal_init(dest)?;
            }
        }
    }
    Ok(guest)
}

fn acts(steps: &[Step]) -> Vec<Act> {
    let mut acts = Vec::new();
    for act in steps.iter().copied().map(act) {
        match (acts.last_mut(), act) {
            (Some(Act::SetLapic(last, registers)), Act::SetLapic(vcpu, more)) if *last == vcpu => {
                registers.extend(more);
            }
            (Some(Act::Program(last, program)), Act::Program(vcpu, more)) if *last == vcpu => {
                program.extend(more);
            }
            (_, act) => acts.push(act),
        }
    }
    acts
}

fn act(step: Step) -> Act {
    match step {
        Step::WideIds => Act::X2apicApi(KVM_X2APIC_API_USE_32BIT_IDS),
        Step::NoBroadcastQuirk => Act::X2apicApi(KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK),
        Step::Create(vcpu) => Act::Create(vcpu),
        Step::Restore(vcpu, reg, value) => Act::SetLapic(vcpu, vec![(reg, value)]),
        Step::SetMode(vcpu, mode) => Act::SetMode(vcpu, mode),
        Step::Write(vcpu, reg, value) => Act::Program(vcpu, vec![Op::ApicWrite(reg, value)]),
        Step::WriteMsr(vcpu, reg, value) => Act::Program(vcpu, vec![Op::Wrmsr(reg.msr(), u64::from(value))]),
        Step::WriteMode(vcpu, mode) => Act::Program(vcpu, vec![Op::Wrmsr(MSR_APIC_BASE, mode.apic_base())]),
        Step::Init(vcpu) => Act::Init(vcpu),
    }
}

#[cfg(test)]
mod tests {
    use super::{Act, acts};
    use crate::guest::Op;
    use crate::guest::lapic::ApicReg::{Dfr, Ldr, Svr};
    use crate::oracle::state::Step::{Create, Restore, Write};

    #[test]
    fn steps_of_one_vcpu_go_together_and_no_others() {
        let steps = [
            Create(0),
            Create(1),
            Restore(0, Ldr, 1),
            Restore(0, Svr, 2),
            Restore(1, Ldr, 3),
            Write(1, Dfr, 4),
            Write(1, Ldr, 5),
            Restore(1, Ldr, 6),
        ];
        let expected = [
            Act::Create(0),
            Act::Create(1),
            Act::SetLapic(0, vec![(Ldr, 1), (Svr, 2)]),
            Act::SetLapic(1, vec![(Ldr, 3)]),
            Act::Program(1, vec![Op::ApicWrite(Dfr, 4), Op::ApicWrite(Ldr, 5)]),
            Act::SetLapic(1, vec![(Ldr, 6)]),
        ];
        assert_eq!(acts(&steps), expected);
    }
}
