//! KVM's recalculation and delivery, step by step as arch/x86/kvm/lapic.c has them: arrays, early exits and all.
//!
//! Nothing here is shared with the model that it is compared with. Before 6.3 the steps are those of 6.1, with the
//! software-enabled test left out for the rules of up to 5.2; from 6.3 on those of 6.12.

use probe_apic::{
    id::{ApicId, Slot, VcpuIdx},
    map::{MapMode, RebuiltMap},
    map_rules::MapRules,
    observation::VcpuSample,
};

use crate::strategy::Machine;

mod delivery;

pub(crate) use delivery::{architecture_names, deliver};

/// Bits of `kvm_apic_map.mode` before 6.3.
mod bits {
    pub(super) const CLUSTER: u32 = 4;
    pub(super) const FLAT: u32 = 8;
    pub(super) const X2APIC: u32 = 16;
}

/// `enum kvm_apic_logical_mode`, from 6.3 on.
mod logical_mode {
    pub(super) const SW_DISABLED: u32 = 0;
    pub(super) const CLUSTER: u32 = 1;
    pub(super) const FLAT: u32 = 2;
    pub(super) const X2APIC: u32 = 3;
    pub(super) const MAP_DISABLED: u32 = 4;
}

/// How a lookup reads the map's mode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lookup {
    X2apic,
    Flat,
    Cluster,
    /// `KVM_APIC_MODE_SW_DISABLED`: a row without entries.
    Empty,
    NotOptimised,
}

/// `struct kvm_apic_map`.
pub(crate) struct Map {
    mode: u32,
    rules: MapRules,
    max_apic_id: u32,
    /// `xapic_flat_map` and `xapic_cluster_map`, which share their memory.
    logical: [Option<VcpuIdx>; 64],
    phys_map: Vec<Option<VcpuIdx>>,
}

fn x2apic_mode(vcpu: &VcpuSample) -> bool {
    vcpu.lapic.apic_base.0 & 0x400 != 0
}

fn present(vcpu: &VcpuSample) -> bool {
    vcpu.lapic.apic_base.0 & 0x800 != 0
}

/// `kvm_recalculate_apic_map`; `None` is a NULL map.
pub(crate) fn recalculate(machine: &Machine, rules: MapRules) -> Option<Map> {
    let mut max_apic_id = 255;
    for vcpu in &machine.vcpus {
        if present(vcpu) {
            max_apic_id = max_apic_id.max(vcpu.id.0);
        }
    }
    let mut map = Map {
        mode: 0,
        rules,
        max_apic_id,
        logical: [None; 64],
        phys_map: vec![None; max_apic_id as usize + 1],
    };
    for vcpu in &machine.vcpus {
        if !present(vcpu) {
            continue;
        }
        match rules {
            MapRules::KeepDisabled | MapRules::Overwrite => {
                map.enter_physical(vcpu);
                if rules == MapRules::Overwrite && !vcpu.lapic.sw_enabled {
                    continue;
                }
                map.enter_logical_before_6_3(vcpu);
            }
            MapRules::ConflictDisables => {
                if machine.x2apic_format {
                    map.enter_physical(vcpu);
                } else {
                    let physical_id = if x2apic_mode(vcpu) {
                        vcpu.id.0
                    } else {
                        vcpu.lapic.id >> 24
                    };
                    if map.phys_map[physical_id as usize].is_some() {
                        return None;
                    }
                    map.phys_map[physical_id as usize] = Some(vcpu.idx);
                }
                map.enter_logical_from_6_3(vcpu);
            }
        }
    }
    Some(map)
}

impl Map {
    fn enter_physical(&mut self, vcpu: &VcpuSample) {
        let x2apic_id = vcpu.id.0 as usize;
        let xapic_id = (vcpu.lapic.id >> 24) as usize;
        if x2apic_mode(vcpu) || x2apic_id > 0xff {
            self.phys_map[x2apic_id] = Some(vcpu.idx);
        }
        if !x2apic_mode(vcpu) && self.phys_map[xapic_id].is_none() {
            self.phys_map[xapic_id] = Some(vcpu.idx);
        }
    }

    fn enter_logical_before_6_3(&mut self, vcpu: &VcpuSample) {
        let mut ldr = vcpu.lapic.ldr.0;
        if x2apic_mode(vcpu) {
            self.mode |= bits::X2APIC;
        } else if ldr != 0 {
            ldr >>= 24;
            if vcpu.lapic.dfr.0 == 0xffff_ffff {
                self.mode |= bits::FLAT;
            } else {
                self.mode |= bits::CLUSTER;
            }
        }
        let Some((row, mask)) = self.logical_dest(ldr) else {
            return;
        };
        if mask != 0 {
            *self.entry(row + mask.trailing_zeros() as usize) = Some(vcpu.idx);
        }
    }

