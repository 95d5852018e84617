//! The state of the host at one moment, judged, for whoever shows it.

use probe_apic::{finding::Finding, id::BootTime, map_rules::MapRules, vm::Vm};

use crate::{identity::VmIdentity, observer::HostFacts};

/// The host and its VMs at one moment.
#[derive(Debug)]
pub struct HostView<'a> {
    /// The moment.
    pub taken_at: BootTime,
    /// The host.
    pub facts: &'a HostFacts,
    /// The map rules that its KVM follows; `None` where they are unknown.
    pub map_rules: Option<MapRules>,
    /// The map rules of another KVM that the VMs are judged by in place of these.
    pub as_kvm: Option<MapRules>,
    /// The VMs that the filter lets pass, in the order in which they were found.
    pub vms: Vec<VmView<'a>>,
}

/// One VM at that moment.
#[derive(Debug)]
pub struct VmView<'a> {
    /// Who it is.
    pub identity: &'a VmIdentity,
    /// Its state.
    pub vm: &'a Vm,
    /// What is wrong with it, judged at once, without a settle time.
    pub findings: Vec<Finding>,
}
