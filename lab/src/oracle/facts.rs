//! What KVM itself says about a VM: its vCPUs' registers, and whom an interrupt reached, read from their IRRs. Whether
//! ldrscope says the same is for `judge`.

use super::architecture::Apic;
use super::round::Round;
use crate::guest::lapic::{ApicReg, Requests};
use crate::guest::{Guest, GuestError};

/// The registers of a VM.
#[derive(Debug)]
pub(super) struct Registers {
    /// Ascending by vCPU id.
    pub(super) apics: Vec<Apic>,
    /// Whether userspace turned the broadcast quirk off.
    pub(super) quirk_off: bool,
}

impl Registers {
    /// Reads those of `guest`; `quirk_off` is not to be read.
    pub(super) fn read(guest: &Guest, quirk_off: bool) -> Result<Self, GuestError> {
        let mut apics = guest
            .vcpu_ids()
            .into_iter()
            .map(|vcpu_id| {
                let page = guest.lapic(vcpu_id)?;
                Ok(Apic {
                    vcpu_id,
                    id: page.get(ApicReg::Id),
                    ldr: page.get(ApicReg::Ldr),
                    dfr: page.get(ApicReg::Dfr),
                    svr: page.get(ApicReg::Svr),
                    apic_base: guest.apic_base(vcpu_id)?,
                })
            })
            .collect::<Result<Vec<_>, GuestError>>()?;
        apics.sort_unstable_by_key(|apic| apic.vcpu_id);
        Ok(Self { apics, quirk_off })
    }
}

impl Registers {
    /// The vCPUs that the architecture names by `dest`, ascending.
    pub(super) fn named(&self, round: Round, dest: u32) -> Vec<u32> {
        let named = self
            .apics
            .iter()
            .filter(|apic| round.names(apic, dest, self.quirk_off));
        named.map(|apic| apic.vcpu_id).collect()
    }
}

/// Whom the interrupts of a round reached.
#[derive(Debug, Clone)]
pub(super) struct Receivers(Vec<Vec<u32>>);

impl Receivers {
    /// Sends the interrupts of `round` and reads who has them. The IRRs must be empty, and are afterwards.
    pub(super) fn of(guest: &Guest, round: Round) -> Result<Self, GuestError> {
        let destinations = round.destinations();
        let mut ids = guest.vcpu_ids();
        ids.sort_unstable();
        let mut receivers = vec![Vec::new(); destinations.len()];
        if round.is_lowest_priority() {
            // The vector decides who gets it, so that it cannot be told apart by its vector.
            for (dest, receivers) in destinations.into_iter().zip(&mut receivers) {
                let msi = round.msi(dest, 0);
                guest.signal(&msi)?;
                collect(guest, &ids, |requests, id| {
                    receivers.extend(requests.contains(msi.vector).then_some(id));
                })?;
            }
        } else {
            // Each destination has a vector of its own, so that one look at the IRRs serves all. KVM takes an MSI with
            // any vector, though those below 16 are not legal (SDM vol. 3, "Valid Interrupt Vectors").
            for (dest, place) in destinations.into_iter().zip(0..=u8::MAX) {
                guest.signal(&round.msi(dest, place))?;
            }
            collect(guest, &ids, |requests, id| {
                for (vector, receivers) in (0..=u8::MAX).zip(&mut receivers) {
                    receivers.extend(requests.contains(vector).then_some(id));
                }
            })?;
        }
        Ok(Self(receivers))
    }

    /// The vCPUs that have the interrupt, ascending, for each destination of the round.
    pub(super) fn each(&self) -> impl Iterator<Item = &Vec<u32>> {
        self.0.iter()
    }

    /// Puts a fault in: vCPUs whose logical ID has exactly two bits count as having received nothing.
    pub(super) fn plant_fault(&mut self, registers: &Registers) {
        let two_bits = |id: &u32| {
            let apic = registers.apics.iter().find(|apic| apic.vcpu_id == *id);
            apic.is_some_and(|apic| (apic.ldr >> 24).count_ones() == 2)
        };
        for receivers in &mut self.0 {
            receivers.retain(|id| !two_bits(id));
        }
    }
}

/// Shows `tell` what each vCPU has requested, and takes it away again.
fn collect(guest: &Guest, ids: &[u32], mut tell: impl FnMut(Requests, u32)) -> Result<(), GuestError> {
    for &id in ids {
        let mut page = guest.lapic(id)?;
        let requests = page.requests();
        if !requests.is_empty() {
            tell(requests, id);
            guest.set_lapic(id, page.clear_requests())?;
        }
    }
    Ok(())
}

/// Has every vCPU's registers set to what they are: from then on, emptying an IRR that way changes nothing else. Before,
/// it may: KVM recalculates the map, in which a vCPU may have been missing, and up to 6.10 it gives an x2APIC the 8 bits
/// of its ID that it told.
pub(super) fn settle(guest: &Guest) -> Result<(), GuestError> {
    guest
        .vcpu_ids()
        .into_iter()
        .try_for_each(|id| guest.edit_lapic(id, &[]))
}
