//! Findings against real interrupts, over a few random register states: every destination's interrupt is really sent, and
//! the findings must count what arrived ([`super::delivery`]). Whether the maps and deliveries themselves are right is
//! for the oracle, over many more.

use super::delivery::Measured;
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{Vcpu, Vm};
use crate::guest::lapic::{
    APIC_BASE_ENABLED, APIC_BASE_X2APIC, ApicReg, DFR_CLUSTER, DFR_FLAT, SVR_DISABLED, SVR_ENABLED, ldr,
};
use crate::guest::{Guest, layout};
use crate::host::MapRules;
use crate::random::Random;
use crate::tool::snapshot;

const STATES: usize = 12;
const MOST_VCPUS: u32 = 40;
/// Smaller guests may have the same registers as another, and could not be told apart in the snapshot.
const FEWEST_VCPUS: u32 = 4;

/// The registers of one vCPU that a snapshot must repeat: vCPU id, LDR, DFR, SVR, APIC base.
type Registers = (u32, u32, u32, u32, u64);

pub(super) fn of_random_states(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut random = Random::new(0x1d20_2019);
    let mut guests = (0..STATES)
        .map(|_| random_guest(&mut random))
        .collect::<Result<Vec<_>, _>>()?;
    let measured = measure(&mut guests)?;
    let vms = snapshot(&[])?.vms;
    // Where an overwritten slot loses interrupts, some of these states must: else nothing was tried here.
    let tried = measured.iter().any(|(_, measured)| measured.aimed_at_broken());
    require(tried || context.rules == MapRules::ConflictDisables, || {
        "no state has a broken destination that a pin is aimed at".to_owned()
    })?;
    for (registers, measured) in &measured {
        let vm = vms.iter().find(|vm| registers_of_vm(vm) == *registers);
        match vm {
            Some(vm) => measured.hold(vm)?,
            None => require(false, || format!("no VM has the registers {registers:x?}"))?,
        }
    }
    Ok(())
}

/// Sends interrupts into the guests, then aims a pin: at a broken destination in every other one. Returns the guests'
/// registers with what became of the interrupts.
fn measure(guests: &mut [Guest]) -> Result<Vec<(Vec<Registers>, Measured)>, CaseError> {
    guests
        .iter_mut()
        .enumerate()
        .map(|(number, guest)| {
            let mut measured = Measured::of(guest)?;
            measured.aim(guest, number % 2 == 0)?;
            Ok((registers_of_guest(guest)?, measured))
        })
        .collect()
}

fn random_guest(random: &mut Random) -> Result<Guest, CaseError> {
    let count = FEWEST_VCPUS + random.below(MOST_VCPUS - FEWEST_VCPUS);
    let mut ids: Vec<u32> = (0..count).collect();
    if random.one_in(2) {
        random.shuffle(&mut ids);
    }
    // Most guests are nearly well-formed: in wild ones a first conflict hides whatever follows.
    let oddity = if random.one_in(2) { 40 } else { 4 };
    let cluster = random.one_in(2);
    let guest = Guest::with_vcpu_ids(ids.iter().copied())?;
    for &id in &ids {
        if random.one_in(oddity) {
            continue;
        }
        if random.one_in(oddity) {
            let mode = if random.one_in(3) {
                0
            } else {
                APIC_BASE_ENABLED | APIC_BASE_X2APIC
            };
            guest.set_apic_base(id, u64::from(layout::LAPIC) | mode)?;
            let svr = if random.one_in(4) {
                SVR_DISABLED
            } else {
                SVR_ENABLED
            };
            guest.edit_lapic(id, &[(ApicReg::Svr, svr)])?;
            continue;
        }
        let orderly = if cluster {
            crate::guest::lapic::cluster_id(id)
        } else {
            1 << (id % 8)
        };
        let logical_id = if random.one_in(oddity) {
            random.below(256) as u8
        } else {
            orderly
        };
        let dfr = match (random.one_in(oddity), cluster) {
            (true, _) => random.below(16) << 28 | 0x0FFF_FFFF,
            (false, true) => DFR_CLUSTER,
            (false, false) => DFR_FLAT,
        };
        let svr = if random.one_in(8) {
            SVR_DISABLED
        } else {
            SVR_ENABLED
        };
        let mut registers = vec![
            (ApicReg::Ldr, ldr(logical_id)),
            (ApicReg::Dfr, dfr),
            (ApicReg::Svr, svr),
        ];
        if random.one_in(2 * oddity) {
            registers.push((ApicReg::Id, random.below(64) << 24));
        }
        guest.edit_lapic(id, &registers)?;
    }
    Ok(guest)
}

fn registers_of_guest(guest: &Guest) -> Result<Vec<Registers>, CaseError> {
    let mut ids = guest.vcpu_ids();
    ids.sort_unstable();
    ids.into_iter()
        .map(|id| {
            let page = guest.lapic(id)?;
            let [ldr, dfr, svr] = [ApicReg::Ldr, ApicReg::Dfr, ApicReg::Svr].map(|reg| page.get(reg));
            Ok((id, ldr, dfr, svr, guest.apic_base(id)?))
        })
        .collect()
}

fn registers_of_vm(vm: &Vm) -> Vec<Registers> {
    let registers = |vcpu: &Vcpu| (vcpu.vcpu_id, vcpu.ldr, vcpu.dfr, vcpu.svr, vcpu.apic_base);
    let mut all: Vec<_> = vm.vcpus.iter().map(registers).collect();
    all.sort_unstable();
    all
}
