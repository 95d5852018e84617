//! What KVM up to 5.2 does with software-disabled APICs that keep their LDRs: seen on the KVM of 2019, foretold on
//! every other by `--as-kvm`. Both are held to the same account, so that what was foretold is what happens.

use super::expect::{Expected, settles_at};
use super::kdump::{lost_as_in_2019, only_vm};
use super::{Bench, CaseResult, Context, require};
use crate::contract::{Rule, Severity};
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
