//! The interrupt routing of a PC: the two PICs on lines 0 to 15 and the IOAPIC on 0 to 23, with line 0 (the
//! PIT) on IOAPIC pin 2. KVM's own default puts line 0 on pin 0; VMMs override it like this because the MADT
//! tells guests so.

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
    KvmIrqRouting, kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_irqchip,
};

use super::GuestError;

/// The IOAPIC pin that the PIT's channel 0 drives.
pub const TIMER_PIN: u8 = 2;

const PIC_LINES: u32 = 16;
const IOAPIC_PINS: u32 = 24;

pub(super) fn pc() -> Result<KvmIrqRouting, GuestError> {
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
    let entries: Vec<_> = pic.chain(ioapic).collect();
    KvmIrqRouting::from_entries(&entries).map_err(|error| GuestError::Table {
        what: "an interrupt routing table",
        reason: format!("{error:?}"),
    })
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
