//! VMs as a host has them: older than ldrscope, several at once, killed, large, with vCPUs out of order.

use super::expect::{Expected, settles_at};
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{Confidence, EventKind, Map, Rule, Slot, Snapshot, StatusKind};
use crate::exhibit::{GuestProcess, Kind};
use crate::guest::lapic::{
    APIC_BASE_ENABLED, APIC_BASE_X2APIC, ApicReg, DFR_FLAT, SVR_DISABLED, SVR_ENABLED, ldr,
};
use crate::guest::{Guest, layout};
use crate::host::MapRules;
use crate::scenario;
use crate::tool::{PATIENCE, Standing, Watch, command, run_to_end, snapshot};

fn start(kind: Kind, vcpus: u32) -> Result<GuestProcess, CaseError> {
    GuestProcess::start(kind, vcpus).map_err(|error| CaseError::Unmet(format!("guest process: {error}")))
}

/// The collision of vCPUs 0 and 1 on slot 0, with what else it brings on newer kernels.
fn collision_of_two(context: &Context) -> Vec<Expected> {
    let mut expected = vec![Expected::collision(0, 0, [0, 1])];
    if context.rules == MapRules::ConflictDisables {
        expected.push(Expected::rule(Rule::MapDisabled));
    }
    expected
}

pub(super) fn older_vm(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut guest = scenario::flat_with(&[0x01, 0x01])?;
    let mut watch = Watch::start(context.hooks, &[])?;
    watch.wait_for("the standing collision is raised", 2 * PATIENCE, |standing| {
        !standing.is_empty()
    })?;
    let first = watch.events().first().map(|event| event.event);
    watch.require(
        first == Some(EventKind::Raised),
        "what exists at start should be raised first",
    )?;
    settles_at(&mut watch, None, &collision_of_two(context))?;
    guest.write_logical_id(1, DFR_FLAT, 0x02, SVR_ENABLED)?;
    settles_at(&mut watch, None, &[])?;
    Ok(())
}

pub(super) fn sigkill(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let guest = start(Kind::Collision, 2)?;
    let pid = guest.pid();
    settles_at(watch, Some(pid), &collision_of_two(context))?;
    guest.kill();
    let two_seconds = std::time::Duration::from_secs(2);
    watch.wait_for(
        "the dead VM's findings are cleared",
        two_seconds,
        Standing::is_empty,
    )?;
    watch.wait_for_status("a status line says that the VM is gone", |status| {
        status.status == StatusKind::VmGone && status.vm.as_ref().is_some_and(|vm| vm.pid == pid)
    })?;
    let vms = snapshot(&[])?.vms;
    require(vms.is_empty(), || {
        format!("snapshot still shows the dead VM: {vms:?}")
    })
}

pub(super) fn two_vms(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let colliding = start(Kind::Collision, 2)?;
    let odd = start(Kind::OddDfr, 2)?;
    let (first, second) = (colliding.pid(), odd.pid());

    let mut watch = Watch::start(context.hooks, &[])?;
    watch.wait_for("both VMs' findings are raised", 2 * PATIENCE, |standing| {
        !standing.of_process(first).is_empty() && !standing.of_process(second).is_empty()
    })?;
    settles_at(&mut watch, Some(first), &collision_of_two(context))?;
    settles_at(
        &mut watch,
        Some(second),
        &[Expected::rule(Rule::DfrInvalid).on([0, 1])],
    )?;

    let filter = second.to_string();
    let pids: Vec<_> = snapshot(&["--vm", &filter])?
        .vms
        .iter()
        .map(|vm| vm.pid)
        .collect();
    require(pids == [second], || {
        format!("`--vm {filter}` should show that VM alone, shows {pids:?}")
    })?;
    let nobody = run_to_end(command(&["snapshot", "--format", "json", "--vm", "no-such-vm"]))?;
    let code = nobody.status.code();
    require(code == Some(2), || {
        format!("a filter that matches nothing should exit 2, exits {code:?}")
    })?;

    drop(colliding);
    watch.wait_for("only the dead VM's findings are cleared", PATIENCE, |standing| {
        standing.of_process(first).is_empty() && !standing.of_process(second).is_empty()
    })?;
    Ok(())
}

