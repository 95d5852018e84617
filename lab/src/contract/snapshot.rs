//! The document of `ldrscope snapshot --format json`.

use serde::Deserialize;

use super::{Confidence, Finding, Slot, nullable};

/// A whole snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Snapshot {
    pub schema: String,
    pub taken_at: String,
    pub host: Host,
    pub vms: Vec<Vm>,
}

/// The host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Host {
    pub kernel: String,
    pub kvm_vendor: String,
    pub map_rules: String,
}

/// One VM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Vm {
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub uuid: Option<String>,
    pub vmm: String,
    pub pid: u32,
    pub confidence: Confidence,
    pub vcpus: Vec<Vcpu>,
    pub map: Maps,
    pub apicv: Apicv,
    pub aimed: Vec<Aimed>,
    pub findings: Vec<Finding>,
}

/// A vCPU's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the contract's own words")]
pub enum Mode {
    Disabled,
    Xapic,
    X2apic,
}

/// A vCPU's registers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Vcpu {
    pub vcpu_id: u32,
    pub apic_id: u32,
    pub mode: Mode,
    pub hw_enabled: bool,
    pub sw_enabled: bool,
    pub ldr: u32,
    pub dfr: u32,
    pub svr: u32,
    pub apic_base: u64,
}

/// KVM's map beside ldrscope's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Maps {
    #[serde(deserialize_with = "nullable")]
    pub published: Option<Map>,
    #[serde(deserialize_with = "nullable")]
    pub rebuilt: Option<Map>,
    #[serde(deserialize_with = "nullable")]
    pub agrees: Option<bool>,
}

/// A map's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the contract's own words")]
pub enum MapMode {
    None,
    Disabled,
    SwDisabled,
    Flat,
    Cluster,
    X2apic,
    Mixed,
}

/// A destination map.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Map {
    pub mode: MapMode,
    pub slots: Vec<MapSlot>,
    pub physical: Vec<MapPhysical>,
}

impl Map {
    /// The vCPU that owns `slot`, if any.
    pub fn owner(&self, slot: Slot) -> Option<u32> {
        self.slots
            .iter()
            .find(|s| s.cluster == slot.cluster && s.bit == slot.bit)
            .map(|s| s.vcpu_id)
    }
}

/// A taken slot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct MapSlot {
    pub cluster: u32,
    pub bit: u32,
    pub vcpu_id: u32,
}

/// A taken physical ID.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct MapPhysical {
    pub apic_id: u32,
    pub vcpu_id: u32,
}

/// APICv's state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Apicv {
    pub inhibits: Vec<String>,
}

/// Where an aim was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the contract's own words")]
pub enum AimedSource {
    Ioapic,
    MsiRoute,
    Icr,
}

/// A source that uses a logical destination.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Aimed {
    pub source: AimedSource,
    pub index: u32,
    pub dest: u32,
    pub vector: u32,
}
