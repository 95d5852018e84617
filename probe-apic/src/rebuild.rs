//! Rebuilds a VM's map from its vCPUs' registers, bit for bit as `kvm_recalculate_apic_map`
//! (arch/x86/kvm/lapic.c) of each generation would.
//!
//! The walk is in ascending `vcpu_idx`, over vCPUs whose APIC is hardware-enabled (`kvm_apic_present`). How
//! the map is used is left to [`crate::delivery`], whether it equals the published one to [`crate::vm`].

use crate::{
    cause::Register,
    id::{ApicId, Slot, VcpuIdx},
    lapic::Lapic,
    logical_id::{Model, NamedSlots},
    map::{MapMode, RebuiltMap},
    map_rules::MapRules,
    observation::VcpuSample,
};

mod physical;
#[cfg(test)]
mod tests;

use physical::PhysicalMap;

/// What a recalculation makes of the registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// The map; `None` where KVM would publish a NULL map.
    pub map: Option<RebuiltMap>,
    /// Where KVM gave up the logical map, or the whole of it.
    pub gave_up: Option<GaveUp>,
}

/// The vCPU and register at which KVM gave up the optimised map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaveUp {
    /// The vCPU whose turn it was.
    pub vcpu: VcpuIdx,
    /// The register that decided it.
    pub register: Register,
    /// What was wrong with it.
    pub reason: GaveUpReason,
}

/// Why KVM gave up the optimised map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUpReason {
    /// 6.3 on: the LDR names more than one slot.
    MultiBitLdr,
    /// 6.3 on: an earlier vCPU has the slot.
    SlotTaken {
        /// The slot.
        slot: Slot,
        /// The vCPU that has it.
        by: VcpuIdx,
    },
    /// The vCPU is in another mode than an earlier one.
    SecondMode,
    /// 6.3 on, without 32-bit APIC IDs: an earlier vCPU has the physical ID. The whole map is NULL.
    PhysicalIdTaken {
        /// The physical ID.
        id: ApicId,
        /// The vCPU that has it.
        by: VcpuIdx,
    },
}

/// Rebuilds the map of `vcpus` (ascending by index) under `rules`.
///
/// `x2apic_format` is `kvm->arch.x2apic_format`: with it, duplicate physical IDs are tolerated by every
/// generation.
#[must_use]
pub fn rebuild(vcpus: &[VcpuSample], x2apic_format: bool, rules: MapRules) -> Rebuild {
    let mut walk = Walk::over(vcpus);
    for vcpu in present(vcpus) {
        let entered = match rules {
            MapRules::ConflictDisables if !x2apic_format => walk.enter_physical_once(vcpu),
            _ => {
                walk.enter_physical(vcpu);
                Ok(())
            }
        };
        if let Err(gave_up) = entered {
            return Rebuild {
                map: None,
                gave_up: Some(gave_up),
            };
        }
        match rules {
            MapRules::KeepDisabled => walk.enter_overwriting(vcpu),
            MapRules::Overwrite if vcpu.lapic.sw_enabled => walk.enter_overwriting(vcpu),
            MapRules::ConflictDisables if vcpu.lapic.sw_enabled => walk.enter_exclusively(vcpu),
            MapRules::Overwrite | MapRules::ConflictDisables => {}
        }
    }
    walk.finish()
}

fn present(vcpus: &[VcpuSample]) -> impl Iterator<Item = &VcpuSample> {
    vcpus.iter().filter(|vcpu| vcpu.lapic.hw_enabled())
}

/// The map under construction.
struct Walk {
    mode: MapMode,
    flat: [Option<VcpuIdx>; 8],
    cluster: [[Option<VcpuIdx>; 4]; 16],
    physical: PhysicalMap,
    gave_up: Option<GaveUp>,
}

impl Walk {
    fn over(vcpus: &[VcpuSample]) -> Self {
        let max_apic_id = present(vcpus).map(|vcpu| vcpu.id.0).max().unwrap_or(0).max(255);
        Self {
            mode: MapMode::SwDisabled,
            flat: [None; 8],
            cluster: [[None; 4]; 16],
            physical: PhysicalMap::new(max_apic_id, vcpus.len()),
            gave_up: None,
        }
    }

    /// The physical step before 6.3, and after it with `x2apic_format`: an x2APIC ID overwrites, an xAPIC ID
    /// only fills a gap.
    fn enter_physical(&mut self, vcpu: &VcpuSample) {
        let x2apic = vcpu.lapic.apic_base.x2apic();
        if x2apic || vcpu.id.0 > 0xff {
            self.physical.put(ApicId(vcpu.id.0), vcpu.idx);
        }
        let xapic_id = ApicId(vcpu.lapic.xapic_id());
        if !x2apic && self.physical.get(xapic_id).is_none() {
            self.physical.put(xapic_id, vcpu.idx);
        }
    }

