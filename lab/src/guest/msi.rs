//! Message-signalled interrupts as a VMM injects them: what the address and data of one say (SDM vol. 3, "Message
//! Signalled Interrupts"), with the 32-bit destinations that KVM_CAP_X2APIC_API adds. Sending them is for `machine`.

use kvm_bindings::kvm_msi;

use super::layout;

/// An edge-triggered MSI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Msi {
    /// Where to: 8 bits, or 32 once KVM_CAP_X2APIC_API's 32-bit IDs are on.
    pub dest: u32,
    /// Whether `dest` is logical rather than physical.
    pub logical: bool,
    /// How it is delivered.
    pub delivery: Delivery,
    /// Its vector; of no meaning for an INIT.
    pub vector: u8,
}

/// An MSI's delivery mode, as in bits 10:8 of its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// To all who match.
    Fixed,
    /// To one of them.
    LowestPriority,
    /// An INIT to all who match.
    Init,
}

impl Msi {
    /// A fixed interrupt to a logical destination.
    pub const fn logical(dest: u32, vector: u8) -> Self {
        Self {
            dest,
            logical: true,
            delivery: Delivery::Fixed,
            vector,
        }
    }

    /// A fixed interrupt to a physical destination.
    pub const fn physical(dest: u32, vector: u8) -> Self {
        Self {
            logical: false,
            ..Self::logical(dest, vector)
        }
    }

    /// An interrupt to one member of a logical destination.
    pub const fn lowest_priority(dest: u32, vector: u8) -> Self {
        Self {
            delivery: Delivery::LowestPriority,
            ..Self::logical(dest, vector)
        }
    }

    /// An INIT to a physical destination.
    pub const fn init(dest: u32) -> Self {
        Self {
            delivery: Delivery::Init,
            ..Self::physical(dest, 0)
        }
    }

    /// The address and data. Bits 31:8 of the destination go to the address' high half, where KVM takes them
    /// (Documentation/virt/kvm/api.rst, KVM_SIGNAL_MSI).
    pub(super) fn encode(self) -> kvm_msi {
        const LOGICAL: u32 = 1 << 2;
        let mode = match self.delivery {
            Delivery::Fixed => 0,
            Delivery::LowestPriority => 1,
            Delivery::Init => 5,
        };
        kvm_msi {
            address_lo: layout::LAPIC | (self.dest & 0xFF) << 12 | if self.logical { LOGICAL } else { 0 },
            address_hi: self.dest & !0xFF,
            data: mode << 8 | u32::from(self.vector),
            ..kvm_msi::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Msi;

    #[test]
    fn destinations_and_modes_are_where_the_architecture_has_them() {
        let msi = Msi::logical(0x23, 0x41).encode();
        assert_eq!((msi.address_lo, msi.address_hi, msi.data), (0xFEE2_3004, 0, 0x41));
        let msi = Msi::physical(0x0001_0203, 0x41).encode();
        assert_eq!((msi.address_lo, msi.address_hi), (0xFEE0_3000, 0x0001_0200));
        assert_eq!(Msi::lowest_priority(1, 0x41).encode().data, 0x141);
        assert_eq!(Msi::init(7).encode().data, 0x500);
    }
}
