//! vCPUs that nobody runs any more: parked by their VMM, or shut down by what their guest did.

use super::ONE_SECOND;
use crate::cases::expect::{Expected, settles_at};
use crate::cases::{Bench, CaseResult, Context, require};
use crate::contract::{Rule, StatusKind};
use crate::guest::Guest;
use crate::guest::lapic::ApicReg;
use crate::host::MapRules;
use crate::scenario;
use crate::tool::{Standing, Watch, snapshot};

/// A VMM unplugs a vCPU by closing its descriptor; KVM keeps the vCPU, with its registers, in its maps.
pub(in crate::cases) fn parked(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut guest = scenario::flat_with(&[0x01, 0x02, 0x01])?;
    let mut expected = vec![Expected::collision(0, 0, [0, 2])];
    if context.rules == MapRules::ConflictDisables {
        expected.push(Expected::rule(Rule::MapDisabled));
    }
    settles_at(watch, None, &expected)?;
    watch.forget();
    guest.close_last_vcpu();
    watch.assert_silent_for(ONE_SECOND)?;
    let vms = snapshot(&[])?.vms;
    let vcpus: Vec<_> = vms.iter().map(|vm| vm.vcpus.len()).collect();
    require(vcpus == [3] && vms[0].map.agrees == Some(true), || {
        format!("one VM of three vCPUs should be there, its maps alike: {vms:?}")
    })?;
    ends_within_a_second(watch, guest)
}

/// A guest with nobody left to handle a fault: its processor shuts down, and KVM resets what it holds of it. What is shown is
/// what KVM has.
pub(in crate::cases) fn panicked(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut guest = scenario::flat(2)?;
    settles_at(watch, None, &[])?;
    guest.crash(1)?;
    watch.take_lines_for(ONE_SECOND)?;
    let vms = snapshot(&[])?.vms;
    for vcpu in vms.iter().flat_map(|vm| &vm.vcpus) {
        let page = guest.lapic(vcpu.vcpu_id)?;
        let wanted = [ApicReg::Ldr, ApicReg::Dfr, ApicReg::Svr].map(|reg| page.get(reg));
        require([vcpu.ldr, vcpu.dfr, vcpu.svr] == wanted, || {
            format!("{vcpu:?} should have the registers {wanted:x?}")
        })?;
    }
    require(vms.len() == 1 && vms[0].vcpus.len() == 2, || {
        format!("the VM should still be shown, as long as its VMM holds it: {vms:?}")
    })?;
    ends_within_a_second(watch, guest)
}

fn ends_within_a_second(watch: &mut Watch, guest: Guest) -> CaseResult {
    watch.forget();
    drop(guest);
    watch.wait_for_status_within("the VM is gone", ONE_SECOND, |status| {
        status.status == StatusKind::VmGone
    })?;
    watch.wait_for("nothing of it stands", ONE_SECOND, Standing::is_empty)?;
    Ok(())
}
