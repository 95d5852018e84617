//! The JSON messages: names and types are a contract (`docs/schema/`), changed only with the schema number.
//!
//! Plain data that serde writes out field by field; [`crate::sink::convert`] fills it from the domain. What is
//! not known is null, numbers are numbers, registers are raw. A snapshot is also read back ([`read`]), and its numbers and words
//! turned into values of the analysis again ([`meaning`]).

pub mod diff;
pub mod meaning;
pub mod read;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A word of the contract: ldrscope's own where it writes one, whatever a document has where it reads one.
pub type Word = Cow<'static, str>;

/// `ldrscope.snapshot.v1`: every VM as it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Snapshot {
    /// Always [`Snapshot::SCHEMA`].
    pub schema: Word,
    /// RFC 3339.
    pub taken_at: String,
    /// The host.
    pub host: Host,
    /// The VMs, in the order in which they were found.
    pub vms: Vec<Vm>,
}

impl Snapshot {
    /// Name and number of the schema.
    pub const SCHEMA: &'static str = "ldrscope.snapshot.v1";
}

/// `ldrscope.event.v1`: a finding came, changed or went.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Always [`Event::SCHEMA`].
    pub schema: &'static str,
    /// RFC 3339.
    pub time: String,
    /// `raised`, `changed` or `cleared`.
    pub event: &'static str,
    /// The VM.
    pub vm: VmRef,
    /// The finding; when cleared, as it was last.
    pub finding: Finding,
    /// Microseconds from the kernel's event to this one, the settle time left out.
    pub latency_us: u64,
}

impl Event {
    /// Name and number of the schema.
    pub const SCHEMA: &'static str = "ldrscope.event.v1";
}

/// `ldrscope.status.v1`: what became of the observation itself.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Always [`Status::SCHEMA`].
    pub schema: &'static str,
    /// RFC 3339.
    pub time: String,
    /// `lost`, `uncertain`, `certain`, `vm-gone`, `suppressed` or `output-lost`.
    pub status: &'static str,
    /// The VM, null where it concerns all.
    pub vm: Option<VmRef>,
    /// How many records were lost, for `lost`; how many lines are missing, for `suppressed` and `output-lost`.
    pub records: Option<u64>,
}

impl Status {
    /// Name and number of the schema.
    pub const SCHEMA: &'static str = "ldrscope.status.v1";
}

/// `ldrscope.deliver.v1`: who gets what is sent to each destination of one VM.
#[derive(Clone, Debug, Serialize)]
pub struct Deliver {
    /// Always [`Deliver::SCHEMA`].
    pub schema: &'static str,
    /// The VM.
    pub vm: VmRef,
    /// The mode of the map that KVM goes by.
    pub mode: &'static str,
    /// By destination, ascending.
    pub destinations: Vec<Delivery>,
}

impl Deliver {
    /// Name and number of the schema.
    pub const SCHEMA: &'static str = "ldrscope.deliver.v1";
}

/// One destination.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    /// The destination field.
    pub dest: u32,
    /// Ids of the vCPUs that the architecture names, ascending.
    pub architecture: Vec<u32>,
    /// Ids of the vCPUs that KVM reaches, ascending.
    pub kvm: Vec<u32>,
    /// `ok`, `slow`, `lost`, `misrouted` or `partial`.
    pub verdict: &'static str,
}

/// The observed host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Host {
    /// Its kernel's release.
    pub kernel: String,
    /// `amd`, `intel` or `unknown`.
    pub kvm_vendor: String,
    /// A name of the map rules, or `unknown`.
    pub map_rules: Word,
}

/// Which VM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct VmRef {
    /// Its name.
    pub name: String,
    /// Its UUID, where it has one.
    pub uuid: Option<String>,
    /// Its VMM.
    pub vmm: String,
    /// The VMM's process id.
    pub pid: Option<u32>,
}

/// A VM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Vm {
    /// Which VM.
    #[serde(flatten)]
    pub vm: VmRef,
    /// `certain`, `uncertain` or `unobservable`.
    pub confidence: Word,
    /// By order of creation.
    pub vcpus: Vec<Vcpu>,
    /// The maps.
    pub map: Maps,
    /// APICv.
    pub apicv: Apicv,
    /// Sources that use a logical destination.
    pub aimed: Vec<Aimed>,
    /// The findings.
    pub findings: Vec<Finding>,
}

