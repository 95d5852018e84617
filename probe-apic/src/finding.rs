//! A finding: what is wrong, where, since when, who did it, what it costs.
//!
//! The common language of rules, tracker and sinks. How it comes about is left to [`crate::rules`], how it is
//! shown to the sinks.

use std::{fmt, str::FromStr};

use crate::{
    cause::Cause,
    id::{BootTime, Slot, VcpuId},
    lapic::Lapic,
};

/// The rules by which a VM is judged; their definitions are on the modules of [`crate::rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An enabled xAPIC vCPU has a multi-bit LDR.
    LdrMultiBit,
    /// vCPUs claim the same slot. One finding a slot.
    LdrCollision,
    /// A left-over LDR.
    LdrStale,
    /// An enabled xAPIC vCPU names no slot while others do.
    LdrUnset,
    /// Enabled vCPUs differ in mode.
    ModeMixed,
    /// A DFR that is neither flat nor cluster.
    DfrInvalid,
    /// An x2APIC's ID or LDR is not the one that its vCPU's number implies.
    X2apicIdMismatch,
    /// vCPUs share a physical APIC ID, or one was changed.
    PhysicalAlias,
    /// KVM scans for every logical interrupt.
    MapDisabled,
    /// The VM lost APICv or AVIC for its IDs' sake.
    ApicvInhibited,
    /// Published and rebuilt map differ.
    MapDivergence,
    /// A real interrupt reached nobody.
    InterruptLost,
    /// A real interrupt did not reach exactly those whom it names.
    InterruptMisrouted,
}

impl Rule {
    /// All of them, in the order of the design's table.
    pub const ALL: [Self; 13] = [
        Self::LdrMultiBit,
        Self::LdrCollision,
        Self::LdrStale,
        Self::LdrUnset,
        Self::ModeMixed,
        Self::DfrInvalid,
        Self::X2apicIdMismatch,
        Self::PhysicalAlias,
        Self::MapDisabled,
        Self::ApicvInhibited,
        Self::MapDivergence,
        Self::InterruptLost,
        Self::InterruptMisrouted,
    ];

    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LdrMultiBit => "ldr-multi-bit",
            Self::LdrCollision => "ldr-collision",
            Self::LdrStale => "ldr-stale",
            Self::LdrUnset => "ldr-unset",
            Self::ModeMixed => "mode-mixed",
            Self::DfrInvalid => "dfr-invalid",
            Self::X2apicIdMismatch => "x2apic-id-mismatch",
            Self::PhysicalAlias => "physical-alias",
            Self::MapDisabled => "map-disabled",
            Self::ApicvInhibited => "apicv-inhibited",
            Self::MapDivergence => "map-divergence",
            Self::InterruptLost => "interrupt-lost",
            Self::InterruptMisrouted => "interrupt-misrouted",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(word: &str) -> Result<Self, UnknownRule> {
        Self::ALL
            .into_iter()
            .find(|rule| rule.name() == word)
            .ok_or(UnknownRule)
    }
}

/// A word that names no [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRule;

impl fmt::Display for UnknownRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such rule; the rules are")?;
        for (place, rule) in Rule::ALL.iter().enumerate() {
            write!(f, "{} {rule}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownRule {}

/// How much it matters on this host, under its map rules. Ordered, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// None of the others.
    Info,
    /// Harmless here, harmful under other map rules or once the APIC is enabled.
    Notice,
    /// Destinations are broken but none is aimed at, or right but slow while the guest uses logical mode.
    Warning,
    /// A broken destination is aimed at, or a real interrupt went astray.
    Critical,
}

impl Severity {
    /// All of them, worst last.
    pub const ALL: [Self; 4] = [Self::Info, Self::Notice, Self::Warning, Self::Critical];

    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far a VM's state can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// Read whole and consistent.
    Certain,
    /// Records were lost, or the last read was torn; a re-read is due.
    Uncertain,
    /// The VM's LAPICs are not in KVM.
    Unobservable,
}

impl Confidence {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Uncertain => "uncertain",
            Self::Unobservable => "unobservable",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What identifies a finding within its VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingKey {
    /// The rule.
    pub rule: Rule,
    /// The slot, for rules with one finding a slot.
    pub slot: Option<Slot>,
}

/// What a finding breaks: destinations 0-254 by verdict, of those that touch its slots or vCPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Destinations that reach nobody.
    pub lost: u32,
    /// Destinations that reach a vCPU that the architecture does not name.
    pub misrouted: u32,
    /// Destinations that reach only some of those named.
    pub partial: u32,
    /// Whether any touched destination is right but found by a scan.
    pub slow: bool,
}

impl Effect {
    /// Destinations that do not reach whom the architecture names.
    #[must_use]
    pub const fn broken(&self) -> u32 {
        self.lost + self.misrouted + self.partial
    }
}

/// The raw registers a finding rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The vCPU.
    pub vcpu_id: VcpuId,
    /// Its registers.
    pub lapic: Lapic,
}

/// One judged fact about a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which finding of its VM this is.
    pub key: FindingKey,
    /// Computed effect on this host.
    pub severity: Severity,
    /// The vCPUs, ascending.
    pub vcpus: Vec<VcpuId>,
    /// The slots, ascending.
    pub slots: Vec<Slot>,
    /// When the condition began; `None` where it is older than the observation.
    pub since: Option<BootTime>,
    /// One sentence a mailing list would accept.
    pub summary: String,
    /// How far the state behind it can be trusted.
    pub confidence: Confidence,
    /// `ldr-stale` only: every member is merely suspected.
    pub suspected: bool,
    /// What it breaks.
    pub effect: Effect,
    /// The registers of the vCPUs, ascending by id.
    pub evidence: Vec<Evidence>,
    /// The change it came with, where seen.
    pub cause: Option<Cause>,
}
