//! ldrscope's account of one guest, reduced to what a migration must not change and `--as-kvm` must foretell: registers,
//! map, aims, findings, and who gets what. Times, causes, process ids and the hosts' own facts are left out.

use std::fmt::Debug;

use super::record::{Account, Voice};
use super::travellers::Traveller;
use crate::cases::{CaseError, CaseResult, require};
use crate::contract::{
    Aimed, Confidence, Delivery, Effect, Evidence, Finding, Map, MapMode, Mode, Rule, Severity, Slot, Vcpu,
    Vm,
};
use crate::guest::lapic::ldr;

/// What ldrscope says of one guest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GuestAccount {
    vcpus: Vec<Vcpu>,
    /// The map that KVM delivers by: published where KVM built one, else foretold.
    map: Option<Map>,
    aimed: Vec<Aimed>,
    findings: Vec<Judgement>,
    mode: MapMode,
    destinations: Vec<Delivery>,
}

/// A finding without its times and cause.
#[derive(Debug, PartialEq, Eq)]
struct Judgement {
    id: String,
    rule: Rule,
    severity: Severity,
    vcpus: Vec<u32>,
    slots: Vec<Slot>,
    confidence: Confidence,
    suspected: bool,
    effect: Effect,
    evidence: Vec<Evidence>,
}

impl GuestAccount {
    /// What `account` has on the guest called `name`.
    pub(super) fn of(account: &Account, name: &str) -> Result<Self, CaseError> {
        let missing = |what| CaseError::Unmet(format!("{what} should tell of {name}, does not"));
        let vms = &account.snapshot.vms;
        let vm = vms
            .iter()
            .find(|vm| vm.name == name)
            .ok_or_else(|| missing("snapshot"))?;
        let documents = &account.deliver;
        let deliver = documents
            .iter()
            .find(|deliver| deliver.vm.name == name)
            .ok_or_else(|| missing("deliver"))?;
        Ok(Self {
            vcpus: vm.vcpus.clone(),
            map: map_of(vm, account.voice)?,
            aimed: vm.aimed.clone(),
            findings: vm.findings.iter().map(Judgement::of).collect(),
            mode: deliver.mode,
            destinations: deliver.destinations.clone(),
        })
    }

    /// That the vCPUs' registers are those of `traveller`'s table.
    pub(super) fn hold_to(&self, traveller: &Traveller) -> CaseResult {
        let name = traveller.identity.name;
        let cpus = traveller.firmware.cpus;
        require(self.vcpus.len() == cpus.len(), || {
            format!(
                "{name} should have {} vCPUs, has {}",
                cpus.len(),
                self.vcpus.len()
            )
        })?;
        for (id, cpu) in (0..).zip(cpus) {
            let (mode, ldr) = if cpu.x2apic {
                (Mode::X2apic, x2apic_ldr(id))
            } else {
                (Mode::Xapic, ldr(cpu.logical_id))
            };
            let written = (mode, ldr, cpu.dfr, cpu.svr);
            let found = self.vcpus.iter().find(|vcpu| vcpu.vcpu_id == id);
            let found = found.map(|vcpu| (vcpu.mode, vcpu.ldr, vcpu.dfr, vcpu.svr));
            require(found == Some(written), || {
                format!("{name}: vCPU {id} should have {written:x?} (mode, LDR, DFR, SVR), has {found:x?}")
            })?;
        }
        Ok(())
    }

    /// What `found` has otherwise than `self`, one sentence a subject; empty if they are equal.
    pub(super) fn differences(&self, found: &Self) -> Vec<String> {
        let subjects = [
            difference("vCPUs", &self.vcpus, &found.vcpus),
            difference("maps", self.map.as_slice(), found.map.as_slice()),
            difference("aims", &self.aimed, &found.aimed),
            difference("findings", &self.findings, &found.findings),
            difference("deliver's modes", &[self.mode], &[found.mode]),
            difference("destinations", &self.destinations, &found.destinations),
        ];
        subjects.into_iter().flatten().collect()
    }

    /// The destinations at which KVM reaches other vCPUs than in `other`.
    pub(super) fn reached_otherwise(&self, other: &Self) -> Vec<u32> {
        let pairs = self.destinations.iter().zip(&other.destinations);
        pairs
            .filter(|(ours, theirs)| ours.kvm != theirs.kvm)
            .map(|(ours, _)| ours.dest)
            .collect()
    }
}

impl Judgement {
    fn of(finding: &Finding) -> Self {
        Self {
            id: finding.id.clone(),
            rule: finding.rule,
            severity: finding.severity,
            vcpus: finding.vcpus.clone(),
            slots: finding.slots.clone(),
            confidence: finding.confidence,
            suspected: finding.suspected,
            effect: finding.effect,
            evidence: finding.evidence.clone(),
        }
    }
}

/// The LDR that an x2APIC derives from its ID (SDM vol. 3, "Deriving Logical x2APIC ID from the Local x2APIC ID").
const fn x2apic_ldr(id: u32) -> u32 {
    (id >> 4) << 16 | 1 << (id & 15)
}

fn map_of(vm: &Vm, voice: Voice) -> Result<Option<Map>, CaseError> {
    let map = &vm.map;
    match voice {
        Voice::Seen => {
            require(map.agrees == Some(true), || {
                format!("{}: published and rebuilt map should agree", vm.name)
            })?;
            Ok(map.published.clone())
        }
        Voice::Foretold => {
            require(map.published.is_none() && map.agrees.is_none(), || {
                format!("{}: what is foretold should have no published map", vm.name)
            })?;
            Ok(map.rebuilt.clone())
        }
    }
}

/// The first place at which two lists differ.
fn difference<T: Debug + PartialEq>(subject: &str, expected: &[T], found: &[T]) -> Option<String> {
    let longer = expected.len().max(found.len());
    let at = (0..longer).find(|at| expected.get(*at) != found.get(*at))?;
    Some(format!(
        "{subject} should be {:?}, are {:?}",
        expected.get(at),
        found.get(at)
    ))
}

#[cfg(test)]
mod tests {
    use super::GuestAccount;
    use crate::contract::{Delivery, MapMode, Verdict};

    fn account(kvm: &[u32]) -> GuestAccount {
        GuestAccount {
            vcpus: Vec::new(),
            map: None,
            aimed: Vec::new(),
            findings: Vec::new(),
            mode: MapMode::Flat,
            destinations: vec![Delivery {
                dest: 3,
                architecture: vec![0, 1],
                kvm: kvm.to_vec(),
                verdict: Verdict::Partial,
            }],
        }
    }

    #[test]
    fn a_destination_that_reaches_others_is_a_difference() {
        assert!(account(&[1]).differences(&account(&[1])).is_empty());
        let differences = account(&[1]).differences(&account(&[0]));
        assert_eq!(differences.len(), 1);
        assert!(
            differences[0].starts_with("destinations should be Some"),
            "{differences:?}"
        );
        assert_eq!(account(&[1]).reached_otherwise(&account(&[0])), [3]);
    }

    #[test]
    fn a_destination_that_is_missing_is_a_difference() {
        let mut less = account(&[1]);
        less.destinations.clear();
        assert_eq!(account(&[1]).differences(&less).len(), 1);
    }
}
