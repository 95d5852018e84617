//! A reading in the analysis' own terms: registers, the published map with its pointers turned into vCPUs, and
//! the sources that aim at a destination.

use std::collections::HashMap;

use probe_apic::{
    aim::{Aim, AimSource},
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
use crate::kernel::layout::MapModeKind;

impl Reading {
    /// The reading in the analysis' terms.
    pub(super) fn into_sample(self, at: BootTime, trigger: BootTime, map_mode: MapModeKind) -> VmSample {
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
        let (published, known) = self.published(map_mode);
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
            apicv_inhibits: self.copy.apicv_inhibits,
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

    fn aims(&self) -> Vec<Aim> {
        let pins = if self.copy.has_pins == 1 {
            &self.copy.pins[..]
        } else {
            &[]
        };
        let pins = pins
            .iter()
            .zip(0..)
            .filter_map(|(&entry, pin)| pin_aim(entry, pin));
        pins.chain(self.vcpus.iter().filter_map(icr_aim)).collect()
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

/// Bit 11 of an ICR and of a redirection entry: the destination is logical.
const LOGICAL: u64 = 1 << 11;

/// The delivery mode of an ICR or a redirection entry, bits 10:8: whether it is lowest priority. `None` for what
/// carries no vector to a destination's IRR (SMI, NMI, INIT, SIPI, ExtINT).
const fn lowest_priority(entry: u64) -> Option<bool> {
    match (entry >> 8) & 7 {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// An unmasked pin of the IOAPIC (82093AA data sheet, "I/O Redirection Table Registers").
fn pin_aim(entry: u64, pin: u32) -> Option<Aim> {
    const MASKED: u64 = 1 << 16;
    if entry & MASKED != 0 {
        return None;
    }
    Some(Aim {
        source: AimSource::Ioapic,
        index: pin,
        dest: (entry >> 56) as u32,
        vector: entry as u8,
        logical: entry & LOGICAL != 0,
        lowest_priority: lowest_priority(entry)?,
    })
}

/// The last ICR of an enabled vCPU (SDM vol. 3, "Interrupt Command Register"), shorthands left out.
///
/// In x2APIC mode KVM keeps the destination in the upper half at 0x300 (Intel) or at 0x310 (AMD), and
/// leaves the other zero.
fn icr_aim(vcpu: &Vcpu) -> Option<Aim> {
    const SHORTHAND: u64 = 3 << 18;
    const X2APIC: u64 = 1 << 10;
    const ENABLED: u64 = 1 << 11;
    let base = vcpu.regs.apic_base;
    let enabled = vcpu.is_sound() && base & ENABLED != 0 && vcpu.regs.sw_enabled != 0;
    if !enabled || vcpu.icr as u32 == 0 || vcpu.icr & SHORTHAND != 0 {
        return None;
    }
    let dest = if base & X2APIC != 0 {
        (vcpu.icr >> 32) as u32 | vcpu.icr2
    } else {
        vcpu.icr2 >> 24
    };
    Some(Aim {
        source: AimSource::Icr,
        index: vcpu.vcpu_id,
        dest,
        vector: vcpu.icr as u8,
        logical: vcpu.icr & LOGICAL != 0,
        lowest_priority: lowest_priority(vcpu.icr)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_pin_and_one_without_a_vector_aim_at_nothing() {
        assert_eq!(pin_aim(0x0100_0000_0001_0830, 2), None);
        for without_vector in [2, 4, 5, 7] {
            assert_eq!(pin_aim(0x0100_0000_0000_0800 | without_vector << 8, 0), None);
        }
    }

    #[test]
    fn an_armed_pin_gives_its_destination_and_vector() {
        let aim = pin_aim(0x0100_0000_0000_0830, 2).unwrap();
        assert_eq!(
            (aim.source, aim.index, aim.dest, aim.vector, aim.logical),
            (AimSource::Ioapic, 2, 1, 0x30, true)
        );
        assert!(!pin_aim(0x0100_0000_0000_0030, 2).unwrap().logical);
        assert!(!aim.lowest_priority);
        assert!(pin_aim(0x0100_0000_0000_0930, 2).unwrap().lowest_priority);
    }

    fn vcpu(apic_base: u64, icr: u64, icr2: u32) -> Vcpu {
        let regs = Registers {
            apic_base,
            sw_enabled: 1,
            ..Registers::ZERO
        };
        Vcpu {
            regs,
            icr,
            icr2,
            vcpu_id: 3,
            ..bytemuck::Zeroable::zeroed()
        }
    }

    #[test]
    fn the_icr_of_either_mode_and_vendor_gives_its_destination() {
        assert_eq!(icr_aim(&vcpu(0x800, 0x8fd, 0x0200_0000)).unwrap().dest, 2);
        assert_eq!(
            icr_aim(&vcpu(0xC00, 0x0001_0002_0000_08fd, 0)).unwrap().dest,
            0x0001_0002
        );
        assert_eq!(
            icr_aim(&vcpu(0xC00, 0x8fd, 0x0001_0002)).unwrap().dest,
            0x0001_0002
        );
    }

    #[test]
    fn shorthands_unused_icrs_and_disabled_apics_aim_at_nothing() {
        assert_eq!(icr_aim(&vcpu(0x800, 0xc_08fd, 0)), None);
        assert_eq!(icr_aim(&vcpu(0x800, 0, 0)), None);
        assert_eq!(icr_aim(&vcpu(0, 0x8fd, 0)), None);
    }

    #[test]
    fn an_unknown_mode_is_not_guessed() {
        assert_eq!(mode(5, MapModeKind::Enum), None);
        assert_eq!(mode(3, MapModeKind::Bits), None);
        assert_eq!(mode(24, MapModeKind::Bits), Some(MapMode::Mixed));
    }
}
