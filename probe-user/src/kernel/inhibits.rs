//! What the running kernel's numbers for the reasons against APICv and AVIC mean: they differ from kernel to kernel, and
//! `enum kvm_apicv_inhibit` (5.19 on) tells, or the macros before it. What a reason amounts to is the analysis' business.

use std::collections::BTreeMap;

use probe_apic::apicv::{Inhibit, Inhibits};

use super::btf::Btf;

/// Bit by bit, the macros of arch/x86/include/asm/kvm_host.h from 5.6 to 5.18 without their prefix. They leave no trace
/// in a kernel's types; 5.10 has the first six, and none was ever renumbered.
const MACROS: [&str; 8] = [
    "disable",
    "hyperv",
    "nested",
    "irqwin",
    "pit_reinj",
    "x2apic",
    "blockirq",
    "absent",
];

/// Bit of `kvm->arch.apicv_inhibit_reasons` -> reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InhibitTable(BTreeMap<u32, Inhibit>);

impl InhibitTable {
    /// The table of the kernel with these types: by its enum, else by the macros where the kernel is so old; else empty.
    #[must_use]
    pub fn of(btf: &Btf<'_>) -> Self {
        const PREFIX: &str = "APICV_INHIBIT_REASON_";
        let reasons = btf.enumerators("kvm_apicv_inhibit");
        if reasons.is_empty() && is_before_enum(btf) {
            return Self((0..).zip(MACROS.map(Inhibit::named)).collect());
        }
        let named = reasons.into_iter().filter_map(|(name, bit)| {
            let name = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
            let bit = u32::try_from(bit).ok().filter(|&bit| bit < u64::BITS)?;
            Some((bit, Inhibit::named(&name)))
        });
        Self(named.collect())
    }

    /// Bits and names, ascending.
    #[must_use]
    pub fn entries(&self) -> Vec<(u32, String)> {
        let entry = |(bit, reason): (&u32, &Inhibit)| (*bit, reason.name().to_owned());
        self.0.iter().map(entry).collect()
    }

    /// The table with these [entries](Self::entries).
    #[must_use]
    pub fn from_entries(entries: &[(u32, String)]) -> Self {
        let entry = |(bit, name): &(u32, String)| (*bit, Inhibit::named(name));
        Self(entries.iter().map(entry).collect())
    }

    /// The reasons that are set in `mask`. A bit that the kernel's own types do not name is told by its number.
    #[must_use]
    pub fn decode(&self, mask: u64) -> Inhibits {
        (0..u64::BITS)
            .filter(|bit| mask & (1 << bit) != 0)
            .map(|bit| {
                let known = self.0.get(&bit).cloned();
                known.unwrap_or_else(|| Inhibit::named(&format!("bit-{bit}")))
            })
            .collect()
    }
}

/// Types need not hold an enum that no structure has. Whether APICv is active for a vCPU is kept in the vCPU itself only
/// to 5.19 (commit ce0a58f4756c).
fn is_before_enum(btf: &Btf<'_>) -> bool {
    let mut vcpus = btf.structs("kvm_vcpu").into_iter();
    vcpus.any(|vcpu| btf.member(vcpu, "arch.apicv_active").is_some())
}

#[cfg(test)]
mod tests {
    use super::{
        super::btf::fixture::{kernel, synthetic},
        *,
    };

    fn names(series: &str, mask: u64) -> Vec<String> {
        let inhibits = InhibitTable::of(&kernel(series).btf()).decode(mask);
        inhibits.iter().map(|reason| reason.name().to_owned()).collect()
    }

    #[test]
    fn reasons_are_called_what_each_kernel_calls_them() {
        let oldest =
            "disable hyperv absent blockirq apic_id_modified apic_base_modified nested irqwin pit_reinj sev";
        let middle = "disabled hyperv absent blockirq physical_id_aliased apic_id_modified apic_base_modified nested \
                      irqwin pit_reinj sev logical_id_aliased";
        let newest = format!("{middle} physical_id_too_big");
        for (series, expected) in [
            ("5.10", "disable hyperv nested irqwin pit_reinj x2apic"),
            ("6.1", oldest),
            ("6.12", middle),
            ("6.18", &newest),
            ("7.3", &newest),
        ] {
            let expected: Vec<_> = expected.split_whitespace().collect();
            assert_eq!(names(series, (1 << expected.len()) - 1), expected, "{series}");
        }
    }

    #[test]
    fn what_has_no_name_has_a_number() {
        assert_eq!(names("6.1", 1 << 40 | 1), ["disable", "bit-40"]);
        let no_types = synthetic(&[], &[]);
        let unnamed = InhibitTable::of(&Btf::parse(&no_types, None).unwrap()).decode(0b10);
        assert_eq!(unnamed.iter().map(Inhibit::name).collect::<Vec<_>>(), ["bit-1"]);
    }
}
