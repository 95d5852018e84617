//! Domain values into JSON messages. The only place that knows both.

use probe_apic::{
    aim::Aim,
    cause::Cause,
    finding::{Confidence, Evidence, Finding},
    id::{Slot, VcpuIdx},
    map::{LogicalAndPhysicalMap, MapMode},
    observation::VcpuSample,
    vm::Vm,
};

use crate::{
    clock::WallClock,
    engine::{
        deliveries::{Deliveries, Delivery},
        output::{Event, Status},
        view::{HostView, VmView},
    },
    identity::{VmIdentity, finding_id::finding_id},
    message,
};

/// The whole host as one document.
#[must_use]
pub fn snapshot(host: &HostView<'_>, wall: WallClock) -> message::Snapshot {
    message::Snapshot {
        schema: message::Snapshot::SCHEMA.into(),
        taken_at: wall.rfc3339(host.taken_at),
        host: message::Host {
            kernel: host.facts.kernel.clone(),
            kvm_vendor: host.facts.kvm_vendor.clone(),
            map_rules: host.map_rules.map_or("unknown", |rules| rules.name()).into(),
        },
        vms: host.vms.iter().map(|view| vm(view, wall)).collect(),
    }
}

/// One event line.
#[must_use]
pub fn event(event: &Event, wall: WallClock) -> message::Event {
    message::Event {
        schema: message::Event::SCHEMA,
        time: wall.rfc3339(event.change.at),
        event: event.change.kind.name(),
        vm: vm_ref(&event.vm),
        finding: finding(&event.vm, &event.change.finding, wall),
        latency_us: event.change.latency_nanos / 1_000,
    }
}

/// One status line.
#[must_use]
pub fn status(status: &Status, wall: WallClock) -> message::Status {
    message::Status {
        schema: message::Status::SCHEMA,
        time: wall.rfc3339(status.at),
        status: status.kind.name(),
        vm: status.vm.as_ref().map(vm_ref),
        records: status.kind.count(),
    }
}

/// One VM's deliveries as one document.
#[must_use]
pub fn deliver(vm: &VmIdentity, deliveries: &Deliveries) -> message::Deliver {
    message::Deliver {
        schema: message::Deliver::SCHEMA,
        vm: vm_ref(vm),
        mode: map_mode(deliveries.mode),
        destinations: deliveries.rows.iter().map(delivery).collect(),
    }
}

/// The word for a map's mode; without one the map is NULL.
#[must_use]
pub fn map_mode(mode: Option<MapMode>) -> &'static str {
    mode.map_or("none", MapMode::name)
}

fn delivery(delivery: &Delivery) -> message::Delivery {
    message::Delivery {
        dest: delivery.dest,
        architecture: delivery.architecture.clone(),
        kvm: delivery.kvm.clone(),
        verdict: delivery.verdict.name(),
    }
}

/// One VM as in a snapshot.
#[must_use]
pub fn vm(view: &VmView<'_>, wall: WallClock) -> message::Vm {
    let vm = view.vm;
    message::Vm {
        vm: vm_ref(view.identity),
        confidence: vm.confidence().name().into(),
        vcpus: vm.vcpus().iter().map(vcpu).collect(),
        map: maps(vm),
        apicv: message::Apicv {
            inhibits: vm
                .inhibits()
                .iter()
                .map(|reason| reason.name().to_owned())
                .collect(),
        },
        aimed: vm.logical_aims().map(aimed).collect(),
        findings: view
            .findings
            .iter()
            .map(|f| finding(view.identity, f, wall))
            .collect(),
    }
}

fn vm_ref(vm: &VmIdentity) -> message::VmRef {
    message::VmRef {
        name: vm.name.clone(),
        uuid: vm.uuid.clone(),
        vmm: vm.vmm.clone(),
        pid: vm.pid,
    }
}

