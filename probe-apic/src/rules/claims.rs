//! How many vCPUs claim each slot, counted in one pass.
//!
//! A flat bit and a slot of a cluster are different slots, even where they are written alike.

use crate::{id::Slot, logical_id::Model, observation::VcpuSample};

/// Claims by slot.
pub(super) struct Claims {
    flat: [u32; 8],
    cluster: [[u32; 4]; 16],
}

impl Claims {
    pub(super) fn count(vcpus: &[VcpuSample]) -> Self {
        let mut claims = Self {
            flat: [0; 8],
            cluster: [[0; 4]; 16],
        };
        for named in vcpus.iter().filter_map(|vcpu| vcpu.lapic.claims()) {
            let row = match named.model {
                Model::Flat => &mut claims.flat[..],
                Model::Cluster => &mut claims.cluster[usize::from(named.cluster)][..],
            };
            for slot in named.iter() {
                row[usize::from(slot.bit)] += 1;
            }
        }
        claims
    }

    /// Whether no vCPU claims any slot.
    pub(super) fn are_none(&self) -> bool {
        self.flat
            .iter()
            .chain(self.cluster.as_flattened())
            .all(|&claims| claims == 0)
    }

    /// The slots that several vCPUs claim, ascending by slot.
    pub(super) fn collisions(&self) -> impl Iterator<Item = (Slot, Model)> {
        let flat = (0..)
            .zip(&self.flat)
            .map(|(bit, &claims)| (Slot { cluster: 0, bit }, Model::Flat, claims));
        let cluster = (0..).zip(&self.cluster).flat_map(|(cluster, row)| {
            (0..)
                .zip(row)
                .map(move |(bit, &claims)| (Slot { cluster, bit }, Model::Cluster, claims))
        });
        flat.chain(cluster)
            .filter(|&(_, _, claims)| claims > 1)
            .map(|(slot, model, _)| (slot, model))
    }
}
