//! What is different between two snapshots: VM by VM, register by register, slot by slot, finding by finding.
//!
//! Pure: two documents in, one out. Which VM of the one is which of the other is [`pairing`]'s, what changed in it [`vm`]'s; how
//! it is shown is left to [`crate::sink`].

mod pairing;
#[cfg(test)]
mod tests;
mod vm;

use pairing::{Pair, pairs};

use crate::message::{
    Host, Snapshot,
    diff::{Diff, Side},
};

/// A snapshot and what to call it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Where it comes from.
    pub source: &'a str,
    /// What it says.
    pub snapshot: &'a Snapshot,
}

/// Compares two snapshots. When they were taken is no difference.
#[must_use]
pub fn compare(before: Named<'_>, after: Named<'_>) -> Diff {
    let host = host(&before.snapshot.host, &after.snapshot.host);
    let pairs = pairs(&before.snapshot.vms, &after.snapshot.vms);
    let all = pairs.len();
    let vms: Vec<_> = pairs.iter().filter_map(Pair::compare).collect();
    Diff {
        schema: Diff::SCHEMA,
        before: side(before),
        after: side(after),
        different: !(host.is_empty() && vms.is_empty()),
        host,
        same: all - vms.len(),
        vms,
    }
}

fn side(named: Named<'_>) -> Side {
    Side {
        source: named.source.to_owned(),
        taken_at: named.snapshot.taken_at.clone(),
        host: named.snapshot.host.clone(),
    }
}

fn host(before: &Host, after: &Host) -> Vec<&'static str> {
    differing(&[
        ("kernel", before.kernel == after.kernel),
        ("kvm_vendor", before.kvm_vendor == after.kvm_vendor),
        ("map_rules", before.map_rules == after.map_rules),
    ])
}

/// The names of those that are not the same.
fn differing(members: &[(&'static str, bool)]) -> Vec<&'static str> {
    members
        .iter()
        .filter(|(_, same)| !same)
        .map(|(name, _)| *name)
        .collect()
}
