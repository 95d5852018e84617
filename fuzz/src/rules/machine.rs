//! A VM as KVM would have it, and what a read of it or an event says.

use probe_apic::{
    aim::Aim,
    apicv::{Inhibit, Inhibits},
    cause::{Register, Task},
    id::{ApicId, BootTime, Slot, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map::PublishedMap,
    observation::{Irqchip, Touch, Touched, VcpuSample, VmSample},
    rebuild::rebuild,
    reg::{ApicBase, Dfr, Ldr, Svr},
};

use super::story::{self, Boot, Change, Fault, Read, TouchKind};

/// Enough for every flat and clustered slot, few enough to be quick.
const MOST_VCPUS: usize = 70;

#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    vcpus: Vec<VcpuSample>,
    aims: Vec<Aim>,
    x2apic_format: bool,
    broadcast_quirk_disabled: bool,
    inhibits: u32,
    recalculations: u64,
}

impl Machine {
    pub(super) fn change(&mut self, change: &Change) {
        self.recalculations += 1;
        match *change {
            Change::Create { first, count } => {
                (first..first + count).map(VcpuId).for_each(|id| self.create(id))
            }
            Change::Boot(how) => self.boot(how),
            Change::Write {
                vcpu,
                register,
                value,
            } => self.with(vcpu, |lapic| match register {
                Register::Id => lapic.id = value,
                Register::Ldr => lapic.ldr = Ldr(value),
                Register::Dfr => lapic.dfr = Dfr(value),
                Register::Svr => lapic.svr = Svr(value),
                Register::ApicBase => lapic.apic_base = ApicBase(value.into()),
            }),
            Change::SoftwareEnable { vcpu, enabled } => self.with(vcpu, |lapic| set_enabled(lapic, enabled)),
            Change::Init { vcpu } => self.with(vcpu, |lapic| {
                lapic.ldr = Ldr(0);
                lapic.dfr = Dfr::FLAT;
                set_enabled(lapic, false);
            }),
            Change::Aim(aim) => self.aims.push(aim),
            Change::AimAtNothing => self.aims.clear(),
            Change::X2apicFormat => self.x2apic_format = true,
            Change::DisableBroadcastQuirk => self.broadcast_quirk_disabled = true,
            Change::Inhibit { bits } => self.inhibits ^= bits,
        }
    }

    /// KVM refuses a second vCPU of one number.
    fn create(&mut self, id: VcpuId) {
        if self.vcpus.len() < MOST_VCPUS && self.vcpus.iter().all(|vcpu| vcpu.id != id) {
            let idx = VcpuIdx(self.vcpus.len() as u32);
            self.vcpus.push(VcpuSample {
                idx,
                id,
                lapic: Lapic::power_on(id),
            });
        }
    }

    fn boot(&mut self, how: Boot) {
        for VcpuSample { idx, id, lapic } in &mut self.vcpus {
            let (idx, id) = (idx.0, id.0);
            lapic.ldr = Ldr(match how {
                Boot::Flat => 1 << (24 + idx % 8),
                Boot::Cluster => (idx / 4) << 28 | 1 << (24 + idx % 4),
                Boot::X2apic => (id >> 4) << 16 | 1 << (id & 15),
                Boot::Bigsmp => id << 24,
            });
            let x2apic = matches!(how, Boot::X2apic);
            lapic.dfr = if matches!(how, Boot::Cluster) {
                Dfr::CLUSTER
            } else {
                Dfr::FLAT
            };
            lapic.id = if x2apic { id } else { id << 24 };
            lapic.apic_base = ApicBase(ApicBase::POWER_ON.0 | u64::from(x2apic) << 10);
            set_enabled(lapic, true);
        }
    }

    fn with(&mut self, number: u8, change: impl FnOnce(&mut Lapic)) {
        let count = self.vcpus.len().max(1);
        if let Some(vcpu) = self.vcpus.get_mut(usize::from(number) % count) {
            change(&mut vcpu.lapic);
        }
    }

    pub(super) fn touched(&self, touch: &story::Touched, vm: VmId, at: BootTime) -> Touched {
        let vcpu = self.vcpus.get(usize::from(touch.vcpu));
        let what = match touch.kind {
            TouchKind::Recalculated => Touch::Recalculated,
            TouchKind::VcpuBorn => Touch::VcpuBorn,
            TouchKind::Entered(route) => Touch::Entered(route),
            TouchKind::Wrote { register, new } => Touch::Wrote {
                register,
                old: vcpu.map(|vcpu| vcpu.lapic.register(register)),
                new: new.into(),
                guest_rip: None,
            },
        };
        Touched {
            vm,
            at,
            recalculations: self.recalculations.saturating_sub(touch.late_by.into()),
            what,
            vcpu: vcpu.map(|vcpu| vcpu.id),
            lapic: vcpu.filter(|_| touch.with_registers).map(|vcpu| vcpu.lapic),
            task: Task {
                tid: touch.vcpu.into(),
                tgid: 1,
                comm: "\u{1b}[31mCPU".into(),
            },
        }
    }

    fn inhibits(&self) -> Inhibits {
        const NAMES: [&str; 7] = [
            "disabled",
            "irqwin",
            "physical_id_aliased",
            "logical_id_aliased",
            "apic_id_modified",
            "apic_base_modified",
            "physical_id_too_big",
        ];
        let set = (0..NAMES.len()).filter(|bit| self.inhibits & 1 << bit != 0);
        set.map(|bit| Inhibit::named(NAMES[bit])).collect()
    }

    pub(super) fn sample(&self, read: &Read, vm: VmId, at: BootTime) -> VmSample {
        let mut sample = VmSample {
            vm,
            at,
            trigger: at,
            published: rebuild(&self.vcpus, self.x2apic_format, read.published_by).map,
            vcpus: self.vcpus.clone(),
            mapped_vcpus: read.mapped.then_some(self.vcpus.len() as u32),
            recalculations: self.recalculations,
            consistent: true,
            irqchip: Irqchip::Kernel,
            x2apic_format: self.x2apic_format,
            broadcast_quirk_disabled: self.broadcast_quirk_disabled,
            apicv_inhibits: self.inhibits(),
            aims: self.aims.clone(),
        };
        if let Some(fault) = &read.fault {
            spoil(&mut sample, fault);
        }
        sample
    }
}

fn set_enabled(lapic: &mut Lapic, enabled: bool) {
    lapic.svr = Svr(if enabled { 0x1ff } else { 0xff });
    lapic.sw_enabled = enabled;
}

fn spoil(sample: &mut VmSample, fault: &Fault) {
    match *fault {
        Fault::Torn => sample.consistent = false,
        Fault::NullMap => sample.published = None,
        Fault::OldCount => sample.recalculations = sample.recalculations.saturating_sub(1),
        Fault::UserspaceIrqchip => sample.irqchip = Irqchip::Userspace,
        Fault::SplitIrqchip => sample.irqchip = Irqchip::Split,
        Fault::OddMap { mode, slot, id, idx } => {
            let idx = VcpuIdx(idx.into());
            let slot = Slot {
                cluster: slot >> 4,
                bit: slot & 0xf,
            };
            sample.published = Some(PublishedMap {
                mode,
                slots: vec![(slot, idx)],
                physical: vec![(ApicId(id.into()), idx)],
                max_apic_id: 255,
            });
        }
        Fault::OddNumbers { vcpu, idx, id } => {
            if let Some(vcpu) = sample.vcpus.get_mut(usize::from(vcpu)) {
                vcpu.idx = VcpuIdx(idx.into());
                vcpu.id = VcpuId(id.into());
            }
        }
    }
}
