//! What KVM itself says about a VM: its vCPUs' registers, and whom an interrupt reached, read from their IRRs. Whether
//! ldrscope says the same is for `judge`.

use super::architecture::Apic;
use super::state::{State, Step};
use crate::guest::lapic::{ApicReg, Requests};
use crate::guest::{Guest, GuestError, Msi};

/// The destinations of an 8-bit field. Each is sent with itself as its vector, so that one look at the IRRs serves all:
/// KVM takes an MSI with any vector, though those below 16 are not legal (SDM vol. 3, "Valid Interrupt Vectors").
pub(super) const DESTINATIONS: std::ops::RangeInclusive<u8> = 0..=u8::MAX;

/// The registers of a VM.
#[derive(Debug)]
pub(super) struct Registers {
    /// Ascending by vCPU id.
    pub(super) apics: Vec<Apic>,
    /// Whether userspace turned the broadcast quirk off.
    pub(super) quirk_off: bool,
}

impl Registers {
    /// Reads those of `guest`, which `state` led to.
    pub(super) fn read(guest: &Guest, state: &State) -> Result<Self, GuestError> {
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
        Ok(Self {
            apics,
            quirk_off: state.0.contains(&Step::NoBroadcastQuirk),
        })
    }
}

/// Whom interrupts reached.
#[derive(Debug, Clone)]
pub(super) struct Receivers(Vec<(u32, Requests)>);

impl Receivers {
    /// Sends an MSI to each of [`DESTINATIONS`] and reads every vCPU's IRR, which must have been empty.
    pub(super) fn of(guest: &Guest, msi: impl Fn(u32, u8) -> Msi) -> Result<Self, GuestError> {
        for dest in DESTINATIONS {
            guest.signal(&msi(u32::from(dest), dest))?;
        }
        let mut ids = guest.vcpu_ids();
        ids.sort_unstable();
        ids.into_iter()
            .map(|id| Ok((id, guest.lapic(id)?.requests())))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The vCPUs that have the interrupt to `dest`, ascending.
    pub(super) fn at(&self, dest: u8) -> Vec<u32> {
        let reached = self.0.iter().filter(|(_, requests)| requests.contains(dest));
        reached.map(|(id, _)| *id).collect()
    }
}

impl Receivers {
    /// Puts a fault in: vCPUs whose logical ID has exactly two bits count as having received nothing.
    pub(super) fn plant_fault(&mut self, registers: &Registers) {
        let spared = |id: u32| {
            let apic = registers.apics.iter().find(|apic| apic.vcpu_id == id);
            apic.is_none_or(|apic| (apic.ldr >> 24).count_ones() != 2)
        };
        self.0.retain(|(id, _)| spared(*id));
    }
}
