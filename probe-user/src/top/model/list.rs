//! Which VMs are listed, and in which order.

use std::cmp::Ordering;

use probe_apic::finding::Confidence;

use super::host::Row;

/// By what VMs are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The worst first.
    #[default]
    Severity,
    /// By name.
    Name,
    /// What changed last comes first.
    Changed,
    /// The largest first.
    Vcpus,
}

impl Sort {
    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::Severity => Self::Name,
            Self::Name => Self::Changed,
            Self::Changed => Self::Vcpus,
            Self::Vcpus => Self::Severity,
        }
    }

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Severity => "severity",
            Self::Name => "name",
            Self::Changed => "last change",
            Self::Vcpus => "vCPUs",
        }
    }

    /// Names decide between equals, ids between those that are called the same.
    fn order(self, a: &Row, b: &Row) -> Ordering {
        let by = match self {
            // Of two of one severity the one with more findings of it is worse.
            Self::Severity => worst_first(b).cmp(&worst_first(a)),
            Self::Name => Ordering::Equal,
            Self::Changed => b.changed.cmp(&a.changed),
            Self::Vcpus => b.vcpus.cmp(&a.vcpus),
        };
        by.then_with(|| a.identity.name.cmp(&b.identity.name))
            .then_with(|| a.id.cmp(&b.id))
    }
}

/// Of two VMs of one severity the one with more findings of it is worse; one that cannot be trusted is worse than one that can.
fn worst_first(row: &Row) -> ([usize; 4], bool) {
    let mut counts = row.counts;
    counts.reverse();
    (counts, row.confidence != Confidence::Certain)
}

/// Whether a VM is among those that `filter` asks for: by name, UUID, process id, VMM, rule or severity, whatever the case.
#[must_use]
pub fn passes(row: &Row, filter: &str) -> bool {
    let wanted = filter.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    let identity = &row.identity;
    wanted.is_empty()
        || has(&identity.name)
        || has(&identity.vmm)
        || identity.uuid.as_deref().is_some_and(has)
        || identity.pid.is_some_and(|pid| pid.to_string() == wanted)
        || row.rules.iter().any(|rule| has(rule.name()))
        || row.worst().is_some_and(|worst| worst.name() == wanted)
        || row.confidence.name() == wanted
}

/// The rows that `filter` asks for, in order.
#[must_use]
pub fn listed<'a>(rows: &'a [Row], sort: Sort, filter: &str) -> Vec<&'a Row> {
    let mut listed: Vec<&Row> = rows.iter().filter(|row| passes(row, filter)).collect();
    listed.sort_by(|a, b| sort.order(a, b));
    listed
}
