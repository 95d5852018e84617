//! What KVM up to 5.2 does with software-disabled APICs that keep their LDRs: seen on the KVM of 2019, foretold on
//! every other by `--as-kvm`. Both are held to the same account, so that what was foretold is what happens.

use super::expect::{Expected, settles_at};
use super::{Bench, CaseError, CaseResult, Context, kdump, require};
use crate::contract::{Deliver, Effect, Rule, Severity, Slot, Snapshot, Verdict, Vm};
use crate::guest::lapic::{ApicReg, DFR_FLAT, SVR_DISABLED, SVR_ENABLED};
use crate::guest::{Msi, Op};
use crate::host::MapRules;
use crate::scenario::{self, DeadCpus, Kdump};
use crate::tool::{deliver, snapshot};

/// The crashed guest of 2019, its dead CPUs software-disabled, on a KVM that leaves those out: the timer comes here, and
/// ldrscope knows that it would not there.
pub(super) fn foretold(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut kdump = Kdump::boot_bigsmp()?;
    kdump.crash(DeadCpus::Disabled)?;
    kdump.arm_timer()?;
    let ticks = kdump.await_timer()?;
    require(ticks >= 3, || {
        format!("the timer should come, but came {ticks} times")
    })?;
    // 5.2 is the last version with these rules.
    for there in ["keep-disabled", "5.2"] {
        let asked = ["--as-kvm", there];
        let vm = only_vm(snapshot(&asked)?)?;
        require(vm.map.published.is_none() && vm.map.agrees.is_none(), || {
            format!("no map is published by {there}: {:?}", vm.map)
        })?;
        lost_as_in_2019(&vm, &deliver(&asked)?)?;
    }
    Ok(())
}

/// A dead CPU's slot is taken again: where disabled APICs are left out, by the new owner; else it stays stolen.
pub(super) fn slot_taken_again(context: &Context, bench: &mut Bench) -> CaseResult {
    const VECTOR: u8 = 0x55;
    let watch = bench.watch(context.hooks)?;
    let mut guest = scenario::flat(4)?;
    guest.exec(3, &[Op::ApicWrite(ApicReg::Svr, SVR_DISABLED)])?;
    let left_over = || Expected::rule(Rule::LdrStale).on([3]);
    settles_at(watch, None, &[left_over().at_most(Severity::Notice)])?;

    guest.write_logical_id(2, DFR_FLAT, 0x08, SVR_ENABLED)?;
    guest.signal(&Msi::logical(0x08, VECTOR))?;
    let reached = guest.requesting(VECTOR)?;
    let (taker, severity) = match context.rules {
        MapRules::KeepDisabled => (vec![], Severity::Warning),
        MapRules::Overwrite | MapRules::ConflictDisables => (vec![2], Severity::Notice),
    };
    require(reached == taker, || {
        format!("destination 0x08 should reach {taker:?}, reached {reached:?}")
    })?;
    settles_at(watch, None, &[left_over().at(severity)])?;
    Ok(())
}

/// Holds what ldrscope says of the crashed guest to what happened in 2019: each dead CPU steals slots, so that the
/// kdump kernel's CPU, the only one enabled, gets nothing that is sent to its logical ID.
pub(super) fn lost_as_in_2019(vm: &Vm, delivered: &[Deliver]) -> CaseResult {
    /// Slot and owner: the highest vCPU whose LDR has its lowest bit there, the last to be entered.
    const OWNERS: [(u32, u32); 4] = [(0, 15), (1, 14), (2, 12), (3, 8)];
    /// Of destinations 0 to 254, those with bit 0: all that name the kdump kernel's CPU.
    const LOST: Effect = Effect {
        lost: 127,
        misrouted: 0,
        partial: 0,
        slow: false,
    };
    let told = |what: &str, holds: bool| require(holds, || format!("{what}\n{vm:#?}"));
    let [finding] = vm.findings.as_slice() else {
        return told("the stale LDRs should be the one finding", false);
    };
    told(
        "the finding should be the dead CPUs' stale LDRs",
        finding.rule == Rule::LdrStale && finding.vcpus.iter().copied().eq(kdump::DEAD),
    )?;
    let slots = (0..4).map(|bit| Slot { cluster: 0, bit });
    told(
        "it should be about slots 0 to 3",
        finding.slots.iter().copied().eq(slots),
    )?;
    told(
        "it should be critical and lose all that names the kdump kernel's CPU",
        finding.severity == Severity::Critical && finding.effect == LOST,
    )?;
    let rebuilt = vm.map.rebuilt.as_ref();
    let owners = rebuilt.map(|map| map.slots.iter().map(|slot| (slot.bit, slot.vcpu_id)));
    told(
        "dead CPUs should own slots 0 to 3",
        owners.is_some_and(|owners| owners.eq(OWNERS)),
    )?;

    let [delivered] = delivered else {
        return require(false, || {
            format!("deliver should print one document, not {}", delivered.len())
        });
    };
    let wrong = delivered.destinations.iter().find(|delivery| {
        // Broadcast is found by a scan, past all slots.
        let (named, reached) = (delivery.dest & 1 != 0, delivery.dest == 0xFF);
        let verdict = if named && !reached {
            Verdict::Lost
        } else {
            Verdict::Ok
        };
        let cpu = |it: bool| if it { &[0][..] } else { &[] };
        delivery.architecture != cpu(named) || delivery.kvm != cpu(reached) || delivery.verdict != verdict
    });
    require(delivered.destinations.len() == 256 && wrong.is_none(), || {
        format!("every odd destination but broadcast should be lost to vCPU 0, and no other: {wrong:?}")
    })
}

/// The one VM of `snapshot`.
pub(super) fn only_vm(mut snapshot: Snapshot) -> Result<Vm, CaseError> {
    let vm = snapshot.vms.pop();
    vm.filter(|_| snapshot.vms.is_empty())
        .ok_or_else(|| CaseError::Unmet("snapshot should hold one VM".to_owned()))
}
