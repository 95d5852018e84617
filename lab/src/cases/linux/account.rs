//! Two accounts of the Linux guest's local APICs at one moment: QEMU's, which is KVM's own, and ldrscope's snapshot. They must
//! agree with each other, and with what the guest says runs.

use super::Running;
use crate::cases::CaseError;
use crate::contract::{Confidence, MapMode, Mode, Severity, Slot, Vcpu, Vm};
use crate::guest::lapic::SVR_ENABLED;
use crate::linux_guest::{Lapic, LinuxGuest, Routing};
use crate::tool::snapshot;

/// How often to look again if the registers changed meanwhile.
const LOOKS: u32 = 5;
/// The bit of SVR that enables the APIC by software.
const ENABLED: u32 = SVR_ENABLED & 0x100;

/// Both accounts.
pub(super) struct Account {
    lapics: Vec<Lapic>,
    vm: Vm,
}

impl Account {
    /// Takes both at a moment when no register changes.
    pub(super) fn take(guest: &mut LinuxGuest) -> Result<Self, CaseError> {
        for _ in 0..LOOKS {
            let before = guest.lapics()?;
            let snapshot = snapshot(&[])?;
            if guest.lapics()? != before {
                continue;
            }
            let pid = guest.pid();
            let vm = snapshot.vms.into_iter().find(|vm| vm.pid == pid);
            let vm =
                vm.ok_or_else(|| CaseError::Unmet(format!("a snapshot lacks the guest of process {pid}")))?;
            return Ok(Self { lapics: before, vm });
        }
        Err(CaseError::Unmet(format!(
            "the guest's registers should stand still after a step, but changed during {LOOKS} snapshots in turn"
        )))
    }

    /// That the accounts agree, and show exactly `running` CPUs in the mode of `routing`; else what does not.
    pub(super) fn hold(&self, routing: Routing, running: &[Running]) -> Result<(), String> {
        let Self { lapics, vm } = self;
        let hold = |holds: bool, what: &str| {
            if holds {
                Ok(())
            } else {
                Err(format!("{what}: QEMU says {lapics:#x?}, a snapshot {vm:#x?}"))
            }
        };
        hold(
            vm.confidence == Confidence::Certain,
            "the guest should be certain",
        )?;
        hold(
            vm.map.agrees == Some(true),
            "published and rebuilt map should agree",
        )?;
        let worst = vm.findings.iter().map(|finding| finding.severity).max();
        hold(
            worst <= Some(Severity::Notice),
            "a snapshot should have nothing above notice",
        )?;
        hold(
            vm.vcpus.len() == lapics.len(),
            "every vCPU should be in a snapshot",
        )?;
        for (vcpu, lapic) in vm.vcpus.iter().zip(lapics) {
            hold(
                agree(vcpu, lapic),
                &format!("vCPU {}'s registers should agree", vcpu.vcpu_id),
            )?;
            let runs = running.iter().find(|(_, apic_id)| *apic_id == vcpu.apic_id);
            hold(
                vcpu.sw_enabled == runs.is_some(),
                &format!("vCPU {}'s APIC should be enabled if its CPU runs", vcpu.vcpu_id),
            )?;
            if let Some(&(number, _)) = runs {
                hold(
                    self.is_routed(routing, number, vcpu),
                    &format!("vCPU {} should be addressed as {routing:?} has it", vcpu.vcpu_id),
                )?;
            }
        }
        Ok(())
    }

    /// Whether Linux's CPU `number`, which is `vcpu`, is set up as Linux does for `routing`, and so in KVM's map.
    fn is_routed(&self, routing: Routing, number: u32, vcpu: &Vcpu) -> bool {
        let Some(map) = &self.vm.map.published else {
            return false;
        };
        match routing {
            Routing::Flat => {
                let slot = Slot {
                    cluster: 0,
                    bit: number,
                };
                vcpu.mode == Mode::Xapic
                    && vcpu.ldr >> 24 == 1 << number
                    && map.mode == MapMode::Flat
                    && map.owner(slot) == Some(vcpu.vcpu_id)
            }
            Routing::PhysicalFlat => vcpu.mode == Mode::Xapic,
            Routing::X2apic => vcpu.mode == Mode::X2apic && map.mode == MapMode::X2apic,
        }
    }
}

/// Whether `vcpu` of a snapshot has the registers that QEMU read. It shows the upper bits of LDR and DFR alone, which in x2APIC
/// mode say nothing.
fn agree(vcpu: &Vcpu, lapic: &Lapic) -> bool {
    let logical =
        vcpu.mode == Mode::X2apic || (vcpu.ldr >> 24 == lapic.logical_id && vcpu.dfr >> 28 == lapic.model);
    vcpu.svr == lapic.svr && vcpu.sw_enabled == (lapic.svr & ENABLED != 0) && logical
}
