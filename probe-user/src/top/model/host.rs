//! The host on one screen: its facts, and each VM in a row.

use probe_apic::{
    finding::{Confidence, Finding, Rule, Severity},
    id::{BootTime, VmId},
    vm::{MapInUse, Vm},
};

use crate::{
    engine::{
        Engine,
        view::{HostView, VmView},
    },
    identity::VmIdentity,
    sink::convert::map_mode,
};

/// Facts of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its kernel's release; not escaped.
    pub kernel: String,
    /// `amd`, `intel` or `unknown`.
    pub kvm_vendor: String,
    /// A name of map rules, or `unknown`.
    pub map_rules: &'static str,
    /// `cold` or `precise`.
    pub hooks: &'static str,
    /// The rules of another KVM that VMs are judged by.
    pub as_kvm: Option<&'static str>,
    /// VMs that were found and have not been read yet.
    pub unread: usize,
}

impl Facts {
    /// Those of the host that an engine observes.
    #[must_use]
    pub fn of(engine: &Engine, view: &HostView<'_>) -> Self {
        let facts = view.facts;
        Self {
            kernel: facts.kernel.clone(),
            kvm_vendor: facts.kvm_vendor.clone(),
            map_rules: view.map_rules.map_or("unknown", |rules| rules.name()),
            hooks: facts.hooks(),
            as_kvm: view.as_kvm.map(|rules| rules.name()),
            unread: engine.watched().saturating_sub(view.vms.len()),
        }
    }
}

/// A VM in one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which VM.
    pub id: VmId,
    /// Who it is; not escaped.
    pub identity: VmIdentity,
    /// How many findings there are of each severity, the mildest first.
    pub counts: [usize; Severity::ALL.len()],
    /// The rules of its findings.
    pub rules: Vec<Rule>,
    /// How many vCPUs it has.
    pub vcpus: usize,
    /// The mode of the map that KVM goes by; `None` where that is not known.
    pub mode: Option<&'static str>,
    /// Whether published and rebuilt map agree.
    pub agrees: Option<bool>,
    /// How far all that can be trusted.
    pub confidence: Confidence,
    /// When it changed last; `None` where that is older than the observation.
    pub changed: Option<BootTime>,
}

impl Row {
    /// The row of a VM.
    #[must_use]
    pub fn of(view: &VmView<'_>) -> Self {
        let VmView {
            identity,
            vm,
            findings,
        } = view;
        let count = |severity| {
            let findings = findings.iter();
            findings.filter(|finding| finding.severity == severity).count()
        };
        let mut rules: Vec<Rule> = findings.iter().map(rule).collect();
        rules.sort_unstable();
        rules.dedup();
        Self {
            id: vm.id(),
            identity: (*identity).clone(),
            counts: Severity::ALL.map(count),
            rules,
            vcpus: vm.vcpus().len(),
            mode: mode(vm),
            agrees: vm.agrees(),
            confidence: vm.confidence(),
            changed: vm.state_since(),
        }
    }

    /// Its worst severity; `None` without findings.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        let severities = Severity::ALL.into_iter().zip(self.counts);
        severities
            .rev()
            .find(|(_, count)| *count > 0)
            .map(|(severity, _)| severity)
    }
}

const fn rule(finding: &Finding) -> Rule {
    finding.key.rule
}

/// Of a VM whose local APICs are not in KVM there is none.
fn mode(vm: &Vm) -> Option<&'static str> {
    match vm.map_in_use() {
        _ if vm.confidence() == Confidence::Unobservable => None,
        MapInUse::Known(map) => Some(map_mode(map.map(|map| map.mode))),
        MapInUse::Unknown => None,
    }
}
