//! Real interrupts against the findings: which destinations a guest's MSIs reach, read from every vCPU's IRR, and which
//! they should reach by the SDM. The findings must count every destination that differs and none that does not, and be
//! critical exactly where a pin is aimed at one that differs. Sending and matching is the oracle's.

use super::{CaseError, CaseResult, require};
use crate::contract::{Rule, Severity, Vm};
use crate::guest::lapic::ldr;
use crate::guest::{Guest, Op};
use crate::oracle;

/// All but broadcast.
const DESTINATIONS: std::ops::RangeInclusive<u8> = 0..=254;
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
        let mut measured = Self::default();
        for sent in oracle::send_to_all(guest)? {
            if DESTINATIONS.contains(&sent.dest) {
                measured.enter(sent.dest, &sent.named, &sent.reached);
            }
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
        const VECTOR: u32 = 0x10;
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
            Op::IoapicWrite(REDIRECTION, DESTINATION_LOGICAL | VECTOR),
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
        // The others count physical destinations, to which nothing was sent.
        let logical = || {
            let physical = [Rule::PhysicalAlias, Rule::X2apicIdMismatch];
            vm.findings
                .iter()
                .filter(move |finding| !physical.contains(&finding.rule))
        };
        let mut counted = 0;
        for finding in logical() {
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
        let critical = logical().any(|finding| finding.severity == Severity::Critical);
        told(
            "critical should be what is aimed at",
            critical == self.aimed_at_broken,
        )
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
