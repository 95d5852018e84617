//! Which interrupt controllers of a guest are KVM's own, and their creation. Routing interrupts to them is for `routing`.

use kvm_bindings::{KVM_CAP_SPLIT_IRQCHIP, kvm_enable_cap};
use kvm_ioctls::VmFd;

use super::GuestError;

/// Which interrupt controllers are KVM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Irqchip {
    /// All of them.
    Full,
    /// The local APICs alone.
    Split,
    /// None: the VMM emulates even the local APICs.
    Vmm,
}

impl Irqchip {
    /// Creates them. A VM without vCPUs yet is asked for.
    pub(super) fn create_in(self, vm: &VmFd) -> Result<(), GuestError> {
        /// GSIs that KVM keeps for the pins of the VMM's IOAPIC.
        const PINS: u64 = 24;
        match self {
            Self::Vmm => Ok(()),
            Self::Full => vm
                .create_irq_chip()
                .map_err(GuestError::kvm("KVM_CREATE_IRQCHIP")),
            Self::Split => {
                let mut cap = kvm_enable_cap {
                    cap: KVM_CAP_SPLIT_IRQCHIP,
                    ..kvm_enable_cap::default()
                };
                cap.args[0] = PINS;
                vm.enable_cap(&cap)
                    .map_err(GuestError::kvm("KVM_CAP_SPLIT_IRQCHIP"))
            }
        }
    }
}
