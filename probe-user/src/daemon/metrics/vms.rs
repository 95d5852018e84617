//! The host's VMs as metrics. A healthy VM has two series: who it is, and which map KVM delivers by.

use std::collections::BTreeMap;

use probe_apic::{
    finding::{Confidence, Rule, Severity},
    vm::{MapInUse, Vm},
};

use super::{
    family::{Family, number},
    label::{self, VmIds},
};
use crate::{
    engine::view::{HostView, VmView},
    sink::convert,
};

/// Everything about the host and its VMs.
pub(super) fn families(host: &HostView<'_>, vcpus: bool) -> Vec<Family> {
    let ids = VmIds::of(&host.vms);
    let named: Vec<Named<'_>> = host.vms.iter().map(|view| Named::new(view, &ids)).collect();
    let mut families = vec![host_info(host), confidences(host), uncertain(host)];
    families.extend([vm_info(&named), map_modes(&named), findings(&named)]);
    if vcpus {
        families.extend(per_vcpu(&named));
    }
    families
}

/// A VM and what every series of its own is labelled with.
struct Named<'a> {
    view: &'a VmView<'a>,
    id: String,
    name: String,
}

impl<'a> Named<'a> {
    fn new(view: &'a VmView<'a>, ids: &VmIds) -> Self {
        Self {
            view,
            id: ids.get(view.vm.id()).to_owned(),
            name: label::value(&view.identity.name).into_owned(),
        }
    }

    fn labels<'b, const N: usize>(
        &'b self,
        more: [(&'static str, &'b str); N],
    ) -> Vec<(&'static str, &'b str)> {
        [("vm_id", self.id.as_str()), ("vm", self.name.as_str())]
            .into_iter()
            .chain(more)
            .collect()
    }
}

fn host_info(host: &HostView<'_>) -> Family {
    let mut family = Family::gauge(
        "ldrscope_host_info",
        "Always 1; the labels name the host's kernel, its KVM, the rules by which that KVM builds its APIC map, and the \
         hooks that ldrscope uses.",
    );
    let rules = host.map_rules.map_or("unknown", |rules| rules.name());
    let labels = [
        ("kernel", &*label::value(&host.facts.kernel)),
        ("kvm_vendor", &*label::value(&host.facts.kvm_vendor)),
        ("map_rules", rules),
        ("hooks", host.facts.hooks()),
    ];
    family.push(&labels, 1.0);
    family
}

fn confidences(host: &HostView<'_>) -> Family {
    let kinds = [
        Confidence::Certain,
        Confidence::Uncertain,
        Confidence::Unobservable,
    ];
    Family::gauge(
        "ldrscope_vms",
        "VMs on this host by how far their state can be trusted: certain, uncertain (to be read again), unobservable \
         (the VMM emulates the local APICs, so that there is nothing to see).",
    )
    .by(
        "confidence",
        kinds.map(|kind| (kind.name(), number(of_confidence(host, kind)))),
    )
}

fn uncertain(host: &HostView<'_>) -> Family {
    Family::gauge(
        "ldrscope_uncertain_vms",
        "VMs whose state is not to be trusted until they have been read again; 0 again within a second of a loss.",
    )
    .of(number(of_confidence(host, Confidence::Uncertain)))
}

fn of_confidence(host: &HostView<'_>, kind: Confidence) -> usize {
    host.vms
        .iter()
        .filter(|view| view.vm.confidence() == kind)
        .count()
}

fn vm_info(vms: &[Named<'_>]) -> Family {
    let mut family = Family::gauge(
        "ldrscope_vm_info",
        "Always 1; the labels say which VM a vm_id is. Join on vm_id to add them to other metrics.",
    );
    for vm in vms {
        let identity = vm.view.identity;
        let owner = label::labels_of(identity);
        let pid = identity.pid.map_or_else(String::new, |pid| pid.to_string());
        let uuid = label::value(identity.uuid.as_deref().unwrap_or_default());
        let vmm = label::value(&identity.vmm);
        let labels = vm.labels([
            ("uuid", &*uuid),
            ("vmm", &vmm),
            ("pid", &pid),
            ("namespace", &owner.namespace),
            ("workload", &owner.workload),
            ("domain", &owner.domain),
        ]);
        family.push(&labels, 1.0);
    }
    family
}

fn map_modes(vms: &[Named<'_>]) -> Family {
    let mut family = Family::gauge(
        "ldrscope_vm_map_mode",
        "Always 1; the label names the mode of the logical map by which KVM delivers the VM's interrupts: none, \
         disabled, sw-disabled, flat, cluster, x2apic, mixed, or unknown where it could not be read.",
    );
    for vm in vms {
        family.push(&vm.labels([("mode", mode(vm.view.vm))]), 1.0);
    }
    family
}

fn mode(vm: &Vm) -> &'static str {
    match vm.map_in_use() {
        MapInUse::Known(map) if vm.confidence() != Confidence::Unobservable => {
            convert::map_mode(map.map(|map| map.mode))
        }
        MapInUse::Known(_) | MapInUse::Unknown => "unknown",
    }
}

fn findings(vms: &[Named<'_>]) -> Family {
    let mut family = Family::gauge(
        "ldrscope_findings",
        "Findings about a VM that are raised now, by rule and severity; no series where there is none. critical: an \
         interrupt that is in use cannot arrive as it should; warning: one that a guest may come to use could not.",
    );
    for vm in vms {
        let mut counts: BTreeMap<(Rule, Severity), usize> = BTreeMap::new();
        for finding in &vm.view.findings {
            *counts.entry((finding.key.rule, finding.severity)).or_default() += 1;
        }
        for ((rule, severity), count) in counts {
            let labels = vm.labels([("rule", rule.name()), ("severity", severity.name())]);
            family.push(&labels, number(count));
        }
    }
    family
}

fn per_vcpu(vms: &[Named<'_>]) -> [Family; 2] {
    let mut ldrs = Family::gauge(
        "ldrscope_vcpu_ldr",
        "The vCPU's Logical Destination Register as in its APIC page, as a number.",
    );
    let mut enabled = Family::gauge(
        "ldrscope_vcpu_apic_enabled",
        "1 where the vCPU's local APIC is enabled by hardware and software, so that it takes interrupts, else 0.",
    );
    for vm in vms {
        // There is nothing in the page where the VMM emulates the APICs.
        if vm.view.vm.confidence() == Confidence::Unobservable {
            continue;
        }
        for vcpu in vm.view.vm.vcpus() {
            let number = vcpu.id.0.to_string();
            let labels = vm.labels([("vcpu", &number)]);
            ldrs.push(&labels, f64::from(vcpu.lapic.ldr.0));
            enabled.push(&labels, f64::from(u8::from(vcpu.lapic.enabled())));
        }
    }
    [ldrs, enabled]
}
