//! Whom the architecture names: one APIC and one destination at a time, from the registers that `KVM_GET_LAPIC` and
//! `KVM_GET_SREGS` give. Plain on purpose, and nothing of it is shared with ldrscope: it is what ldrscope's own
//! `architecture` sets are held against.

use crate::guest::lapic::ApicMode;

/// What decides whether a vCPU takes an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Apic {
    pub(super) vcpu_id: u32,
    /// The ID register as KVM_GET_LAPIC gives it.
    pub(super) id: u32,
    pub(super) ldr: u32,
    pub(super) dfr: u32,
    pub(super) svr: u32,
    pub(super) apic_base: u64,
}

impl Apic {
    pub(super) const fn mode(&self) -> ApicMode {
        ApicMode::of(self.apic_base)
    }

    /// SVR bit 8 (SDM vol. 3, "Spurious-Interrupt Vector Register").
    pub(super) const fn software_enabled(&self) -> bool {
        self.svr >> 8 & 1 == 1
    }

    /// The ID in x2APIC mode, by its LDR, which is derived from it (SDM vol. 3, "Deriving Logical x2APIC ID from the Local
    /// x2APIC ID"): of the ID register KVM_GET_LAPIC gives 8 bits, and up to 6.10 it need not be the vCPU's.
    pub(super) const fn x2apic_id(&self) -> u32 {
        (self.ldr >> 16) << 4 | (self.ldr & 0xFFFF).trailing_zeros()
    }

    /// Whether it takes fixed interrupts at all.
    pub(super) fn enabled(&self) -> bool {
        self.mode() != ApicMode::Off && self.software_enabled()
    }

    /// Whether it answers to the logical destination `dest` of an MSI (SDM vol. 3, "Logical Destination Mode").
    pub(super) fn answers_logical(&self, dest: u32, quirk_off: bool) -> bool {
        self.enabled()
            && (self.answers_broadcast(dest, quirk_off)
                || match self.mode() {
                    ApicMode::Off => false,
                    ApicMode::X2apic => self.ldr >> 16 == dest >> 16 && self.ldr & dest & 0xFFFF != 0,
                    // It has 8 bits to compare: a destination of more names none of its kind.
                    ApicMode::Xapic if dest > 0xFF => false,
                    ApicMode::Xapic => {
                        let logical_id = self.ldr >> 24;
                        match self.dfr >> 28 {
                            0xF => logical_id & dest != 0,
                            0x0 => logical_id >> 4 == dest >> 4 && logical_id & dest & 0xF != 0,
                            _ => false,
                        }
                    }
                })
    }

    /// Whether it answers to the physical destination `dest` of an MSI (SDM vol. 3, "Physical Destination Mode").
    pub(super) fn answers_physical(&self, dest: u32, quirk_off: bool) -> bool {
        self.enabled()
            && (self.answers_broadcast(dest, quirk_off)
                || match self.mode() {
                    ApicMode::Off => false,
                    ApicMode::X2apic => self.x2apic_id() == dest,
                    ApicMode::Xapic => self.id >> 24 == dest,
                })
    }

    /// 0xFF names every xAPIC, and x2APICs too unless `quirk_off`: then it is a destination like others
    /// (Documentation/virt/kvm/api.rst, KVM_CAP_X2APIC_API). 0xFFFFFFFF names everybody.
    fn answers_broadcast(&self, dest: u32, quirk_off: bool) -> bool {
        match dest {
            0xFFFF_FFFF => true,
            0xFF => self.mode() == ApicMode::Xapic || !quirk_off,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Apic;

    const XAPIC: Apic = Apic {
        vcpu_id: 0,
        id: 0,
        ldr: 0,
        dfr: 0xFFFF_FFFF,
        svr: 0x1FF,
        apic_base: 0xFEE0_0800,
    };

    fn answers(apic: Apic) -> Vec<u32> {
        (0..=255)
            .filter(|dest| apic.answers_logical(*dest, false))
            .collect()
    }

    #[test]
    fn flat_is_any_common_bit() {
        let answers = answers(Apic {
            ldr: 0x8000_0000,
            ..XAPIC
        });
        assert_eq!(answers, (0x80..=0xFF).collect::<Vec<_>>());
    }

    #[test]
    fn cluster_is_the_same_cluster_and_a_common_bit() {
        let apic = Apic {
            ldr: 0x3400_0000,
            dfr: 0x0FFF_FFFF,
            ..XAPIC
        };
        let expected = [0x34, 0x35, 0x36, 0x37, 0x3C, 0x3D, 0x3E, 0x3F, 0xFF];
        assert_eq!(answers(apic), expected);
    }

    #[test]
    fn other_models_and_no_slot_take_broadcast_alone() {
        let odd = Apic {
            ldr: 0xFF00_0000,
            dfr: 0x5FFF_FFFF,
            ..XAPIC
        };
        assert_eq!(answers(odd), [0xFF]);
        assert_eq!(answers(XAPIC), [0xFF]);
    }

    #[test]
    fn an_x2apic_is_named_by_its_cluster() {
        let apic = Apic {
            ldr: 0x0000_0002,
            apic_base: 0xFEE0_0C00,
            ..XAPIC
        };
        assert!(apic.answers_logical(0x02, false) && !apic.answers_logical(0x01, false));
        assert!(apic.answers_logical(0xFF, true));
        let far = Apic {
            ldr: 0x0001_0002,
            ..apic
        };
        assert!(far.answers_logical(0xFF, false) && !far.answers_logical(0xFF, true));
        assert!(far.answers_logical(0x0001_0002, true) && far.answers_logical(0xFFFF_FFFF, true));
    }

    #[test]
    fn a_physical_destination_is_the_id() {
        let xapic = Apic {
            id: 0x0500_0000,
            ..XAPIC
        };
        let named: Vec<_> = (0..=0x1FF)
            .filter(|dest| xapic.answers_physical(*dest, false))
            .collect();
        assert_eq!(named, [0x05, 0xFF]);
        let x2apic = Apic {
            ldr: 0x0011_0004,
            apic_base: 0xFEE0_0C00,
            ..XAPIC
        };
        let named: Vec<_> = (0..=0x1FF)
            .filter(|dest| x2apic.answers_physical(*dest, true))
            .collect();
        assert_eq!(named, [0x112]);
        assert!(x2apic.answers_physical(0xFF, false));
    }

    #[test]
    fn disabled_ones_take_nothing() {
        for off in [
            Apic { svr: 0xFF, ..XAPIC },
            Apic {
                apic_base: 0xFEE0_0000,
                ..XAPIC
            },
        ] {
            assert!(answers(off).is_empty());
        }
    }
}
