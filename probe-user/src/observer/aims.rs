//! The sources of a reading that aim at a destination: unmasked IOAPIC pins, MSI routes, last ICRs.
//!
//! Only what carries a vector to the destination's IRR counts: fixed and lowest-priority delivery. What a source amounts
//! to is left to the analysis.

use probe_apic::aim::{Aim, AimSource};
use probe_common::window::{Route, Vcpu};

use super::reading::Reading;

impl Reading {
    /// Its sources: pins, then routes, then ICRs.
    pub(super) fn aims(&self) -> Vec<Aim> {
        let pins = if self.copy.has_pins == 1 {
            &self.copy.pins[..]
        } else {
            &[]
        };
        let pins = pins
            .iter()
            .zip(0..)
            .filter_map(|(&entry, pin)| pin_aim(entry, pin));
        let x2apic_format = self.copy.x2apic_format != 0;
        let routes = self
            .routes
            .iter()
            .filter_map(|route| route_aim(route, x2apic_format));
        let icrs = self.vcpus.iter().filter_map(icr_aim);
        pins.chain(routes).chain(icrs).collect()
    }
}

/// Bit 11 of an ICR and of a redirection entry: the destination is logical.
const LOGICAL: u64 = 1 << 11;

/// The delivery mode of an ICR, a redirection entry or a message's data, bits 10:8: whether it is lowest priority. `None` for what
/// carries no vector to a destination's IRR (SMI, NMI, INIT, SIPI, ExtINT).
const fn lowest_priority(entry: u64) -> Option<bool> {
    match (entry >> 8) & 7 {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// An unmasked pin of the IOAPIC (82093AA data sheet, "I/O Redirection Table Registers").
fn pin_aim(entry: u64, pin: u32) -> Option<Aim> {
    const MASKED: u64 = 1 << 16;
    if entry & MASKED != 0 {
        return None;
    }
    Some(Aim {
        source: AimSource::Ioapic,
        index: pin,
        dest: (entry >> 56) as u32,
        vector: entry as u8,
        logical: entry & LOGICAL != 0,
        lowest_priority: lowest_priority(entry)?,
    })
}

/// An MSI route (SDM vol. 3, "Message Address Register Format" and "Message Data Register Format"; KVM's
/// `kvm_set_msi_irq`). With 32-bit APIC IDs bits 31:8 of the upper address extend the destination. The redirection
/// hint makes KVM treat the message as lowest priority (`kvm_lowest_prio_delivery`).
///
/// Vectors below 16 are not valid in a message: VMMs give a device's vector such a route while the guest has not
/// programmed it.
fn route_aim(route: &Route, x2apic_format: bool) -> Option<Aim> {
    const MSI: u32 = 2;
    const LOGICAL: u32 = 1 << 2;
    const REDIRECTION_HINT: u32 = 1 << 3;
    const FIRST_VECTOR: u8 = 16;
    let vector = route.data as u8;
    if route.kind != MSI || vector < FIRST_VECTOR {
        return None;
    }
    let low = (route.address_lo >> 12) & 0xff;
    let high = if x2apic_format {
        route.address_hi & !0xff
    } else {
        0
    };
    Some(Aim {
        source: AimSource::MsiRoute,
        index: route.gsi,
        dest: high | low,
        vector,
        logical: route.address_lo & LOGICAL != 0,
        lowest_priority: lowest_priority(route.data.into())? || route.address_lo & REDIRECTION_HINT != 0,
    })
}

/// The last ICR of an enabled vCPU (SDM vol. 3, "Interrupt Command Register"), shorthands left out.
///
/// In x2APIC mode KVM keeps the destination in the upper half at 0x300 (Intel) or at 0x310 (AMD), and
/// leaves the other zero.
fn icr_aim(vcpu: &Vcpu) -> Option<Aim> {
    const SHORTHAND: u64 = 3 << 18;
    const X2APIC: u64 = 1 << 10;
    const ENABLED: u64 = 1 << 11;
    let base = vcpu.regs.apic_base;
    let enabled = vcpu.is_sound() && base & ENABLED != 0 && vcpu.regs.sw_enabled != 0;
    if !enabled || vcpu.icr as u32 == 0 || vcpu.icr & SHORTHAND != 0 {
        return None;
    }
    let dest = if base & X2APIC != 0 {
        (vcpu.icr >> 32) as u32 | vcpu.icr2
    } else {
        vcpu.icr2 >> 24
    };
    Some(Aim {
        source: AimSource::Icr,
        index: vcpu.vcpu_id,
        dest,
        vector: vcpu.icr as u8,
        logical: vcpu.icr & LOGICAL != 0,
        lowest_priority: lowest_priority(vcpu.icr)?,
    })
}

#[cfg(test)]
mod tests {
    use probe_common::regs::Registers;

    use super::*;

    #[test]
    fn a_masked_pin_and_one_without_a_vector_aim_at_nothing() {
        assert_eq!(pin_aim(0x0100_0000_0001_0830, 2), None);
        for without_vector in [2, 4, 5, 7] {
            assert_eq!(pin_aim(0x0100_0000_0000_0800 | without_vector << 8, 0), None);
        }
    }

    #[test]
    fn an_armed_pin_gives_its_destination_and_vector() {
        let aim = pin_aim(0x0100_0000_0000_0830, 2).unwrap();
        assert_eq!(
            (aim.source, aim.index, aim.dest, aim.vector, aim.logical),
            (AimSource::Ioapic, 2, 1, 0x30, true)
        );
        assert!(!pin_aim(0x0100_0000_0000_0030, 2).unwrap().logical);
        assert!(!aim.lowest_priority);
        assert!(pin_aim(0x0100_0000_0000_0930, 2).unwrap().lowest_priority);
    }

    fn vcpu(apic_base: u64, icr: u64, icr2: u32) -> Vcpu {
        let regs = Registers {
            apic_base,
            sw_enabled: 1,
            ..Registers::ZERO
        };
        Vcpu {
            regs,
            icr,
            icr2,
            vcpu_id: 3,
            ..bytemuck::Zeroable::zeroed()
        }
    }

    /// To logical destination 0x03, vector 0x41.
    fn msi() -> Route {
        Route {
            node: 1,
            gsi: 24,
            kind: 2,
            address_lo: 0xfee0_3004,
            address_hi: 0x0001_0200,
            data: 0x41,
            failed: 0,
        }
    }

    #[test]
    fn a_route_gives_its_destination_by_the_width_of_ids() {
        let aim = route_aim(&msi(), false).unwrap();
        assert_eq!(
            (aim.source, aim.index, aim.dest, aim.vector, aim.logical),
            (AimSource::MsiRoute, 24, 0x03, 0x41, true)
        );
        assert_eq!(route_aim(&msi(), true).unwrap().dest, 0x0001_0203);
        let physical = Route {
            address_lo: 0xfee0_3000,
            ..msi()
        };
        assert!(!route_aim(&physical, false).unwrap().logical);
    }

    #[test]
    fn a_hint_counts_as_lowest_priority() {
        let is_lowest = |address_lo, data| {
            let route = Route {
                address_lo,
                data,
                ..msi()
            };
            route_aim(&route, false).map(|aim| aim.lowest_priority)
        };
        assert_eq!(is_lowest(0xfee0_3004, 0x41), Some(false));
        assert_eq!(is_lowest(0xfee0_3004, 0x141), Some(true));
        assert_eq!(is_lowest(0xfee0_300c, 0x41), Some(true));
        // An NMI carries no vector, whatever the hint.
        assert_eq!(is_lowest(0xfee0_300c, 0x441), None);
    }

    #[test]
    fn pins_other_routes_and_unprogrammed_vectors_are_no_message() {
        assert_eq!(route_aim(&Route { kind: 1, ..msi() }, false), None);
        assert_eq!(route_aim(&Route { data: 0, ..msi() }, false), None);
        assert_eq!(route_aim(&Route { data: 0x0f, ..msi() }, false), None);
    }

    #[test]
    fn the_icr_of_either_mode_and_vendor_gives_its_destination() {
        assert_eq!(icr_aim(&vcpu(0x800, 0x8fd, 0x0200_0000)).unwrap().dest, 2);
        assert_eq!(
            icr_aim(&vcpu(0xC00, 0x0001_0002_0000_08fd, 0)).unwrap().dest,
            0x0001_0002
        );
        assert_eq!(
            icr_aim(&vcpu(0xC00, 0x8fd, 0x0001_0002)).unwrap().dest,
            0x0001_0002
        );
    }

    #[test]
    fn shorthands_unused_icrs_and_disabled_apics_aim_at_nothing() {
        assert_eq!(icr_aim(&vcpu(0x800, 0xc_08fd, 0)), None);
        assert_eq!(icr_aim(&vcpu(0x800, 0, 0)), None);
        assert_eq!(icr_aim(&vcpu(0, 0x8fd, 0)), None);
    }
}
