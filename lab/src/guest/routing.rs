//! Interrupt routing. That of a PC: the two PICs on lines 0 to 15 and the IOAPIC on 0 to 23, with line 0 (the
//! PIT) on IOAPIC pin 2. KVM's own default puts line 0 on pin 0; VMMs override it like this because the MADT
//! tells guests so. And messages, which a VMM routes for the vectors of its devices, and, where the IOAPIC is its own,
//! for the IOAPIC's pins.

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KvmIrqRouting, kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1,
    kvm_irq_routing_irqchip, kvm_irq_routing_msi,
};

use super::GuestError;
use super::layout;

/// The IOAPIC pin that the PIT's channel 0 drives.
pub const TIMER_PIN: u8 = 2;

const PIC_LINES: u32 = 16;
const IOAPIC_PINS: u32 = 24;

/// A GSI that sends a fixed, edge-triggered message to a logical destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsiRoute {
    /// The GSI, below 4096.
    pub gsi: u32,
    /// The logical destination.
    pub dest: u8,
    /// The vector.
    pub vector: u8,
}

/// A PC's routing.
pub(super) fn pc() -> Result<KvmIrqRouting, GuestError> {
    table(&chips())
}

/// A PC's routing, and messages.
pub(super) fn pc_with(messages: &[MsiRoute]) -> Result<KvmIrqRouting, GuestError> {
    let messages = messages.iter().map(message);
    table(&chips().into_iter().chain(messages).collect::<Vec<_>>())
}

/// Messages alone: all that there can be where KVM has no IOAPIC.
pub(super) fn messages(messages: &[MsiRoute]) -> Result<KvmIrqRouting, GuestError> {
    table(&messages.iter().map(message).collect::<Vec<_>>())
}

fn table(entries: &[kvm_irq_routing_entry]) -> Result<KvmIrqRouting, GuestError> {
    KvmIrqRouting::from_entries(entries).map_err(|error| GuestError::Table {
        what: "an interrupt routing table",
        reason: format!("{error:?}"),
    })
}

fn chips() -> Vec<kvm_irq_routing_entry> {
    let pic = (0..PIC_LINES).map(|line| {
        let chip = if line < 8 {
            KVM_IRQCHIP_PIC_MASTER
        } else {
            KVM_IRQCHIP_PIC_SLAVE
        };
        entry(line, chip, line % 8)
    });
    // Line 2 is the PICs' cascade: no device drives it, so pin 2 is free for the PIT.
    let ioapic = (0..IOAPIC_PINS).filter(|line| *line != 2).map(|line| {
        let pin = if line == 0 { u32::from(TIMER_PIN) } else { line };
        entry(line, KVM_IRQCHIP_IOAPIC, pin)
    });
    pic.chain(ioapic).collect()
}

fn message(route: &MsiRoute) -> kvm_irq_routing_entry {
    const DESTINATION_LOGICAL: u32 = 1 << 2;
    kvm_irq_routing_entry {
        gsi: route.gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        u: kvm_irq_routing_entry__bindgen_ty_1 {
            msi: kvm_irq_routing_msi {
                address_lo: layout::LAPIC | u32::from(route.dest) << 12 | DESTINATION_LOGICAL,
                data: u32::from(route.vector),
                ..kvm_irq_routing_msi::default()
            },
        },
        ..kvm_irq_routing_entry::default()
    }
}

fn entry(gsi: u32, irqchip: u32, pin: u32) -> kvm_irq_routing_entry {
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_entry__bindgen_ty_1 {
            irqchip: kvm_irq_routing_irqchip { irqchip, pin },
        },
        ..kvm_irq_routing_entry::default()
    }
}
