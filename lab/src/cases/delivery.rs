//! Real interrupts against the findings: which destinations a guest's MSIs reach, read from every vCPU's IRR, and which
//! they should reach by the SDM. The findings must count every destination that differs and none that does not, and be
//! critical exactly where a pin is aimed at one that differs. The matcher here is the lab's own, one vCPU and one
//! destination at a time.

use std::collections::BTreeMap;

use super::{CaseError, CaseResult, require};
use crate::contract::{Rule, Severity, Vm};
use crate::guest::lapic::{APIC_BASE_ENABLED, APIC_BASE_X2APIC, ApicReg, ldr};
use crate::guest::{Guest, Msi, Op};

/// All but broadcast.
const DESTINATIONS: std::ops::RangeInclusive<u8> = 0..=254;
/// Vectors below 16 cannot be sent (SDM vol. 3, "Valid Interrupt Vectors").
const FIRST_VECTOR: u8 = 16;
/// SVR bit 8.
const SVR_SOFTWARE_ENABLE: u32 = 1 << 8;
/// A pin that no device of the guest drives.
const PIN: u8 = 20;

/// How the destinations of one guest fare.
#[derive(Debug, Default)]
pub(super) struct Measured {
    lost: Vec<u8>,
    misrouted: Vec<u8>,
    partial: Vec<u8>,
    right: Vec<u8>,
    aimed_at_broken: bool,
}

impl Measured {
    /// Sends an MSI to every destination and compares who has it. The guest's registers stay as they are, its IRRs are
    /// left empty.
    pub(super) fn of(guest: &Guest) -> Result<Self, CaseError> {
        let ids = guest.vcpu_ids();
        let mut reached: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        // Each destination has a vector of its own, so that one look at the IRRs serves a whole round of them.
        let destinations: Vec<u8> = DESTINATIONS.collect();
        for round in destinations.chunks(usize::from(u8::MAX - FIRST_VECTOR)) {
            let sent: Vec<(u8, u8)> = (FIRST_VECTOR..).zip(round.iter().copied()).collect();
            for &(vector, dest) in &sent {
                guest.signal(&Msi::logical(u32::from(dest), vector))?;
            }
            for &id in &ids {
                let mut page = guest.lapic(id)?;
                let pending = page.requests();
                for (_, dest) in sent.iter().filter(|(vector, _)| pending.contains(*vector)) {
                    reached.entry(*dest).or_default().push(id);
                }
                if !pending.is_empty() {
                    guest.set_lapic(id, page.clear_requests())?;
                }
            }
        }
        let apics = ids
            .iter()
            .map(|&id| Apic::of(guest, id))
            .collect::<Result<Vec<_>, _>>()?;
        let mut measured = Self::default();
        for dest in destinations {
            let got = reached.get(&dest).map_or(&[][..], Vec::as_slice);
            let should: Vec<u32> = apics
                .iter()
                .filter(|apic| apic.answers(dest))
                .map(|apic| apic.vcpu_id)
                .collect();
            measured.enter(dest, &should, got);
        }
        Ok(measured)
    }

    fn enter(&mut self, dest: u8, should: &[u32], got: &[u32]) {
        let into = if got.iter().any(|id| !should.contains(id)) {
            &mut self.misrouted
        } else if got.len() == should.len() {
            &mut self.right
        } else if got.is_empty() {
            &mut self.lost
        } else {
            &mut self.partial
        };
        into.push(dest);
    }

    /// Whether the pin that was opened is aimed at a destination that does not fare as it should.
    pub(super) fn aimed_at_broken(&self) -> bool {
        self.aimed_at_broken
    }

    fn broken(&self) -> usize {
        self.lost.len() + self.misrouted.len() + self.partial.len()
    }

    /// Opens an IOAPIC pin by guest code, aimed at a broken destination if `at_broken` and there is one, else at one
    /// that is right.
    pub(super) fn aim(&mut self, guest: &mut Guest, at_broken: bool) -> CaseResult {
        const DESTINATION_LOGICAL: u32 = 1 << 11;
        const REDIRECTION: u8 = 0x10 + 2 * PIN;
        let broken = [&self.lost, &self.misrouted, &self.partial]
            .into_iter()
            .flatten()
            .next();
        let dest = broken.filter(|_| at_broken).or(self.right.last());
        let (Some(dest), Some(&vcpu)) = (dest, guest.vcpu_ids().first()) else {
            return Ok(());
        };
        self.aimed_at_broken = !self.right.contains(dest);
        let program = [
            Op::IoapicWrite(REDIRECTION + 1, ldr(*dest)),
            Op::IoapicWrite(REDIRECTION, DESTINATION_LOGICAL | u32::from(FIRST_VECTOR)),
        ];
        guest.exec(vcpu, &program)?;
        Ok(())
    }