fn vcpu(vcpu: &VcpuSample) -> message::Vcpu {
    let lapic = &vcpu.lapic;
    message::Vcpu {
        vcpu_id: vcpu.id.0,
        apic_id: lapic.apic_id().0,
        mode: lapic.mode().name().into(),
        hw_enabled: lapic.hw_enabled(),
        sw_enabled: lapic.sw_enabled,
        ldr: lapic.ldr.0,
        dfr: lapic.dfr.0,
        svr: lapic.svr.0,
        apic_base: lapic.apic_base.0,
    }
}

/// A VM that was never read, or whose LAPICs are not in KVM, has no maps; a NULL map is one of mode `none`. One that is
/// judged as if by another KVM has no published map of that KVM's.
fn maps(vm: &Vm) -> message::Maps {
    let observable = vm.sampled_yet() && vm.confidence() != Confidence::Unobservable;
    message::Maps {
        published: (observable && vm.as_if().is_none()).then(|| map(vm, vm.published())),
        rebuilt: vm
            .rebuild()
            .filter(|_| observable)
            .map(|rebuild| map(vm, rebuild.map.as_ref())),
        agrees: vm.agrees(),
    }
}

fn map(vm: &Vm, map: Option<&LogicalAndPhysicalMap>) -> message::Map {
    let Some(map) = map else {
        return message::Map {
            mode: map_mode(None).into(),
            slots: Vec::new(),
            physical: Vec::new(),
        };
    };
    // A published map can hold a vCPU that the sample does not: one that is being made or torn down.
    let owner = |idx: &VcpuIdx| vm.vcpu_id(*idx).map(|id| id.0);
    message::Map {
        mode: map_mode(Some(map.mode)).into(),
        slots: map
            .slots
            .iter()
            .filter_map(|(at, idx)| {
                Some(message::SlotEntry {
                    slot: slot(at),
                    vcpu_id: owner(idx)?,
                })
            })
            .collect(),
        physical: map
            .physical
            .iter()
            .filter_map(|(id, idx)| {
                Some(message::PhysicalEntry {
                    apic_id: id.0,
                    vcpu_id: owner(idx)?,
                })
            })
            .collect(),
    }
}

const fn slot(slot: &Slot) -> message::Slot {
    message::Slot {
        cluster: slot.cluster,
        bit: slot.bit,
    }
}

fn aimed(aim: &Aim) -> message::Aimed {
    message::Aimed {
        source: aim.source.name().into(),
        index: aim.index,
        dest: aim.dest,
        vector: aim.vector,
    }
}

fn finding(vm: &VmIdentity, finding: &Finding, wall: WallClock) -> message::Finding {
    message::Finding {
        id: finding_id(vm, &finding.key),
        rule: finding.key.rule.name().into(),
        severity: finding.severity.name().into(),
        vcpus: finding.vcpus.iter().map(|id| id.0).collect(),
        slots: finding.slots.iter().map(slot).collect(),
        since: finding.since.map(|at| wall.rfc3339(at)),
        summary: finding.summary.clone(),
        confidence: finding.confidence.name().into(),
        suspected: finding.suspected,
        effect: message::Effect {
            lost: finding.effect.lost,
            misrouted: finding.effect.misrouted,
            partial: finding.effect.partial,
            slow: finding.effect.slow,
        },
        evidence: finding.evidence.iter().map(evidence).collect(),
        cause: finding.cause.as_ref().map(cause),
    }
}

fn evidence(evidence: &Evidence) -> message::Evidence {
    let lapic = &evidence.lapic;
    message::Evidence {
        vcpu_id: evidence.vcpu_id.0,
        apic_id: lapic.apic_id().0,
        ldr: lapic.ldr.0,
        dfr: lapic.dfr.0,
        svr: lapic.svr.0,
        apic_base: lapic.apic_base.0,
    }
}

fn cause(cause: &Cause) -> message::Cause {
    message::Cause {
        route: cause.route.name().into(),
        vcpu_id: cause.vcpu_id.map(|id| id.0),
        tid: cause.task.as_ref().map(|task| task.tid),
        comm: cause.task.as_ref().map(|task| task.comm.to_string()),
        register: cause.register.map(|register| register.name().into()),
        old: cause.old,
        new: cause.new,
        guest_rip: cause.guest_rip,
        certain: cause.certain,
    }
}