    fn enter_logical_from_6_3(&mut self, vcpu: &VcpuSample) {
        if self.mode == logical_mode::MAP_DISABLED {
            return;
        }
        if !vcpu.lapic.sw_enabled {
            return;
        }
        let mut ldr = vcpu.lapic.ldr.0;
        if ldr == 0 {
            return;
        }
        let mode = if x2apic_mode(vcpu) {
            logical_mode::X2APIC
        } else {
            ldr >>= 24;
            if vcpu.lapic.dfr.0 == 0xffff_ffff {
                logical_mode::FLAT
            } else {
                logical_mode::CLUSTER
            }
        };
        if self.mode == logical_mode::SW_DISABLED {
            self.mode = mode;
        } else if self.mode != mode {
            self.mode = logical_mode::MAP_DISABLED;
            return;
        }
        if x2apic_mode(vcpu) {
            return;
        }
        let Some((row, mask)) = self.logical_dest(ldr) else {
            return;
        };
        if mask == 0 {
            return;
        }
        let entry = self.entry(row + mask.trailing_zeros() as usize);
        if !mask.is_power_of_two() || entry.is_some() {
            self.mode = logical_mode::MAP_DISABLED;
        } else {
            *entry = Some(vcpu.idx);
        }
    }

    fn lookup(&self) -> Lookup {
        match (self.rules, self.mode) {
            (MapRules::ConflictDisables, logical_mode::SW_DISABLED) => Lookup::Empty,
            (MapRules::ConflictDisables, logical_mode::CLUSTER) => Lookup::Cluster,
            (MapRules::ConflictDisables, logical_mode::FLAT) => Lookup::Flat,
            (MapRules::ConflictDisables, logical_mode::X2APIC) => Lookup::X2apic,
            (MapRules::ConflictDisables, _) => Lookup::NotOptimised,
            (_, bits::CLUSTER) => Lookup::Cluster,
            (_, bits::FLAT) => Lookup::Flat,
            (_, bits::X2APIC) => Lookup::X2apic,
            _ => Lookup::NotOptimised,
        }
    }

    /// `kvm_apic_map_get_logical_dest`: where the row begins, in the array that the mode says, and which of its
    /// entries are meant; `None` where the lookup is not optimised.
    fn logical_dest(&self, dest: u32) -> Option<(usize, u32)> {
        match self.lookup() {
            Lookup::X2apic => {
                let offset = (dest >> 16) * 16;
                if offset > self.max_apic_id {
                    return Some((0, 0));
                }
                let cluster_size = (self.max_apic_id - offset + 1).min(16);
                Some((offset as usize, dest & (0xffff >> (16 - cluster_size))))
            }
            Lookup::Flat => Some((0, dest & 0xff)),
            Lookup::Cluster => Some((((dest >> 4) & 0xf) as usize * 4, dest & 0xf)),
            Lookup::Empty => Some((0, 0)),
            Lookup::NotOptimised => None,
        }
    }

    fn entry(&mut self, at: usize) -> &mut Option<VcpuIdx> {
        if self.lookup() == Lookup::X2apic {
            &mut self.phys_map[at]
        } else {
            &mut self.logical[at]
        }
    }

    /// The same in the model's terms.
    pub(crate) fn in_the_models_terms(&self) -> RebuiltMap {
        let (mode, width) = match (self.rules, self.lookup()) {
            (_, Lookup::X2apic) => (MapMode::X2apic, 0),
            (_, Lookup::Flat) => (MapMode::Flat, 8),
            (_, Lookup::Cluster) => (MapMode::Cluster, 4),
            (_, Lookup::Empty) => (MapMode::SwDisabled, 0),
            (MapRules::ConflictDisables, Lookup::NotOptimised) => (MapMode::Disabled, 0),
            (_, Lookup::NotOptimised) if self.mode == 0 => (MapMode::SwDisabled, 0),
            (_, Lookup::NotOptimised) => (MapMode::Mixed, 0),
        };
        let mut slots = Vec::new();
        if width > 0 {
            let used = if width == 8 { 8 } else { 64 };
            for (at, entry) in self.logical[..used].iter().enumerate() {
                let (cluster, bit) = ((at / width) as u8, (at % width) as u8);
                slots.extend(entry.map(|idx| (Slot { cluster, bit }, idx)));
            }
        }
        let mut physical = Vec::new();
        for (id, entry) in (0..).zip(&self.phys_map) {
            physical.extend(entry.map(|idx| (ApicId(id), idx)));
        }
        RebuiltMap {
            mode,
            slots,
            physical,
            max_apic_id: self.max_apic_id,
        }
    }
}
