//! What a finding breaks, destination by destination.

use probe_apic::{
    aim::Aim,
    delivery::{Delivery, DeliveryMode, Destination, DestinationMode, Fabric, Verdict},
    finding::{Effect, Finding, Rule},
    logical_id::LogicalId,
    observation::VcpuSample,
};

/// The effect of a finding, and whether a broken destination that touches it is aimed at.
pub(crate) fn consequences(fabric: &Fabric<'_>, finding: &Finding, aims: &[Aim]) -> (Effect, bool) {
    let mode = match finding.key.rule {
        Rule::X2apicIdMismatch | Rule::PhysicalAlias => DestinationMode::Physical,
        _ => DestinationMode::Logical,
    };
    let mut effect = Effect::default();
    let mut critical = false;
    for number in 0..=254 {
        let dest = Destination {
            mode,
            id: u32::from(number),
        };
        let fixed = fabric.deliver(dest, DeliveryMode::Fixed);
        if !touches(fabric, finding, number, &fixed) {
            continue;
        }
        match fixed.verdict {
            Verdict::Ok => {}
            Verdict::Slow => effect.slow = true,
            Verdict::Lost => effect.lost += 1,
            Verdict::Misrouted => effect.misrouted += 1,
            Verdict::Partial => effect.partial += 1,
        }
        let aimed = aims
            .iter()
            .filter(|aim| aim.dest == dest.id && aim.logical == (mode == DestinationMode::Logical));
        for aim in aimed {
            let pick = DeliveryMode::LowestPriority { vector: aim.vector };
            let sent = if aim.lowest_priority {
                fabric.deliver(dest, pick)
            } else {
                fixed.clone()
            };
            critical |= fixed.verdict.is_broken() && sent.verdict.is_broken();
        }
    }
    (effect, critical)
}

/// Whether `dest` names one of its slots, as one of its vCPUs does, or reaches one of its vCPUs or should.
fn touches(fabric: &Fabric<'_>, finding: &Finding, dest: u8, delivery: &Delivery) -> bool {
    let reaches =
        |vcpu: &VcpuSample| delivery.architecture.contains(vcpu.idx) || delivery.kvm.contains(vcpu.idx);
    let names = |vcpu: &VcpuSample| {
        let named = vcpu.lapic.names();
        named.is_some_and(|named| {
            let by_dest = LogicalId(dest).named_under(named.model);
            let mut slots = finding.slots.iter();
            slots.any(|&slot| named.contains(slot) && by_dest.contains(slot))
        })
    };
    let mut members = fabric
        .vcpus
        .iter()
        .filter(|vcpu| finding.vcpus.contains(&vcpu.id));
    members.any(|vcpu| reaches(vcpu) || names(vcpu))
}
