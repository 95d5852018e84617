//! What ldrscope says about a VM, held against what KVM says ([`super::facts`]) and the architecture
//! ([`super::architecture`]): field by field, destination by destination. The first difference of a VM is told.

use std::fmt::{self, Debug};

use super::architecture::Apic;
use super::facts::{DESTINATIONS, Receivers, Registers};
use crate::contract::{Confidence, Deliver, Map, MapMode, Mode, Vcpu, Verdict, Vm};
use crate::guest::lapic::ApicMode;
use crate::host::MapRules;

/// What a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A register.
    Registers,
    /// The published map against the rebuilt one, or how far ldrscope trusts its reading.
    Map,
    /// Whom KVM delivers to.
    Receivers,
    /// Whom the architecture names.
    Architecture,
    /// How the two compare.
    Verdict,
}

/// Something that ldrscope says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) subject: Subject,
    text: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

type Judgement = Result<(), Difference>;

/// Holds the snapshot of a VM against its registers.
pub(super) fn snapshot(registers: &Registers, vm: &Vm) -> Judgement {
    let differs = |subject, text| Err(Difference { subject, text });
    let ids = |ids: &mut dyn Iterator<Item = u32>| ids.collect::<Vec<_>>();
    let wanted = ids(&mut registers.apics.iter().map(|apic| apic.vcpu_id));
    let mut vcpus: Vec<&Vcpu> = vm.vcpus.iter().collect();
    vcpus.sort_unstable_by_key(|vcpu| vcpu.vcpu_id);
    let got = ids(&mut vcpus.iter().map(|vcpu| vcpu.vcpu_id));
    if wanted != got {
        return differs(
            Subject::Registers,
            format!("vCPUs: KVM has {wanted:?}, snapshot {got:?}"),
        );
    }
    for (apic, vcpu) in registers.apics.iter().zip(vcpus) {
        let wanted = as_snapshot(apic);
        if wanted != *vcpu {
            return differs(
                Subject::Registers,
                format!("registers: KVM has {wanted:x?}, snapshot {vcpu:x?}"),
            );
        }
    }
    if vm.confidence != Confidence::Certain {
        return differs(
            Subject::Map,
            format!("confidence: {:?} for a VM at rest", vm.confidence),
        );
    }
    let (published, rebuilt) = (&vm.map.published, &vm.map.rebuilt);
    if published != rebuilt || vm.map.agrees != Some(true) {
        let agrees = vm.map.agrees;
        return differs(
            Subject::Map,
            format!("map: agrees is {agrees:?}; published {published:?}, rebuilt {rebuilt:?}"),
        );
    }
    Ok(())
}

/// What a snapshot must show of `apic`.
fn as_snapshot(apic: &Apic) -> Vcpu {
    let (mode, apic_id) = match apic.mode() {
        ApicMode::Off => (Mode::Disabled, apic.id >> 24),
        ApicMode::Xapic => (Mode::Xapic, apic.id >> 24),
        ApicMode::X2apic => (Mode::X2apic, apic.x2apic_id()),
    };
    Vcpu {
        vcpu_id: apic.vcpu_id,
        apic_id,
        mode,
        hw_enabled: mode != Mode::Disabled,
        sw_enabled: apic.software_enabled(),
        ldr: apic.ldr,
        dfr: apic.dfr,
        svr: apic.svr,
        apic_base: apic.apic_base,
    }
}

/// Holds what `deliver` says of fixed interrupts to logical destinations against those that were sent. `published` is the
/// map of the VM's snapshot, by which a scan is told from a look-up.
pub(super) fn logical(
    registers: &Registers,
    receivers: &Receivers,
    published: Option<&Map>,
    rules: MapRules,
    deliver: &Deliver,
) -> Judgement {
    let mode = published.map_or(MapMode::None, |map| map.mode);
    expect(Subject::Map, "mode", "the published map", &mode, &deliver.mode)?;
    let wanted: Vec<u32> = DESTINATIONS.map(u32::from).collect();
    let got: Vec<u32> = deliver.destinations.iter().map(|row| row.dest).collect();
    expect(Subject::Receivers, "destinations", "the contract", &wanted, &got)?;
    for (dest, row) in DESTINATIONS.zip(&deliver.destinations) {
        let reached = receivers.at(dest);
        let named: Vec<u32> = registers
            .apics
            .iter()
            .filter(|apic| apic.answers_logical(u32::from(dest), registers.quirk_off))
            .map(|apic| apic.vcpu_id)
            .collect();
        let verdict = verdict(&named, &reached, dest != 0xFF && scans(mode, rules));
        let of = |part: &str| format!("{part} of logical destination {dest:#04x}");
        expect(Subject::Receivers, &of("kvm"), "the IRRs", &reached, &row.kvm)?;
        let part = of("architecture");
        expect(
            Subject::Architecture,
            &part,
            "the registers",
            &named,
            &row.architecture,
        )?;
        expect(
            Subject::Verdict,
            &of("verdict"),
            "the sets",
            &verdict,
            &row.verdict,
        )?;
    }
    Ok(())
}

/// Whether KVM scans all vCPUs for a logical destination other than broadcast (`kvm_apic_map_get_logical_dest`).
fn scans(mode: MapMode, rules: MapRules) -> bool {
    match mode {
        MapMode::None | MapMode::Disabled | MapMode::Mixed => true,
        MapMode::SwDisabled => rules == MapRules::Overwrite,
        MapMode::Flat | MapMode::Cluster | MapMode::X2apic => false,
    }
}

fn verdict(named: &[u32], reached: &[u32], by_scan: bool) -> Verdict {
    if reached.iter().any(|id| !named.contains(id)) {
        Verdict::Misrouted
    } else if reached.is_empty() && !named.is_empty() {
        Verdict::Lost
    } else if reached.len() < named.len() {
        Verdict::Partial
    } else if by_scan && !reached.is_empty() {
        Verdict::Slow
    } else {
        Verdict::Ok
    }
}

fn expect<T: PartialEq + Debug>(
    subject: Subject,
    part: &str,
    source: &str,
    wanted: &T,
    got: &T,
) -> Judgement {
    if wanted == got {
        Ok(())
    } else {
        Err(Difference {
            subject,
            text: format!("{part}: {source} say {wanted:?}, ldrscope {got:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{scans, verdict};
    use crate::contract::{MapMode, Verdict};
    use crate::host::MapRules;

    #[test]
    fn verdicts_come_in_the_contracts_order() {
        assert_eq!(verdict(&[], &[1], true), Verdict::Misrouted);
        assert_eq!(verdict(&[0], &[0, 1], true), Verdict::Misrouted);
        assert_eq!(verdict(&[0], &[], true), Verdict::Lost);
        assert_eq!(verdict(&[0, 1], &[1], true), Verdict::Partial);
        assert_eq!(verdict(&[0, 1], &[0, 1], true), Verdict::Slow);
        assert_eq!(verdict(&[0, 1], &[0, 1], false), Verdict::Ok);
        assert_eq!(verdict(&[], &[], true), Verdict::Ok);
    }

    #[test]
    fn a_map_without_logical_ids_is_scanned_by_older_rules_only() {
        assert!(scans(MapMode::SwDisabled, MapRules::Overwrite));
        assert!(!scans(MapMode::SwDisabled, MapRules::ConflictDisables));
        assert!(scans(MapMode::None, MapRules::ConflictDisables));
    }
}