/// A vCPU's local APIC, registers raw as in the APIC page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Vcpu {
    /// The VMM's number for it.
    pub vcpu_id: u32,
    /// Its APIC ID, from the register.
    pub apic_id: u32,
    /// `disabled`, `xapic` or `x2apic`.
    pub mode: Word,
    /// IA32_APIC_BASE bit 11.
    pub hw_enabled: bool,
    /// As KVM keeps it.
    pub sw_enabled: bool,
    /// Logical Destination Register.
    pub ldr: u32,
    /// Destination Format Register.
    pub dfr: u32,
    /// Spurious-Interrupt Vector Register.
    pub svr: u32,
    /// IA32_APIC_BASE.
    pub apic_base: u64,
}

/// Both maps and whether they agree.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Maps {
    /// KVM's own, null where there is nothing to read.
    pub published: Option<Map>,
    /// Ours, null where the map rules are unknown.
    pub rebuilt: Option<Map>,
    /// Null where one of the two is not known, or the read was torn.
    pub agrees: Option<bool>,
}

/// A map.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Map {
    /// `none` (a NULL map), `disabled`, `sw-disabled`, `flat`, `cluster`, `x2apic` or `mixed`.
    pub mode: Word,
    /// Entries that delivery uses, sorted; flat as cluster 0.
    pub slots: Vec<SlotEntry>,
    /// Entries of the physical map, sorted.
    pub physical: Vec<PhysicalEntry>,
}

/// A slot of the logical map and its owner.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct SlotEntry {
    /// The slot.
    #[serde(flatten)]
    pub slot: Slot,
    /// Its owner.
    pub vcpu_id: u32,
}

/// An entry of the physical map.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PhysicalEntry {
    /// The APIC ID.
    pub apic_id: u32,
    /// Who answers to it.
    pub vcpu_id: u32,
}

/// A slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Slot {
    /// Cluster 0-15; 0 in flat mode.
    pub cluster: u8,
    /// Bit 0-7 in flat mode, 0-3 in a cluster.
    pub bit: u8,
}

/// APICv's or AVIC's state.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Apicv {
    /// Why it is off, by the kernel's names; empty where it is on or the kernel does not say.
    pub inhibits: Vec<String>,
}

/// A source that uses a logical destination.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Aimed {
    /// `ioapic`, `msi-route` or `icr`.
    pub source: Word,
    /// IOAPIC pin, GSI, or the `vcpu_id` whose ICR it is.
    pub index: u32,
    /// The destination.
    pub dest: u32,
    /// The vector.
    pub vector: u8,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Finding {
    /// The same in every run.
    pub id: String,
    /// The rule's name.
    pub rule: Word,
    /// `critical`, `warning`, `notice` or `info`.
    pub severity: Word,
    /// The vCPUs, ascending.
    pub vcpus: Vec<u32>,
    /// The slots, ascending.
    pub slots: Vec<Slot>,
    /// RFC 3339; null where it is older than the observation.
    pub since: Option<String>,
    /// One sentence.
    pub summary: String,
    /// How far the state behind it can be trusted.
    pub confidence: Word,
    /// A stale LDR that is suspected only.
    pub suspected: bool,
    /// What it breaks.
    pub effect: Effect,
    /// The registers behind it.
    pub evidence: Vec<Evidence>,
    /// The change behind it, where seen.
    pub cause: Option<Cause>,
}

/// Counts of destinations 0-254 by verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Effect {
    /// Reach nobody.
    pub lost: u32,
    /// Reach a wrong vCPU.
    pub misrouted: u32,
    /// Reach too few.
    pub partial: u32,
    /// Whether any is right but slow.
    pub slow: bool,
}

/// Raw registers of one vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Evidence {
    /// The vCPU.
    pub vcpu_id: u32,
    /// Its APIC ID, from the register.
    pub apic_id: u32,
    /// Logical Destination Register.
    pub ldr: u32,
    /// Destination Format Register.
    pub dfr: u32,
    /// Spurious-Interrupt Vector Register.
    pub svr: u32,
    /// IA32_APIC_BASE.
    pub apic_base: u64,
}

/// The change behind a finding.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Cause {
    /// By which route.
    pub route: Word,
    /// Whose register.
    pub vcpu_id: Option<u32>,
    /// The host thread that ran.
    pub tid: Option<u32>,
    /// Its name.
    pub comm: Option<String>,
    /// `id`, `ldr`, `dfr`, `svr` or `apic_base`.
    pub register: Option<Word>,
    /// The value that ldrscope saw last before.
    pub old: Option<u64>,
    /// The value after.
    pub new: Option<u64>,
    /// Guest instruction pointer.
    pub guest_rip: Option<u64>,
    /// Whether the writer is certain.
    pub certain: bool,
}
