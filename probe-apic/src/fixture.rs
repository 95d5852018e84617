//! Builders for tests: vCPUs in the states that guests leave them in, samples and touches.

use crate::{
    aim::{Aim, AimSource},
    apicv::Inhibits,
    cause::{Route, Task},
    host::Host,
    id::{BootTime, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map_rules::MapRules,
    observation::{Irqchip, Observation, Origin, Touch, Touched, VcpuSample, VmSample, VmSeen},
    rebuild::rebuild,
    reg::{ApicBase, Dfr, Ldr, Svr},
    vm::Vm,
};

pub(crate) const VM: VmId = VmId(1);

/// A vCPU in power-on state whose number is its order of creation.
pub(crate) fn vcpu(number: u32) -> VcpuSample {
    VcpuSample {
        idx: VcpuIdx(number),
        id: VcpuId(number),
        lapic: Lapic::power_on(VcpuId(number)),
    }
}

/// An enabled xAPIC, flat, with this logical ID.
pub(crate) fn flat(number: u32, logical_id: u32) -> VcpuSample {
    with(vcpu(number), |lapic| {
        lapic.ldr = Ldr(logical_id << 24);
        enable(lapic);
    })
}

/// An enabled xAPIC, cluster, with this logical ID.
pub(crate) fn cluster(number: u32, logical_id: u32) -> VcpuSample {
    with(flat(number, logical_id), |lapic| lapic.dfr = Dfr::CLUSTER)
}

/// An enabled x2APIC.
pub(crate) fn x2apic(number: u32) -> VcpuSample {
    with(vcpu(number), |lapic| {
        lapic.apic_base = ApicBase(ApicBase::POWER_ON.0 | 1 << 10);
        lapic.id = number;
        lapic.ldr = Ldr::of_x2apic(number);
        enable(lapic);
    })
}

pub(crate) fn with(mut vcpu: VcpuSample, change: impl FnOnce(&mut Lapic)) -> VcpuSample {
    change(&mut vcpu.lapic);
    vcpu
}

pub(crate) fn enable(lapic: &mut Lapic) {
    lapic.svr = Svr(0x1ff);
    lapic.sw_enabled = true;
}

pub(crate) fn disable(lapic: &mut Lapic) {
    lapic.svr = Svr(0xff);
    lapic.sw_enabled = false;
}

/// A bigsmp guest: every LDR is the APIC ID.
pub(crate) fn bigsmp(vcpus: u32) -> Vec<VcpuSample> {
    (0..vcpus).map(|number| flat(number, number)).collect()
}

/// A flat Linux guest of up to eight vCPUs.
pub(crate) fn clean_flat(vcpus: u32) -> Vec<VcpuSample> {
    (0..vcpus).map(|number| flat(number, 1 << number)).collect()
}

/// A consistent sample under `rules`: its published map is the one that KVM would have built.
pub(crate) fn sample(at: u64, vcpus: Vec<VcpuSample>, rules: MapRules) -> VmSample {
    VmSample {
        vm: VM,
        at: BootTime(at),
        trigger: BootTime(at),
        published: rebuild(&vcpus, false, rules).map,
        mapped_vcpus: None,
        // As if every moment had its recalculation: what is older by the clock is older by the count.
        recalculations: at,
        vcpus,
        consistent: true,
        irqchip: Irqchip::Kernel,
        x2apic_format: false,
        broadcast_quirk_disabled: false,
        apicv_inhibits: Inhibits::NONE,
        aims: Vec::new(),
    }
}

pub(crate) fn seen(origin: Origin) -> Observation {
    Observation::VmSeen(VmSeen {
        vm: VM,
        at: BootTime(0),
        origin,
    })
}

/// An unmasked IOAPIC pin 2, vector 0x30.
pub(crate) fn pin(dest: u32) -> Aim {
    Aim {
        source: AimSource::Ioapic,
        index: 2,
        dest,
        vector: 0x30,
        logical: true,
        lowest_priority: false,
    }
}

/// A host with one VM, found running in the state of `sample`.
pub(crate) fn host_with(sample: VmSample, rules: MapRules) -> Host {
    let mut host = Host::new(Some(rules));
    host.apply(&seen(Origin::Scan));
    // Twice, since a divergence has to be confirmed.
    let again = VmSample {
        at: sample.at.plus(50_000_000),
        ..sample.clone()
    };
    host.apply(&Observation::Sample(sample));
    host.apply(&Observation::Sample(again));
    host
}

/// The VM of a host that has only one.
pub(crate) fn only_vm(host: &Host) -> &Vm {
    host.vm(&VM).unwrap()
}

pub(crate) fn touched(at: u64, what: Touch, tid: u32, vcpu: &VcpuSample) -> Observation {
    Observation::Touched(Touched {
        vm: VM,
        at: BootTime(at),
        recalculations: at,
        what,
        vcpu: Some(vcpu.id),
        lapic: Some(vcpu.lapic),
        task: Task {
            tid,
            tgid: 100,
            comm: format!("CPU {tid}/KVM").as_str().into(),
        },
    })
}

pub(crate) fn recalculated(at: u64, vcpu: &VcpuSample) -> Observation {
    touched(at, Touch::Recalculated, 1000 + vcpu.idx.0, vcpu)
}

pub(crate) fn entered(at: u64, route: Route, vcpu: &VcpuSample) -> Observation {
    touched(at, Touch::Entered(route), 1000 + vcpu.idx.0, vcpu)
}
