//! A reading in the analysis' own terms: registers, and the published map with its pointers turned into vCPUs.
//!
//! The sources that aim at a destination are [`super::aims`]' business.

use std::collections::HashMap;

use probe_apic::{
    id::{ApicId, BootTime, Slot, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map::{MapMode, PublishedMap},
    observation::{Irqchip, VcpuSample, VmSample},
    reg::{ApicBase, Dfr, Ldr, Svr},
};
use probe_common::{
    regs::Registers,
    window::{UNKNOWN, Vcpu},
};

use super::reading::Reading;
use crate::kernel::layout::{Encoding, MapModeKind};

impl Reading {
    /// The reading in the analysis' terms.
    #[must_use]
    pub fn into_sample(self, at: BootTime, trigger: BootTime, encoding: &Encoding) -> VmSample {
        let irqchip = match self.copy.irqchip_mode {
            1 => Irqchip::Kernel,
            2 => Irqchip::Split,
            _ => Irqchip::Userspace,
        };
        let vcpus: Vec<VcpuSample> = if irqchip == Irqchip::Userspace {
            Vec::new()
        } else {
            self.vcpus.iter().map(vcpu_sample).collect()
        };
        let (published, known) = self.published(encoding.map_mode);
        let mapped = self.copy.before.mapped_vcpus;
        VmSample {
            vm: VmId(self.copy.before.generation),
            at,
            trigger,
            recalculations: self.copy.before.recalculations,
            consistent: self.steady && known,
            published,
            mapped_vcpus: (mapped != UNKNOWN).then_some(mapped),
            irqchip,
            x2apic_format: self.copy.x2apic_format != 0,
            broadcast_quirk_disabled: self.copy.broadcast_quirk_disabled != 0,
            apicv_inhibits: encoding.inhibits.decode(self.copy.apicv_inhibits),
            aims: self.aims(),
            vcpus,
        }
    }

    /// KVM's map with its pointers turned into vCPUs; false where a pointer or the mode is not known.
    fn published(&self, map_mode: MapModeKind) -> (Option<PublishedMap>, bool) {
        if self.copy.before.apic_map == 0 {
            return (None, true);
        }
        let owners: HashMap<u64, VcpuIdx> = self
            .vcpus
            .iter()
            .map(|vcpu| (vcpu.lapic, VcpuIdx(vcpu.vcpu_idx)))
            .collect();
        let mut known = true;
        let mut owner = |pointer: u64| {
            let idx = owners.get(&pointer).copied();
            known &= idx.is_some();
            idx
        };
        let mode = mode(self.copy.map_mode, map_mode);
        let bits = match mode {
            Some(MapMode::Flat) => 8,
            Some(MapMode::Cluster) => 4,
            _ => 0,
        };
        let clusters = if mode == Some(MapMode::Cluster) { 16 } else { 1 };
        let names = (0..clusters).flat_map(|cluster| (0..bits).map(move |bit| Slot { cluster, bit }));
        let slots = names
            .zip(&self.copy.slots)
            .filter(|(_, pointer)| **pointer != 0)
            .filter_map(|(slot, &pointer)| Some((slot, owner(pointer)?)))
            .collect();
        let physical = (0..)
            .map(ApicId)
            .zip(&self.physical)
            .filter(|(_, pointer)| **pointer != 0)
            .filter_map(|(apic_id, &pointer)| Some((apic_id, owner(pointer)?)))
            .collect();
        let known = known && mode.is_some();
        let mode = mode.unwrap_or(MapMode::Mixed);
        (
            Some(PublishedMap {
                mode,
                slots,
                physical,
                max_apic_id: self.copy.max_apic_id,
            }),
            known,
        )
    }
}

/// The map's mode: bits 4 cluster, 8 flat, 16 x2APIC (to 6.2), or `enum kvm_apic_logical_mode` (6.3 on);
/// arch/x86/include/asm/kvm_host.h.
const fn mode(raw: u32, kind: MapModeKind) -> Option<MapMode> {
    Some(match (kind, raw) {
        (_, 0) => MapMode::SwDisabled,
        (MapModeKind::Bits, 4) | (MapModeKind::Enum, 1) => MapMode::Cluster,
        (MapModeKind::Bits, 8) | (MapModeKind::Enum, 2) => MapMode::Flat,
        (MapModeKind::Bits, 16) | (MapModeKind::Enum, 3) => MapMode::X2apic,
        (MapModeKind::Bits, 12 | 20 | 24 | 28) => MapMode::Mixed,
        (MapModeKind::Enum, 4) => MapMode::Disabled,
        _ => return None,
    })
}

fn vcpu_sample(vcpu: &Vcpu) -> VcpuSample {
    VcpuSample {
        idx: VcpuIdx(vcpu.vcpu_idx),
        id: VcpuId(vcpu.vcpu_id),
        lapic: lapic(&vcpu.regs),
    }
}

/// Registers of the wire in the analysis' terms.
pub(super) const fn lapic(regs: &Registers) -> Lapic {
    Lapic {
        id: regs.id,
        ldr: Ldr(regs.ldr),
        dfr: Dfr(regs.dfr),
        svr: Svr(regs.svr),
        apic_base: ApicBase(regs.apic_base),
        sw_enabled: regs.sw_enabled != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_mode_is_not_guessed() {
        assert_eq!(mode(5, MapModeKind::Enum), None);
        assert_eq!(mode(3, MapModeKind::Bits), None);
        assert_eq!(mode(24, MapModeKind::Bits), Some(MapMode::Mixed));
    }
}
