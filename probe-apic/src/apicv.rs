//! Why KVM runs a VM without hardware APIC virtualisation (Intel's APICv, AMD's AVIC): the reasons that it keeps in
//! `kvm->arch.apicv_inhibit_reasons`, by the names of `enum kvm_apicv_inhibit` (arch/x86/include/asm/kvm_host.h, 5.19 to
//! 7.3), since their numbers differ from kernel to kernel.
//!
//! Which vCPU brought a reason about is left to [`crate::rules`].

use std::sync::Arc;

/// What a reason is about, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InhibitKind {
    /// The host does not use it at all (`disable` to 6.2, `disabled` since), or the VM has no LAPIC in KVM (`absent`).
    Unavailable,
    /// `physical_id_aliased`, 6.3 on: the map is NULL, mostly since vCPUs share a physical APIC ID.
    PhysicalIdAliased,
    /// `logical_id_aliased`, 6.3 on, AMD alone: the logical map is disabled.
    LogicalIdAliased,
    /// `apic_id_modified`, 6.0 on: an xAPIC ID is not the vCPU's own. Before 6.3 KVM never clears it.
    ApicIdModified,
    /// `apic_base_modified`, 6.0 on: an APIC's register page was moved. KVM never clears it.
    ApicBaseModified,
    /// `physical_id_too_big`, 6.18 on, AMD alone: a vCPU's ID is more than the hardware's tables hold.
    PhysicalIdTooBig,
    /// Any other: it has nothing to do with IDs.
    Other,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhibit {
    name: Arc<str>,
    kind: InhibitKind,
}

impl Inhibit {
    /// The reason of that name: an enumerator without its prefix, in lower case.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let kind = match name {
            "disable" | "disabled" | "absent" => InhibitKind::Unavailable,
            "physical_id_aliased" => InhibitKind::PhysicalIdAliased,
            "logical_id_aliased" => InhibitKind::LogicalIdAliased,
            "apic_id_modified" => InhibitKind::ApicIdModified,
            "apic_base_modified" => InhibitKind::ApicBaseModified,
            "physical_id_too_big" => InhibitKind::PhysicalIdTooBig,
            _ => InhibitKind::Other,
        };
        Self {
            name: name.into(),
            kind,
        }
    }

    /// The kernel's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> InhibitKind {
        self.kind
    }
}

/// The reasons that are set for one VM; none while its APICs are virtualised by hardware.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inhibits(Vec<Inhibit>);

impl Inhibits {
    /// No reason.
    pub const NONE: Self = Self(Vec::new());

    /// All of them, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = &Inhibit> {
        self.0.iter()
    }

    /// Whether none is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The reasons that the VM's IDs and APIC bases are to blame for; none where the VM could not be virtualised by
    /// hardware anyway.
    pub fn by_ids(&self) -> impl Iterator<Item = &Inhibit> {
        let unavailable = self.iter().any(|reason| reason.kind == InhibitKind::Unavailable);
        self.iter()
            .filter(move |reason| !unavailable && reason.kind != InhibitKind::Other)
    }
}

impl FromIterator<Inhibit> for Inhibits {
    fn from_iter<T: IntoIterator<Item = Inhibit>>(reasons: T) -> Self {
        Self(reasons.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_ids(names: &[&str]) -> Vec<String> {
        let inhibits: Inhibits = names.iter().map(|name| Inhibit::named(name)).collect();
        inhibits.by_ids().map(|reason| reason.name().to_owned()).collect()
    }

    #[test]
    fn ids_are_to_blame_only_where_hardware_would_do_it_otherwise() {
        let aliased = "logical_id_aliased";
        assert_eq!(by_ids(&[aliased]), [aliased]);
        assert_eq!(by_ids(&["irqwin", aliased, "nested"]), [aliased]);
        for unavailable in ["disable", "disabled", "absent"] {
            assert_eq!(by_ids(&[unavailable, aliased]), [""; 0], "{unavailable}");
        }
        assert_eq!(by_ids(&["bit-40"]), [""; 0]);
    }
}
