//! Whether the published map is what the rules make of the registers, as they were when KVM last
//! recalculated.
//!
//! What may change without a recalculation is taken as it was then, so that a difference is always news.

use crate::{
    lapic::{ApicMode, Lapic},
    map::PublishedMap,
    map_rules::MapRules,
    observation::{VcpuSample, VmSample},
    rebuild::{Rebuild, rebuild},
    vcpu_set::VcpuSet,
};

/// The rebuilt map, and whether it equals the published one; `None` where the sample does not allow the
/// comparison or KVM has not built a map yet.
///
/// - A vCPU is absent from the map until the first recalculation after its creation (the one of its own reset
///   runs before it is visible, `kvm_arch_vcpu_create`).
/// - Userspace may turn `x2apic_format` on without a recalculation (`kvm_vm_ioctl_enable_cap`); it never turns
///   it off.
pub(super) fn rebuild_and_compare(sample: &VmSample, rules: MapRules) -> (Rebuild, Option<bool>) {
    let walked = walked(sample);
    let rebuilt = rebuild(walked, sample.x2apic_format, rules);
    if !sample.consistent {
        return (rebuilt, None);
    }
    if rebuilt.map == sample.published {
        return (rebuilt, Some(true));
    }
    let entered = entered(&sample.vcpus, sample.published.as_ref());
    for (vcpus, x2apic_format) in [(entered, sample.x2apic_format), (entered, false), (walked, false)] {
        let as_of_then = rebuild(vcpus, x2apic_format, rules);
        if as_of_then.map == sample.published {
            return (as_of_then, Some(true));
        }
    }
    let never_built = sample.published.is_none() && entered.is_empty();
    (rebuilt, if never_built { None } else { Some(false) })
}

/// The vCPUs that the last recalculation walked, where it was seen; else all.
fn walked(sample: &VmSample) -> &[VcpuSample] {
    let mapped = sample
        .mapped_vcpus
        .and_then(|mapped| usize::try_from(mapped).ok());
    sample
        .vcpus
        .get(..mapped.unwrap_or(usize::MAX))
        .unwrap_or(&sample.vcpus)
}

/// The vCPUs without the youngest ones that no recalculation has entered yet, as far as the map tells.
fn entered<'a>(vcpus: &'a [VcpuSample], published: Option<&PublishedMap>) -> &'a [VcpuSample] {
    let mapped: VcpuSet = published
        .into_iter()
        .flat_map(|map| map.physical.iter().map(|&(_, idx)| idx))
        .collect();
    let is_new = |vcpu: &VcpuSample| is_untouched(vcpu) && !mapped.contains(vcpu.idx);
    let new = vcpus.iter().rev().take_while(|vcpu| is_new(vcpu)).count();
    &vcpus[..vcpus.len() - new]
}

/// Whether no map-relevant register was changed since creation: any such change is followed by a recalculation.
fn is_untouched(vcpu: &VcpuSample) -> bool {
    vcpu.lapic.mode() == ApicMode::Xapic && !vcpu.lapic.differs_from(&Lapic::power_on(vcpu.id))
}
