//! Who answers to each 8-bit physical destination.

use crate::{id::VcpuIdx, vcpu_set::VcpuSet};

/// The answering vCPUs by APIC ID, 0-255.
#[derive(Clone, Debug)]
pub(super) struct PhysicalRows(Vec<VcpuSet>);

impl Default for PhysicalRows {
    fn default() -> Self {
        Self(vec![VcpuSet::new(); 256])
    }
}

impl PhysicalRows {
    /// Enters a vCPU under its ID; one that 8 bits cannot name answers to none of them.
    pub(super) fn enter(&mut self, id: u32, idx: VcpuIdx) {
        if let Some(row) = usize::try_from(id).ok().and_then(|id| self.0.get_mut(id)) {
            row.insert(idx);
        }
    }

    pub(super) fn answer(&self, dest: u8) -> VcpuSet {
        self.0[usize::from(dest)].clone()
    }
}
