//! What holds for every judgement: findings in order, bounded and backed by registers; deliveries to those that accept.

use probe_apic::{
    delivery::{Deliveries, Delivery, DeliveryMode, Destination, DestinationMode, Fabric, Verdict},
    finding::{Confidence, Finding, Rule, Severity},
    map::MapMode,
    map_rules::MapRules,
    observation::VcpuSample,
    rebuild::rebuild,
    vcpu_set::VcpuSet,
    vm::Vm,
};

pub(super) fn check(vm: &Vm, findings: &[Finding]) {
    assert!(
        findings.is_sorted_by(|one, next| one.key < next.key),
        "keys are in order and each there once"
    );
    for finding in findings {
        check_finding(vm, finding);
    }
    // A copy that was damaged may hold one number twice: what is in the registers is all that counts then.
    if vm.vcpus().is_sorted_by(|one, next| one.idx < next.idx) {
        if let Some(fabric) = vm.fabric() {
            check_deliveries(&fabric);
        }
        check_rules(vm);
    }
}

fn check_finding(vm: &Vm, finding: &Finding) {
    assert!(
        finding.vcpus.is_sorted() && finding.slots.is_sorted_by(|one, next| one < next),
        "{finding:?}"
    );
    assert!(finding.effect.broken() <= 255, "{finding:?}");
    assert!(
        !finding.summary.is_empty() && !finding.summary.ends_with('.'),
        "{finding:?}"
    );
    assert_eq!(finding.confidence, vm.confidence());
    let backed: Vec<_> = finding.evidence.iter().map(|evidence| evidence.vcpu_id).collect();
    assert_eq!(backed, finding.vcpus);
    for evidence in &finding.evidence {
        let holds = |vcpu: &VcpuSample| vcpu.id == evidence.vcpu_id && vcpu.lapic == evidence.lapic;
        assert!(vm.vcpus().iter().any(holds), "{finding:?}");
    }
    if finding.severity == Severity::Critical {
        assert!(
            !vm.aims().is_empty(),
            "critical, though nothing aims: {finding:?}"
        );
    }
    if finding.key.rule == Rule::MapDivergence {
        assert_eq!(vm.agrees(), Some(false), "{finding:?}");
        assert_ne!(vm.confidence(), Confidence::Unobservable);
    }
    assert!(
        !finding.suspected || finding.key.rule == Rule::LdrStale,
        "{finding:?}"
    );
}

/// The table and what it says of some destinations; for all of them that is a property of the table's own.
fn check_deliveries(fabric: &Fabric<'_>) {
    const ALONE: [u8; 6] = [0x00, 0x01, 0x0c, 0x11, 0x80, 0xff];
    let accepting: VcpuSet = fabric
        .vcpus
        .iter()
        .filter(|vcpu| vcpu.lapic.enabled())
        .map(|vcpu| vcpu.idx)
        .collect();
    for mode in [DestinationMode::Logical, DestinationMode::Physical] {
        let table = Deliveries::compute(fabric, mode);
        for number in 0..=u8::MAX {
            let Delivery {
                architecture,
                kvm,
                verdict,
                scanned,
            } = table.to(number);
            assert!(
                architecture.is_subset(&accepting) && kvm.is_subset(&accepting),
                "{mode:?} {number:#04x}"
            );
            assert_eq!(
                verdict.is_broken(),
                kvm != architecture,
                "{mode:?} {number:#04x}: {verdict}"
            );
            assert!(verdict != Verdict::Slow || scanned, "{mode:?} {number:#04x}");
        }
        for number in ALONE {
            let dest = Destination {
                mode,
                id: number.into(),
            };
            assert_eq!(
                table.to(number),
                fabric.deliver(dest, DeliveryMode::Fixed),
                "{mode:?} {number:#04x}"
            );
            let picked = fabric
                .deliver(dest, DeliveryMode::LowestPriority { vector: 0x31 })
                .kvm;
            // KVM takes physical broadcast for fixed (`kvm_irq_delivery_to_apic`).
            let many = mode == DestinationMode::Physical && number == 0xff;
            assert!(many || picked.len() <= 1, "{mode:?} {number:#04x}");
            assert!(picked.is_subset(&accepting), "{mode:?} {number:#04x}");
        }
    }
}

/// What the rules have in common, for these registers.
fn check_rules(vm: &Vm) {
    let by = |rules| rebuild(vm.vcpus(), vm.x2apic_format(), rules);
    for rules in MapRules::ALL {
        let rebuilt = by(rules);
        let mode = rebuilt.map.as_ref().map(|map| map.mode);
        let gave_up = matches!(mode, None | Some(MapMode::Mixed | MapMode::Disabled));
        assert_eq!(rebuilt.gave_up.is_some(), gave_up, "{rules}");
        if let Some(map) = rebuilt.map {
            assert!(map.slots.is_sorted_by(|one, next| one.0 < next.0), "{rules}");
            assert!(map.physical.is_sorted_by(|one, next| one.0 < next.0), "{rules}");
        }
    }
    if vm.vcpus().iter().all(|vcpu| vcpu.lapic.sw_enabled) {
        assert_eq!(by(MapRules::KeepDisabled), by(MapRules::Overwrite));
    }
    let after = by(MapRules::ConflictDisables).map;
    let before = by(MapRules::Overwrite).map;
    if let (Some(after), Some(before)) = (after, before)
        && matches!(after.mode, MapMode::Flat | MapMode::Cluster)
        && before.mode != MapMode::Mixed
    {
        assert_eq!((after.mode, after.slots), (before.mode, before.slots));
    }
}
