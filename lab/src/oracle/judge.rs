//! What ldrscope says about a VM, held against what KVM says ([`super::facts`]) and the architecture
//! ([`super::architecture`]): field by field, destination by destination. The first difference of a VM is told.

use std::fmt::{self, Debug};

use super::architecture::Apic;
use super::facts::{Receivers, Registers};
use super::round::Round;
use crate::contract::{Confidence, Deliver, Map, MapMode, Mode, Vcpu, Verdict, Vm};
use crate::guest::lapic::ApicMode;
use crate::host::MapRules;

/// What a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// A register.
    Registers,
    /// The published map against the rebuilt one, or how far ldrscope trusts its reading.
    Map,
    /// Whom KVM delivers to.
    Receivers(Round),
    /// Whom the architecture names.
    Architecture(Round),
    /// How the two compare.
    Verdict(Round),
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

/// Holds what `deliver` says of a round against the interrupts that were sent. `published` is the map of the VM's snapshot,
/// by which a scan is told from a look-up.
pub(super) fn round(
    round: Round,
    registers: &Registers,
    receivers: &Receivers,
    published: Option<&Map>,
    rules: MapRules,
    deliver: &Deliver,
) -> Judgement {
    let mode = published.map_or(MapMode::None, |map| map.mode);
    expect(Subject::Map, || "mode".to_owned(), &mode, &deliver.mode)?;
    let destinations = round.destinations();
    let got: Vec<u32> = deliver.destinations.iter().map(|row| row.dest).collect();
    let about = Subject::Receivers(round);
    expect(about, || format!("destinations, {round}"), &destinations, &got)?;
    for ((dest, row), reached) in destinations
        .into_iter()
        .zip(&deliver.destinations)
        .zip(receivers.each())
    {
        let named = registers.named(round, dest);
        let verdict = verdict(
            &named,
            reached,
            round.scans(dest, mode, rules),
            round.is_lowest_priority(),
        );
        let of = |part| move || format!("{part} of {round} destination {dest:#04x}");
        expect(about, of("receivers (`kvm`)"), reached, &row.kvm)?;
        let about = Subject::Architecture(round);
        expect(about, of("architecture"), &named, &row.architecture)?;
        expect(Subject::Verdict(round), of("verdict"), &verdict, &row.verdict)?;
    }
    Ok(())
}

/// The verdict on a delivery, as the contract has it.
fn verdict(named: &[u32], reached: &[u32], by_scan: bool, one_is_enough: bool) -> Verdict {
    if reached.iter().any(|id| !named.contains(id)) {
        Verdict::Misrouted
    } else if reached.is_empty() && !named.is_empty() {
        Verdict::Lost
    } else if reached.len() < named.len() && !one_is_enough {
        Verdict::Partial
    } else if by_scan && !reached.is_empty() {
        Verdict::Slow
    } else {
        Verdict::Ok
    }
}

fn expect<T: PartialEq + Debug>(
    subject: Subject,
    part: impl FnOnce() -> String,
    wanted: &T,
    got: &T,
) -> Judgement {
    if wanted == got {
        Ok(())
    } else {
        let part = part();
        Err(Difference {
            subject,
            text: format!("{part}: in truth {wanted:?}, by ldrscope {got:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::verdict;
    use crate::contract::Verdict;

    #[test]
    fn verdicts_come_in_the_contracts_order() {
        let fixed = |named: &[u32], reached: &[u32], by_scan| verdict(named, reached, by_scan, false);
        assert_eq!(fixed(&[], &[1], true), Verdict::Misrouted);
        assert_eq!(fixed(&[0], &[0, 1], true), Verdict::Misrouted);
        assert_eq!(fixed(&[0], &[], true), Verdict::Lost);
        assert_eq!(fixed(&[0, 1], &[1], true), Verdict::Partial);
        assert_eq!(fixed(&[0, 1], &[0, 1], true), Verdict::Slow);
        assert_eq!(fixed(&[0, 1], &[0, 1], false), Verdict::Ok);
        assert_eq!(fixed(&[], &[], true), Verdict::Ok);
    }

    #[test]
    fn of_lowest_priority_one_is_enough() {
        assert_eq!(verdict(&[0, 1], &[1], false, true), Verdict::Ok);
        assert_eq!(verdict(&[0, 1], &[1], true, true), Verdict::Slow);
        assert_eq!(verdict(&[0, 1], &[], false, true), Verdict::Lost);
    }
}
