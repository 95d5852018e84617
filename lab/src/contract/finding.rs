//! A finding, as `watch` and `snapshot` both carry it.

use serde::Deserialize;

use super::nullable;

/// The rules of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "the contract's own words, defined in ldrscope's documentation"
)]
pub enum Rule {
    LdrMultiBit,
    LdrCollision,
    LdrStale,
    LdrUnset,
    ModeMixed,
    DfrInvalid,
    X2apicIdMismatch,
    PhysicalAlias,
    MapDisabled,
    ApicvInhibited,
    MapDivergence,
    InterruptLost,
    InterruptMisrouted,
}

/// Severities, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the contract's own words")]
pub enum Severity {
    Info,
    Notice,
    Warning,
    Critical,
}

/// How sure ldrscope is of the state behind a finding or VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the contract's own words")]
pub enum Confidence {
    Certain,
    Uncertain,
    Unobservable,
}

/// How a register changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the contract's own words")]
pub enum Route {
    GuestWrite,
    SetLapic,
    Reset,
    Init,
    ApicBase,
    Scan,
}

/// A register that map rules read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the contract's own words")]
pub enum Register {
    Id,
    Ldr,
    Dfr,
    Svr,
    ApicBase,
}

/// An entry of the logical map; flat is cluster 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Cluster number.
    pub cluster: u32,
    /// Bit in the cluster.
    pub bit: u32,
}

/// Counts of destinations by verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Effect {
    pub lost: u32,
    pub misrouted: u32,
    pub partial: u32,
    pub slow: bool,
}

/// Raw registers of one vCPU.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Evidence {
    pub vcpu_id: u32,
    pub apic_id: u32,
    pub ldr: u32,
    pub dfr: u32,
    pub svr: u32,
    pub apic_base: u64,
}

/// Who changed what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Cause {
    pub route: Route,
    #[serde(deserialize_with = "nullable")]
    pub vcpu_id: Option<u32>,
    #[serde(deserialize_with = "nullable")]
    pub tid: Option<u32>,
    #[serde(deserialize_with = "nullable")]
    pub comm: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub register: Option<Register>,
    #[serde(deserialize_with = "nullable")]
    pub old: Option<u64>,
    #[serde(deserialize_with = "nullable")]
    pub new: Option<u64>,
    #[serde(deserialize_with = "nullable")]
    pub guest_rip: Option<u64>,
    pub certain: bool,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Finding {
    pub id: String,
    pub rule: Rule,
    pub severity: Severity,
    pub vcpus: Vec<u32>,
    pub slots: Vec<Slot>,
    #[serde(deserialize_with = "nullable")]
    pub since: Option<String>,
    pub summary: String,
    pub confidence: Confidence,
    pub suspected: bool,
    pub effect: Effect,
    pub evidence: Vec<Evidence>,
    #[serde(deserialize_with = "nullable")]
    pub cause: Option<Cause>,
}

impl Finding {
    /// The slot that a collision is about; other rules are one finding a VM.
    pub fn collision_slot(&self) -> Option<Slot> {
        match (self.rule, self.slots.as_slice()) {
            (Rule::LdrCollision, [slot]) => Some(*slot),
            _ => None,
        }
    }
}