/// Who wins a slot is a matter of creation order, not of vCPU ids.
pub(super) fn creation_order(context: &Context, bench: &mut Bench) -> CaseResult {
    const ORDER: [u32; 4] = [3, 1, 0, 2];
    const LAST: u32 = 2;
    let watch = bench.watch(context.hooks)?;
    let mut guest = Guest::with_vcpu_ids(ORDER)?;
    for id in 0..4 {
        guest.write_logical_id(id, DFR_FLAT, 0x01, SVR_ENABLED)?;
    }
    let mut expected = vec![Expected::collision(0, 0, [0, 1, 2, 3])];
    if context.rules == MapRules::ConflictDisables {
        expected.push(Expected::rule(Rule::MapDisabled));
    }
    settles_at(watch, None, &expected)?;

    let slot = Slot { cluster: 0, bit: 0 };
    let vms = snapshot(&[])?.vms;
    let owners: Vec<_> = vms
        .iter()
        .map(|vm| owner(vm.map.published.as_ref(), slot))
        .collect();
    let wanted = match context.rules {
        MapRules::KeepDisabled | MapRules::Overwrite => Some(LAST),
        MapRules::ConflictDisables => None,
    };
    require(owners == [wanted], || {
        format!("slot 0 should be owned by {wanted:?}, is by {owners:?}")
    })?;
    let agrees: Vec<_> = vms.iter().map(|vm| vm.map.agrees).collect();
    require(agrees == [Some(true)], || {
        "published and rebuilt map should agree".to_owned()
    })
}

fn owner(map: Option<&Map>, slot: Slot) -> Option<u32> {
    map.and_then(|map| map.owner(slot))
}

/// The most that 5.10 allows (`KVM_MAX_VCPUS`), and more than xAPIC can name.
pub(super) fn large_288(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    large(288)
}

pub(super) fn large_1024(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    large(1024)
}

/// A guest with more vCPUs than xAPIC can name: those above 255 in x2APIC mode, every third one disabled.
fn large(vcpus: u32) -> CaseResult {
    let guest = Guest::with_vcpus(vcpus)?;
    for id in 0..vcpus {
        let svr = if id % 3 == 0 { SVR_DISABLED } else { SVR_ENABLED };
        if id > 0xFF {
            let mode = APIC_BASE_ENABLED | APIC_BASE_X2APIC;
            guest.set_apic_base(id, u64::from(layout::LAPIC) | mode)?;
            guest.edit_lapic(id, &[(ApicReg::Svr, svr)])?;
        } else {
            guest.edit_lapic(id, &[(ApicReg::Ldr, ldr(id as u8)), (ApicReg::Svr, svr)])?;
        }
    }
    is_exact(&snapshot(&[])?, &guest, vcpus)
}

/// Whether the snapshot holds that one guest, vCPU by vCPU and register by register, with maps that agree.
pub(super) fn is_exact(seen: &Snapshot, guest: &Guest, vcpus: u32) -> CaseResult {
    let [vm] = seen.vms.as_slice() else {
        return Err(CaseError::Unmet(format!(
            "snapshot should hold one VM, holds {}",
            seen.vms.len()
        )));
    };
    require(
        vm.confidence == Confidence::Certain && vm.map.agrees == Some(true),
        || format!("it should be certain and its maps agree: {:?}", vm.findings),
    )?;
    let mut ids: Vec<u32> = vm.vcpus.iter().map(|vcpu| vcpu.vcpu_id).collect();
    ids.sort_unstable();
    require(ids.iter().copied().eq(0..vcpus), || {
        format!("vCPUs 0 to {vcpus} should be there, are {ids:?}")
    })?;
    for vcpu in &vm.vcpus {
        let page = guest.lapic(vcpu.vcpu_id)?;
        let wanted = [ApicReg::Ldr, ApicReg::Dfr, ApicReg::Svr].map(|reg| page.get(reg));
        let got = [vcpu.ldr, vcpu.dfr, vcpu.svr];
        require(got == wanted, || {
            format!("vCPU {}: {got:#x?}, should be {wanted:#x?}", vcpu.vcpu_id)
        })?;
    }
    Ok(())
}
