//! The whole table of 8-bit destinations of one mode, computed from one pass over the vCPUs and one over the map.
//!
//! The same rules as for a single destination, arranged for the judgement of a VM, which asks for all of them: by vCPU,
//! since a word holds 64 destinations of one vCPU as well as 64 vCPUs of one destination, and there are never more than four
//! words of the former.

use super::{
    Delivery, Destination, DestinationMode, Fabric, Verdict, destination_set::DestinationSet, kvm::LookUp,
    reading::Reading,
};
use crate::{
    id::VcpuIdx,
    logical_id::{Model, NamedSlots},
    map::{LogicalAndPhysicalMap, MapMode},
    vcpu_set::VcpuSet,
};

/// Fixed deliveries to destinations 0-255.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliveries {
    pub(super) mode: DestinationMode,
    /// The enabled vCPUs, ascending by index.
    vcpus: Vec<Answers>,
    /// The destinations for which KVM scans.
    scanned: DestinationSet,
    verdicts: Verdicts,
}

/// What reaches one vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answers {
    idx: VcpuIdx,
    /// By the architecture.
    architecture: DestinationSet,
    /// By KVM.
    kvm: DestinationSet,
}

/// The destinations with each verdict; the others are `ok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdicts {
    lost: DestinationSet,
    misrouted: DestinationSet,
    partial: DestinationSet,
    slow: DestinationSet,
}

impl Deliveries {
    /// Computes the table. Each row equals what [`Fabric::deliver`] says of its destination.
    #[must_use]
    pub fn compute(fabric: &Fabric<'_>, mode: DestinationMode) -> Self {
        let quirk_disabled = fabric.broadcast_quirk_disabled;
        let (scanned, mapped) = looked_up(fabric, mode);
        let answers = |reading: Reading, vcpu| reading.answered(vcpu, mode, quirk_disabled);
        let mut vcpus: Vec<Answers> = Vec::with_capacity(fabric.vcpus.len());
        let enabled = fabric.vcpus.iter().filter(|vcpu| vcpu.lapic.enabled());
        vcpus.extend(
            enabled
                .filter(|vcpu| VcpuSet::keeps(vcpu.idx))
                .map(|vcpu| Answers {
                    idx: vcpu.idx,
                    architecture: answers(Reading::Sdm, vcpu),
                    kvm: answers(Reading::Scan, vcpu) & scanned,
                }),
        );
        let mut enter = |idx, named: DestinationSet| {
            if let Some(at) = place(&vcpus, idx) {
                vcpus[at].kvm |= named & mapped;
            }
        };
        if let Some(map) = fabric.map.filter(|_| !mapped.is_empty()) {
            match mode {
                DestinationMode::Logical => enter_slots(map, &mut enter),
                DestinationMode::Physical => {
                    let narrow = map.physical.iter().take_while(|(id, _)| id.0 <= 0xff);
                    narrow.for_each(|&(id, idx)| enter(idx, DestinationSet::of(id.0 as u8)));
                }
            }
        }
        let verdicts = Verdicts::on(&vcpus, scanned);
        Self {
            mode,
            vcpus,
            scanned,
            verdicts,
        }
    }

    /// What becomes of an interrupt to `dest`.
    #[must_use]
    pub fn to(&self, dest: u8) -> Delivery {
        let reached = |by: fn(&Answers) -> DestinationSet| -> VcpuSet {
            let reached = self.vcpus.iter().filter(|vcpu| by(vcpu).contains(dest));
            reached.map(|vcpu| vcpu.idx).collect()
        };
        Delivery {
            architecture: reached(|vcpu| vcpu.architecture),
            kvm: reached(|vcpu| vcpu.kvm),
            scanned: self.scanned.contains(dest),
            verdict: self.verdict(dest),
        }
    }

    /// How it compares with what should become of it.
    #[must_use]
    pub const fn verdict(&self, dest: u8) -> Verdict {
        self.verdicts.of(dest)
    }

    /// The destinations with this verdict.
    pub(crate) fn with(&self, verdict: Verdict) -> DestinationSet {
        self.verdicts.with(verdict)
    }

    /// The destinations that reach this vCPU, by the architecture or by KVM.
    pub(crate) fn reaching(&self, idx: VcpuIdx) -> DestinationSet {
        place(&self.vcpus, idx).map_or(DestinationSet::NONE, |at| {
            self.vcpus[at].architecture | self.vcpus[at].kvm
        })
    }

