//! How many vCPUs claim each slot, and who claims those that several do, each in one pass.

use super::places::{self, PLACES};
use crate::{id::Slot, logical_id::Model, observation::VcpuSample};

/// Claims by slot.
pub(super) struct Claims {
    counts: [u32; PLACES],
}

/// A slot that several vCPUs claim.
pub(super) struct Collision<'a> {
    pub(super) model: Model,
    pub(super) slot: Slot,
    /// In order of creation.
    pub(super) vcpus: Vec<&'a VcpuSample>,
}

impl Claims {
    pub(super) fn count(vcpus: &[VcpuSample]) -> Self {
        let mut counts = [0; PLACES];
        for place in vcpus.iter().flat_map(claimed) {
            counts[place] += 1;
        }
        Self { counts }
    }

    /// Whether no vCPU claims any slot.
    pub(super) fn are_none(&self) -> bool {
        self.counts.iter().all(|&claims| claims == 0)
    }

    /// The slots that several of `vcpus` claim, ascending by model and slot, and who does.
    pub(super) fn collisions<'a>(&self, vcpus: &'a [VcpuSample]) -> Vec<Collision<'a>> {
        let collide = |place: usize| self.counts[place] > 1;
        if !(0..PLACES).any(collide) {
            return Vec::new();
        }
        let mut claimants = [const { Vec::new() }; PLACES];
        for vcpu in vcpus {
            for place in claimed(vcpu).filter(|&place| collide(place)) {
                claimants[place].push(vcpu);
            }
        }
        let claimants = claimants.into_iter().enumerate();
        let collisions = claimants.filter(|&(place, _)| collide(place));
        collisions
            .map(|(place, vcpus)| {
                let (model, slot) = places::slot_at(place);
                Collision { model, slot, vcpus }
            })
            .collect()
    }
}

/// The places of the slots that a vCPU claims.
fn claimed(vcpu: &VcpuSample) -> impl Iterator<Item = usize> {
    vcpu.lapic.claims().into_iter().flat_map(places::of)
}