    /// The physical step from 6.3 on without `x2apic_format` (`kvm_recalculate_phys_map`): one vCPU an ID.
    fn enter_physical_once(&mut self, vcpu: &VcpuSample) -> Result<(), GaveUp> {
        let id = if vcpu.lapic.apic_base.x2apic() {
            vcpu.id.0
        } else {
            vcpu.lapic.xapic_id()
        };
        let id = ApicId(id);
        if let Some(by) = self.physical.get(id) {
            let reason = GaveUpReason::PhysicalIdTaken { id, by };
            return Err(GaveUp {
                vcpu: vcpu.idx,
                register: Register::Id,
                reason,
            });
        }
        self.physical.put(id, vcpu.idx);
        Ok(())
    }

    /// The logical step before 6.3: modes add up, the last writer of a slot wins, and an LDR is entered under
    /// its lowest bit.
    fn enter_overwriting(&mut self, vcpu: &VcpuSample) {
        let lapic = &vcpu.lapic;
        let x2apic = lapic.apic_base.x2apic();
        if x2apic || lapic.ldr.0 != 0 {
            self.add_mode(vcpu, mode_of(lapic));
        }
        let id = lapic.xapic_logical_id();
        match self.mode {
            MapMode::Flat => put_lowest(&mut self.flat, id.named_under(Model::Flat), vcpu.idx),
            MapMode::Cluster => {
                let named = id.named_under(Model::Cluster);
                put_lowest(&mut self.cluster[usize::from(named.cluster)], named, vcpu.idx);
            }
            MapMode::X2apic if x2apic => self.physical.put_in_row(lapic.ldr, vcpu.idx),
            MapMode::X2apic | MapMode::SwDisabled | MapMode::Mixed | MapMode::Disabled => {}
        }
    }

    fn add_mode(&mut self, vcpu: &VcpuSample, mode: MapMode) {
        if self.mode == MapMode::SwDisabled {
            self.mode = mode;
        } else if self.mode != mode && self.mode != MapMode::Mixed {
            self.gave_up = Some(self.second_mode(vcpu, mode));
            self.mode = MapMode::Mixed;
        }
    }

    /// The logical step from 6.3 on (`kvm_recalculate_logical_map`): any conflict disables the logical map.
    fn enter_exclusively(&mut self, vcpu: &VcpuSample) {
        let lapic = &vcpu.lapic;
        if self.mode == MapMode::Disabled || lapic.ldr.0 == 0 {
            return;
        }
        let mode = mode_of(lapic);
        if self.mode == MapMode::SwDisabled {
            self.mode = mode;
        } else if self.mode != mode {
            return self.disable(self.second_mode(vcpu, mode));
        }
        let (named, row) = match mode {
            MapMode::Flat => (
                lapic.xapic_logical_id().named_under(Model::Flat),
                &mut self.flat[..],
            ),
            MapMode::Cluster => {
                let named = lapic.xapic_logical_id().named_under(Model::Cluster);
                (named, &mut self.cluster[usize::from(named.cluster)][..])
            }
            _ => return,
        };
        let Some(slot) = named.iter().next() else { return };
        let entry = &mut row[usize::from(slot.bit)];
        let reason = match *entry {
            _ if named.count() > 1 => GaveUpReason::MultiBitLdr,
            Some(by) => GaveUpReason::SlotTaken { slot, by },
            None => {
                *entry = Some(vcpu.idx);
                return;
            }
        };
        self.disable(GaveUp {
            vcpu: vcpu.idx,
            register: Register::Ldr,
            reason,
        });
    }

    fn disable(&mut self, gave_up: GaveUp) {
        self.mode = MapMode::Disabled;
        self.gave_up = Some(gave_up);
    }

    fn second_mode(&self, vcpu: &VcpuSample, mode: MapMode) -> GaveUp {
        let by_base = mode == MapMode::X2apic || self.mode == MapMode::X2apic;
        let register = if by_base {
            Register::ApicBase
        } else {
            Register::Dfr
        };
        GaveUp {
            vcpu: vcpu.idx,
            register,
            reason: GaveUpReason::SecondMode,
        }
    }

    fn finish(self) -> Rebuild {
        let slots = match self.mode {
            MapMode::Flat => entries(&self.flat, 0).collect(),
            MapMode::Cluster => (0..)
                .zip(&self.cluster)
                .flat_map(|(cluster, row)| entries(row, cluster))
                .collect(),
            _ => Vec::new(),
        };
        let (physical, max_apic_id) = self.physical.into_entries();
        Rebuild {
            map: Some(RebuiltMap {
                mode: self.mode,
                slots,
                physical,
                max_apic_id,
            }),
            gave_up: self.gave_up,
        }
    }
}

/// The mode that one APIC contributes.
fn mode_of(lapic: &Lapic) -> MapMode {
    if lapic.apic_base.x2apic() {
        return MapMode::X2apic;
    }
    match lapic.dfr.model_of_map() {
        Model::Flat => MapMode::Flat,
        Model::Cluster => MapMode::Cluster,
    }
}

fn put_lowest(row: &mut [Option<VcpuIdx>], named: NamedSlots, vcpu: VcpuIdx) {
    if let Some(slot) = named.iter().next() {
        row[usize::from(slot.bit)] = Some(vcpu);
    }
}

fn entries(row: &[Option<VcpuIdx>], cluster: u8) -> impl Iterator<Item = (Slot, VcpuIdx)> {
    (0..)
        .zip(row)
        .filter_map(move |(bit, entry)| Some((Slot { cluster, bit }, (*entry)?)))
}
