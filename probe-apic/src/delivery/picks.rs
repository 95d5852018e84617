//! Lowest-priority interrupts to one 8-bit destination: which of them fail, whatever their vectors.
//!
//! From whom KVM picks is worked out once; thousands of routes may aim at one destination.

use super::{
    Deliveries, Destination, DestinationMode, Fabric, Verdict,
    kvm::{LookUp, hashed, row},
};
use crate::id::VcpuIdx;

/// The lowest-priority interrupts to one destination.
#[derive(Clone, Debug)]
pub struct Picks<'a> {
    table: &'a Deliveries,
    dest: u8,
    candidates: Candidates,
    somebody_is_named: bool,
}

/// Who may get one.
#[derive(Clone, Debug)]
enum Candidates {
    /// All whom a fixed one reaches do.
    All,
    /// One of these, or of the empty entries among them.
    OneOf(Vec<Option<VcpuIdx>>),
}

impl<'a> Picks<'a> {
    /// Those to `dest`, where `table` is that of `fabric`.
    #[must_use]
    pub fn of(table: &'a Deliveries, fabric: &Fabric<'_>, dest: u8) -> Self {
        let destination = Destination {
            mode: table.mode,
            id: u32::from(dest),
        };
        let candidates = match fabric.look_up(destination) {
            LookUp::Map(_) if table.mode == DestinationMode::Physical => Candidates::All,
            LookUp::Map(map) => Candidates::OneOf(row(map, destination.id)),
            LookUp::Nobody => Candidates::OneOf(Vec::new()),
            LookUp::Scan if destination == Destination::physical(Destination::BROADCAST) => Candidates::All,
            LookUp::Scan => Candidates::OneOf(table.reached(dest).map(Some).collect()),
        };
        Self {
            table,
            dest,
            candidates,
            somebody_is_named: table.names_anybody(dest),
        }
    }

    /// Whether the one with this vector does not arrive as it should: what [`Fabric::deliver`] says of it.
    #[must_use]
    pub fn fails(&self, vector: u8) -> bool {
        match &self.candidates {
            Candidates::All => matches!(self.table.verdict(self.dest), Verdict::Misrouted | Verdict::Lost),
            Candidates::OneOf(entries) => {
                let picked = hashed(entries, vector).copied().flatten();
                match picked.and_then(|idx| self.table.names(idx, self.dest)) {
                    Some(named) => !named,
                    None => self.somebody_is_named,
                }
            }
        }
    }
}
