//! The VMs that the benchmarks judge: what guests of each kind leave in the registers, at any size.

use probe_apic::{
    aim::{Aim, AimSource},
    apicv::Inhibits,
    id::{BootTime, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map_rules::MapRules,
    observation::{Irqchip, VcpuSample, VmSample},
    rebuild::rebuild,
    reg::{ApicBase, Dfr, Ldr, Svr},
};

/// A kind of guest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Guest {
    /// Linux on up to 8 vCPUs: one flat bit each.
    Flat,
    /// Up to 60 vCPUs, four a cluster.
    Cluster,
    /// As large VMs are.
    X2apic,
    /// The guest of 2019: LDR = APIC ID << 24. Nearly every slot is claimed by several.
    Bigsmp,
    /// Nobody's guest: every vCPU claims every slot, and aims at a broken destination.
    Hostile,
}

impl Guest {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Cluster => "cluster",
            Self::X2apic => "x2apic",
            Self::Bigsmp => "bigsmp",
            Self::Hostile => "hostile",
        }
    }

    /// `count` of its vCPUs, all enabled.
    pub(crate) fn vcpus(self, count: u32) -> Vec<VcpuSample> {
        (0..count).map(|number| self.vcpu(number)).collect()
    }

    fn vcpu(self, number: u32) -> VcpuSample {
        let id = VcpuId(number);
        let enabled = Lapic {
            svr: Svr(0x1ff),
            sw_enabled: true,
            ..Lapic::power_on(id)
        };
        let lapic = match self {
            Self::Flat => Lapic {
                ldr: Ldr(1 << (24 + number % 8)),
                ..enabled
            },
            Self::Cluster => Lapic {
                ldr: Ldr((number / 4) << 28 | 1 << (24 + number % 4)),
                dfr: Dfr::CLUSTER,
                ..enabled
            },
            Self::X2apic => Lapic {
                id: number,
                ldr: Ldr::of_x2apic(number),
                apic_base: ApicBase(ApicBase::POWER_ON.0 | 1 << 10),
                ..enabled
            },
            Self::Bigsmp => Lapic {
                ldr: Ldr(number << 24),
                ..enabled
            },
            Self::Hostile => Lapic {
                ldr: Ldr(0xff00_0000),
                ..enabled
            },
        };
        VcpuSample {
            idx: VcpuIdx(number),
            id,
            lapic,
        }
    }

    fn aims(self, count: u32) -> Vec<Aim> {
        let aim = |index: u32| Aim {
            source: AimSource::MsiRoute,
            index,
            dest: index % 255,
            vector: (index % 224) as u8 + 32,
            logical: true,
            lowest_priority: true,
        };
        match self {
            Self::Hostile => (0..count).map(aim).collect(),
            _ => (0..4).map(aim).collect(),
        }
    }

    /// A consistent read of such a VM on a KVM of these rules.
    pub(crate) fn sample(self, count: u32, rules: MapRules) -> VmSample {
        let vcpus = self.vcpus(count);
        VmSample {
            vm: VmId(1),
            at: BootTime(1),
            trigger: BootTime(1),
            published: rebuild(&vcpus, false, rules).map,
            mapped_vcpus: Some(count),
            recalculations: 1,
            consistent: true,
            irqchip: Irqchip::Kernel,
            x2apic_format: false,
            broadcast_quirk_disabled: false,
            apicv_inhibits: Inhibits::NONE,
            aims: self.aims(count),
            vcpus,
        }
    }
}