    /// Whether a vCPU accepts interrupts and the architecture names it; `None` where it accepts none.
    pub(super) fn names(&self, idx: VcpuIdx, dest: u8) -> Option<bool> {
        place(&self.vcpus, idx).map(|at| self.vcpus[at].architecture.contains(dest))
    }

    /// Whether the architecture names anybody.
    pub(super) fn names_anybody(&self, dest: u8) -> bool {
        self.vcpus.iter().any(|vcpu| vcpu.architecture.contains(dest))
    }

    /// Those whom KVM reaches, ascending.
    pub(super) fn reached(&self, dest: u8) -> impl Iterator<Item = VcpuIdx> {
        let reached = self.vcpus.iter().filter(move |vcpu| vcpu.kvm.contains(dest));
        reached.map(|vcpu| vcpu.idx)
    }
}

/// The destinations for which KVM scans, and those that it looks up in its map. Broadcast alone may differ from the others.
fn looked_up(fabric: &Fabric<'_>, mode: DestinationMode) -> (DestinationSet, DestinationSet) {
    const BROADCAST: DestinationSet = DestinationSet::of(Destination::BROADCAST as u8);
    let (mut scanned, mut mapped) = (DestinationSet::NONE, DestinationSet::NONE);
    let id = Destination::BROADCAST;
    for (id, destinations) in [(0, !BROADCAST), (id, BROADCAST)] {
        match fabric.look_up(Destination { mode, id }) {
            LookUp::Scan => scanned |= destinations,
            LookUp::Map(_) => mapped |= destinations,
            LookUp::Nobody => {}
        }
    }
    (scanned, mapped)
}

/// Calls `enter` with the vCPU of every slot that is looked up, and the destinations that name it.
fn enter_slots(map: &LogicalAndPhysicalMap, mut enter: impl FnMut(VcpuIdx, DestinationSet)) {
    let model = match map.mode {
        MapMode::Flat => Model::Flat,
        MapMode::Cluster => Model::Cluster,
        // The row of x2APIC cluster 0 is the start of phys_map.
        MapMode::X2apic => {
            let row = map.physical.iter().take_while(|(id, _)| id.0 < 8);
            row.for_each(|&(id, idx)| enter(idx, DestinationSet::sharing_a_bit(1 << id.0)));
            return;
        }
        MapMode::SwDisabled | MapMode::Mixed | MapMode::Disabled => return,
    };
    for &(slot, idx) in &map.slots {
        enter(idx, DestinationSet::naming(NamedSlots::only(model, slot)));
    }
}

/// Where a vCPU is. Most are at the place of their number.
fn place(vcpus: &[Answers], idx: VcpuIdx) -> Option<usize> {
    let guess = idx.0 as usize;
    if vcpus.get(guess).is_some_and(|vcpu| vcpu.idx == idx) {
        return Some(guess);
    }
    vcpus.binary_search_by_key(&idx, |vcpu| vcpu.idx).ok()
}

impl Verdicts {
    /// [`Verdict::compare`] for all destinations at once.
    fn on(vcpus: &[Answers], scanned: DestinationSet) -> Self {
        const NONE: DestinationSet = DestinationSet::NONE;
        let (mut named, mut reached, mut foreign, mut left_out) = (NONE, NONE, NONE, NONE);
        for &Answers {
            architecture, kvm, ..
        } in vcpus
        {
            named |= architecture;
            reached |= kvm;
            foreign |= kvm & !architecture;
            left_out |= architecture & !kvm;
        }
        let lost = named & !reached;
        let partial = left_out & !foreign & !lost;
        let broken = foreign | lost | partial;
        let broadcast = DestinationSet::of(Destination::BROADCAST as u8);
        Self {
            lost,
            misrouted: foreign,
            partial,
            slow: scanned & reached & !broken & !broadcast,
        }
    }

    fn with(&self, verdict: Verdict) -> DestinationSet {
        match verdict {
            Verdict::Ok => !(self.lost | self.misrouted | self.partial | self.slow),
            Verdict::Slow => self.slow,
            Verdict::Lost => self.lost,
            Verdict::Misrouted => self.misrouted,
            Verdict::Partial => self.partial,
        }
    }

    const fn of(&self, dest: u8) -> Verdict {
        if self.misrouted.contains(dest) {
            Verdict::Misrouted
        } else if self.lost.contains(dest) {
            Verdict::Lost
        } else if self.partial.contains(dest) {
            Verdict::Partial
        } else if self.slow.contains(dest) {
            Verdict::Slow
        } else {
            Verdict::Ok
        }
    }
}
