//! One VM read whole: as many copies as its size takes, checked against each other, turned into the
//! analysis' own terms.

use std::collections::HashMap;

use aya::programs::ProgramError;
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
    window::{PHYSICAL, Stamp, UNKNOWN, VCPUS, Vcpu, VmCopy},
};

use crate::{
    bpf::window::{Adopt, Copier},
    kernel::layout::MapModeKind,
};

/// Reads of a VM that changes underfoot before it is reported as it is, inconsistent.
const ATTEMPTS: usize = 4;

/// A VM as read, and what its copies say beside the registers.
#[derive(Debug)]
pub(super) struct Reading {
    /// Birth number.
    pub(super) generation: u64,
    /// Whether the VM is on KVM's list.
    pub(super) linked: bool,
    /// Whether it is a canary, this copy's or another's.
    pub(super) canary: bool,
    /// The thread that created it.
    pub(super) creator_tid: u32,
    /// The thread group that owns its memory now; 0 if not known.
    pub(super) owner_tgid: u32,
    /// Its name in debugfs, empty if not known.
    pub(super) debugfs_name: String,
    copy: Box<VmCopy>,
    vcpus: Vec<Vcpu>,
    physical: Vec<u64>,
    /// Whether nothing changed while it was read.
    pub(super) steady: bool,
}

/// Reads a VM, again while it changes underfoot. `None` where it is not known (any more), or is another VM
/// by now than the one of that birth number.
pub(super) fn read(
    copier: &mut Copier,
    kvm: u64,
    generation: Option<u64>,
    adopt: Adopt,
) -> Result<Option<Reading>, ProgramError> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let Some(reading) = read_once(copier, kvm, adopt)? else {
            return Ok(None);
        };
        if generation.is_some_and(|wanted| wanted != reading.generation) {
            return Ok(None);
        }
        let steady = reading.steady;
        last = Some(reading);
        if steady {
            break;
        }
    }
    Ok(last)
}

fn read_once(copier: &mut Copier, kvm: u64, adopt: Adopt) -> Result<Option<Reading>, ProgramError> {
    let copy = copier.vm(kvm, 0, 0, adopt)?;
    if copy.made == 0 {
        return Ok(None);
    }
    let online = copy.before.online_vcpus as usize;
    let entries = if copy.before.apic_map == 0 {
        0
    } else {
        copy.max_apic_id as usize + 1
    };
    let mut vcpus = copy.vcpus[..online.min(VCPUS)].to_vec();
    let mut physical = copy.physical[..entries.min(PHYSICAL)].to_vec();
    let mut failed = copy.failed != 0;
    let mut last_stamp = copy.after;
    while vcpus.len() < online || physical.len() < entries {
        // Both stretches grow by whole windows until they are complete.
        let (first_vcpu, first_physical) = (vcpus.len().next_multiple_of(VCPUS), physical.len());
        let more = copier.vm(kvm, first_vcpu as u32, first_physical as u32, Adopt::No)?;
        if more.made == 0 || more.before != copy.before {
            last_stamp = more.after;
            failed = true;
            break;
        }
        vcpus.extend_from_slice(&more.vcpus[..online.saturating_sub(first_vcpu).min(VCPUS)]);
        physical.extend_from_slice(&more.physical[..entries.saturating_sub(first_physical).min(PHYSICAL)]);
        failed |= more.failed != 0;
        last_stamp = more.after;
    }
    let unread = vcpus.iter().any(|vcpu| !vcpu.is_sound());
    let in_kernel = copy.irqchip_mode != 0;
    let steady = !failed && is_clean(&copy.before) && copy.before == last_stamp && !(unread && in_kernel);
    let end = copy
        .name
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(copy.name.len());
    Ok(Some(Reading {
        generation: copy.before.generation,
        linked: copy.before.linked == 1,
        canary: vcpus.first().is_some_and(Vcpu::is_canary),
        creator_tid: copy.creator_tid,
        owner_tgid: copy.owner_tgid,
        debugfs_name: String::from_utf8_lossy(&copy.name[..end]).into_owned(),
        copy,
        vcpus,
        physical,
        steady,
    }))
}

/// `apic_map_dirty` is 0: no register changed without a recalculation after it.
const fn is_clean(stamp: &Stamp) -> bool {
    stamp.dirty == 0
}

impl Reading {
    /// vCPUs that were read.
    pub(super) fn vcpus(&self) -> usize {
        self.vcpus.len()
    }

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
            vm: VmId(self.generation),
            at,
            trigger,
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

/// An unmasked pin of the IOAPIC (82093AA data sheet, "I/O Redirection Table Registers"). ExtINT pins are
/// left out: their interrupt comes from the PIC.
fn pin_aim(entry: u64, pin: u32) -> Option<Aim> {
    const MASKED: u64 = 1 << 16;
    const LOGICAL: u64 = 1 << 11;
    const EXT_INT: u64 = 7;
    if entry & MASKED != 0 || (entry >> 8) & 7 == EXT_INT {
        return None;
    }
    Some(Aim {
        source: AimSource::Ioapic,
        index: pin,
        dest: (entry >> 56) as u32,
        vector: entry as u8,
        logical: entry & LOGICAL != 0,
    })
}

/// The last ICR of an enabled vCPU (SDM vol. 3, "Interrupt Command Register"), shorthands left out.
///
/// In x2APIC mode KVM keeps the destination in the upper half at 0x300 (Intel) or at 0x310 (AMD), and
/// leaves the other zero.
fn icr_aim(vcpu: &Vcpu) -> Option<Aim> {
    const LOGICAL: u64 = 1 << 11;
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_or_extint_pin_aims_at_nothing() {
        assert_eq!(pin_aim(0x0100_0000_0001_0830, 2), None);
        assert_eq!(pin_aim(0x0100_0000_0000_0700, 0), None);
    }

    #[test]
    fn an_armed_pin_gives_its_destination_and_vector() {
        let aim = pin_aim(0x0100_0000_0000_0830, 2).unwrap();
        assert_eq!(
            (aim.source, aim.index, aim.dest, aim.vector, aim.logical),
            (AimSource::Ioapic, 2, 1, 0x30, true)
        );
        assert!(!pin_aim(0x0100_0000_0000_0030, 2).unwrap().logical);
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
