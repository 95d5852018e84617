//! What a document says, as values of the analysis again: the way back of [`crate::sink::convert`], as far as comparing and
//! showing a snapshot need it.

use probe_apic::{
    aim::{Aim, AimSource},
    cause::{Cause, Register, Route, Task},
    finding::{Effect, Severity},
    id::{BootTime, Slot, VcpuId},
    lapic::{ApicMode, Lapic},
    reg::{ApicBase, Dfr, Ldr, Svr},
};

use super::{Vcpu, VmRef};
use crate::identity::VmIdentity;

/// Who a VM is; what documents do not tell is unknown.
#[must_use]
pub fn identity(vm: &VmRef) -> VmIdentity {
    VmIdentity {
        name: vm.name.clone(),
        uuid: vm.uuid.clone(),
        vmm: vm.vmm.clone(),
        pid: vm.pid,
        ..VmIdentity::unknown()
    }
}

/// A vCPU's local APIC. Of the ID register a document has the ID only.
#[must_use]
pub const fn lapic(vcpu: &Vcpu) -> Lapic {
    let mut lapic = Lapic {
        id: vcpu.apic_id,
        ldr: Ldr(vcpu.ldr),
        dfr: Dfr(vcpu.dfr),
        svr: Svr(vcpu.svr),
        apic_base: ApicBase(vcpu.apic_base),
        sw_enabled: vcpu.sw_enabled,
    };
    if !matches!(lapic.mode(), ApicMode::X2apic) {
        lapic.id = vcpu.apic_id << 24;
    }
    lapic
}

/// A slot.
#[must_use]
pub const fn slot(slot: super::Slot) -> Slot {
    Slot {
        cluster: slot.cluster,
        bit: slot.bit,
    }
}

/// A source that uses a logical destination; `None` for a kind that does not exist.
#[must_use]
pub fn aim(aimed: &super::Aimed) -> Option<Aim> {
    let sources = [AimSource::Ioapic, AimSource::MsiRoute, AimSource::Icr];
    let source = sources.into_iter().find(|source| source.name() == aimed.source)?;
    Some(Aim {
        source,
        index: aimed.index,
        dest: aimed.dest,
        vector: aimed.vector,
        logical: true,
        lowest_priority: false,
    })
}

/// How much a finding matters; `None` for a word that is no severity.
#[must_use]
pub fn severity(finding: &super::Finding) -> Option<Severity> {
    let mut severities = Severity::ALL.into_iter();
    severities.find(|severity| severity.name() == finding.severity)
}

/// What a finding breaks.
#[must_use]
pub const fn effect(effect: &super::Effect) -> Effect {
    Effect {
        lost: effect.lost,
        misrouted: effect.misrouted,
        partial: effect.partial,
        slow: effect.slow,
    }
}

/// The change behind a finding; `None` for a route that does not exist.
#[must_use]
pub fn cause(cause: &super::Cause) -> Option<Cause> {
    let route = Route::ALL.into_iter().find(|route| route.name() == cause.route)?;
    let register = cause
        .register
        .as_ref()
        .and_then(|word| Register::ALL.into_iter().find(|register| register.name() == word));
    let task = cause.tid.zip(cause.comm.clone()).map(|(tid, comm)| Task {
        tid,
        tgid: 0,
        comm: comm.as_str().into(),
    });
    Some(Cause {
        at: BootTime(0),
        route,
        vcpu_id: cause.vcpu_id.map(VcpuId),
        task,
        register,
        old: cause.old,
        new: cause.new,
        guest_rip: cause.guest_rip,
        certain: cause.certain,
    })
}
