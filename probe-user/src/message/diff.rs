//! `ldrscope.diff.v1`: what is different between two snapshots. Filled by [`crate::diff`].

use serde::Serialize;

use super::{Aimed, Finding, Host, Slot, Vcpu, VmRef, Word};

/// `ldrscope.diff.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Always [`Diff::SCHEMA`].
    pub schema: &'static str,
    /// The first snapshot.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// Whether host or VMs differ; when the snapshots were taken does not count.
    pub different: bool,
    /// The names of the host's members that differ.
    pub host: Vec<&'static str>,
    /// How many VMs are the same in both.
    pub same: usize,
    /// The others, in the order of the second snapshot, then those that are not in it.
    pub vms: Vec<VmDiff>,
}

impl Diff {
    /// Name and number of the schema.
    pub const SCHEMA: &'static str = "ldrscope.diff.v1";
}

/// One of the two snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Where it was read from.
    pub source: String,
    /// RFC 3339.
    pub taken_at: String,
    /// The host.
    pub host: Host,
}

/// Something that may be there in one snapshot, the other, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// Only in the second.
    Came,
    /// Only in the first.
    Went,
    /// In both, and different.
    Changed,
}

impl Presence {
    /// Of something that is there on at least one side.
    #[must_use]
    pub const fn of<T>(before: Option<&T>, after: Option<&T>) -> Self {
        match (before, after) {
            (None, _) => Self::Came,
            (_, None) => Self::Went,
            _ => Self::Changed,
        }
    }
}

/// By what a VM of the first snapshot was taken for one of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MatchedBy {
    /// The same UUID.
    Uuid,
    /// The same process id, name and VMM.
    Pid,
    /// The same name and VMM, which no other VM of either snapshot has.
    Name,
}

/// Two values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change<T> {
    /// In the first snapshot.
    pub before: T,
    /// In the second.
    pub after: T,
}

/// A VM that came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VmDiff {
    /// Which of the three.
    pub change: Presence,
    /// By what it was found again; null where it came or went.
    pub matched_by: Option<MatchedBy>,
    /// Who it was.
    pub before: Option<VmRef>,
    /// Who it is.
    pub after: Option<VmRef>,
    /// How far its state can be trusted, where that differs.
    pub confidence: Option<Change<Word>>,
    /// vCPUs that came, went or changed, ascending.
    pub vcpus: Vec<VcpuDiff>,
    /// The maps.
    pub map: MapsDiff,
    /// APICv.
    pub apicv: ApicvDiff,
    /// Sources that use a logical destination.
    pub aimed: AimedDiff,
    /// Findings that were raised, cleared or changed.
    pub findings: Vec<FindingDiff>,
}

/// A vCPU that came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VcpuDiff {
    /// The VMM's number for it.
    pub vcpu_id: u32,
    /// Which of the three.
    pub change: Presence,
    /// The names of the members that differ; empty where it came or went.
    pub differs: Vec<&'static str>,
    /// What it was, whole.
    pub before: Option<Vcpu>,
    /// What it is, whole.
    pub after: Option<Vcpu>,
    /// The slots of the logical map that it claimed and claims.
    pub claims: Change<Vec<Slot>>,
}

/// Both maps; null where nothing differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MapsDiff {
    /// KVM's own.
    pub published: Option<MapDiff>,
    /// Ours.
    pub rebuilt: Option<MapDiff>,
    /// Whether they agree.
    pub agrees: Option<Change<Option<bool>>>,
}

/// A map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapDiff {
    /// The modes, equal or not; null where the map was not known.
    pub mode: Change<Option<Word>>,
    /// Slots whose owner differs, ascending.
    pub slots: Vec<SlotDiff>,
    /// APIC IDs whose owner differs, ascending.
    pub physical: Vec<PhysicalDiff>,
}

/// A slot of the logical map and its owners; null for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SlotDiff {
    /// The slot.
    #[serde(flatten)]
    pub slot: Slot,
    /// A `vcpu_id`.
    pub before: Option<u32>,
    /// A `vcpu_id`.
    pub after: Option<u32>,
}

/// An entry of the physical map and its owners; null for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PhysicalDiff {
    /// The APIC ID.
    pub apic_id: u32,
    /// A `vcpu_id`.
    pub before: Option<u32>,
    /// A `vcpu_id`.
    pub after: Option<u32>,
}

/// Reasons why APICv or AVIC is off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ApicvDiff {
    /// In the second snapshot only.
    pub set: Vec<String>,
    /// In the first only.
    pub cleared: Vec<String>,
}

/// Sources that use a logical destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AimedDiff {
    /// In the second snapshot only.
    pub came: Vec<Aimed>,
    /// In the first only.
    pub went: Vec<Aimed>,
}

/// What became of a finding. The words are those of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingChange {
    /// Only in the second snapshot.
    Raised,
    /// Only in the first.
    Cleared,
    /// In both, and different.
    Changed,
}

/// A finding that was raised, cleared or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingDiff {
    /// Which of the three.
    pub change: FindingChange,
    /// The names of the members that differ; empty where it was raised or cleared.
    pub differs: Vec<&'static str>,
    /// What it was, whole.
    pub before: Option<Finding>,
    /// What it is, whole.
    pub after: Option<Finding>,
}