    /// Holds the findings of `vm`, which shows this guest, to what was measured.
    pub(super) fn hold(&self, vm: &Vm) -> CaseResult {
        let told = |part: &str, holds: bool| {
            require(holds, || {
                format!(
                    "{part}: lost {:?}, misrouted {:?}, partial {:?}, a pin aimed at one of them: {}\n{:#?}",
                    self.lost, self.misrouted, self.partial, self.aimed_at_broken, vm
                )
            })
        };
        let mut counted = 0;
        let findings = || vm.findings.iter().filter(|finding| counts_logical(finding.rule));
        for finding in findings() {
            let effect = finding.effect;
            let parts = [
                (effect.lost, &self.lost),
                (effect.misrouted, &self.misrouted),
                (effect.partial, &self.partial),
            ];
            told(
                &format!(
                    "{:?} counts more broken destinations than there are",
                    finding.rule
                ),
                parts.iter().all(|(count, real)| *count as usize <= real.len()),
            )?;
            let count: usize = parts.iter().map(|(count, _)| *count as usize).sum();
            told(
                &format!("{:?} is {:?} and breaks {count}", finding.rule, finding.severity),
                match finding.severity {
                    Severity::Critical => count > 0 && self.aimed_at_broken,
                    Severity::Warning => true,
                    Severity::Notice | Severity::Info => count == 0,
                },
            )?;
            counted += count;
        }
        told(
            "some broken destination is in no finding",
            counted >= self.broken(),
        )?;
        let critical = findings().any(|finding| finding.severity == Severity::Critical);
        told(
            "critical should be what is aimed at",
            critical == self.aimed_at_broken,
        )
    }
}

/// Whether a rule's effect is on logical destinations, which alone are measured.
const fn counts_logical(rule: Rule) -> bool {
    !matches!(rule, Rule::PhysicalAlias | Rule::X2apicIdMismatch)
}

/// What decides whether a vCPU takes an interrupt.
#[derive(Debug)]
struct Apic {
    vcpu_id: u32,
    ldr: u32,
    dfr: u32,
    svr: u32,
    apic_base: u64,
}

impl Apic {
    fn of(guest: &Guest, vcpu_id: u32) -> Result<Self, CaseError> {
        let page = guest.lapic(vcpu_id)?;
        Ok(Self {
            vcpu_id,
            ldr: page.get(ApicReg::Ldr),
            dfr: page.get(ApicReg::Dfr),
            svr: page.get(ApicReg::Svr),
            apic_base: guest.apic_base(vcpu_id)?,
        })
    }

    /// Whether it takes an MSI to logical destination `dest` (SDM vol. 3, "Logical Destination Mode" and "Logical
    /// Destination Mode in x2APIC Mode").
    fn answers(&self, dest: u8) -> bool {
        let dest = u32::from(dest);
        let enabled = self.apic_base & APIC_BASE_ENABLED != 0 && self.svr & SVR_SOFTWARE_ENABLE != 0;
        let logical_id = self.ldr >> 24;
        enabled
            && if self.apic_base & APIC_BASE_X2APIC != 0 {
                self.ldr >> 16 == 0 && self.ldr & dest != 0
            } else {
                match self.dfr >> 28 {
                    0xF => logical_id & dest != 0,
                    0x0 => logical_id >> 4 == dest >> 4 && logical_id & dest & 0xF != 0,
                    _ => false,
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::Measured;

    #[test]
    fn a_destination_is_what_the_sets_make_it() {
        let mut measured = Measured::default();
        measured.enter(1, &[0, 1], &[0, 1]);
        measured.enter(2, &[], &[]);
        measured.enter(3, &[0], &[]);
        measured.enter(4, &[0, 1], &[1]);
        measured.enter(5, &[0], &[0, 1]);
        measured.enter(6, &[0], &[1]);
        assert_eq!(measured.right, [1, 2]);
        assert_eq!(measured.lost, [3]);
        assert_eq!(measured.partial, [4]);
        assert_eq!(measured.misrouted, [5, 6]);
        assert_eq!(measured.broken(), 4);
    }
}
