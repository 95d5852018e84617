//! The numbers of the file: kinds of entries, bits, and tables of values. Both ends use them; none of them ever changes but
//! with the version.

use probe_apic::{aim::AimSource, map::MapMode, observation::Irqchip};

/// The kinds of entries, as the byte that each begins with.
pub(crate) mod tag {
    pub(crate) const MOMENT: u8 = 0x01;
    pub(crate) const HOST: u8 = 0x02;
    pub(crate) const CLOCK: u8 = 0x03;
    pub(crate) const SEEN: u8 = 0x10;
    pub(crate) const GONE: u8 = 0x11;
    pub(crate) const LOST: u8 = 0x12;
    pub(crate) const SKIPPED: u8 = 0x13;
    pub(crate) const TOUCHED: u8 = 0x14;
    pub(crate) const SAMPLE: u8 = 0x15;
    /// Version 2.
    pub(crate) const SENT: u8 = 0x16;
    pub(crate) const IDENTIFIED: u8 = 0x20;
    pub(crate) const DROPPED: u8 = 0x21;
    /// Version 2.
    pub(crate) const UNCOUNTED: u8 = 0x22;
    pub(crate) const POLLED: u8 = 0x30;
    pub(crate) const UNLOADED: u8 = 0x31;
    pub(crate) const END: u8 = 0x3f;
}

/// The bits of the byte that says what a touch has.
pub(crate) mod touched {
    pub(crate) const VCPU: u8 = 1;
    pub(crate) const LAPIC: u8 = 1 << 1;
    pub(crate) const OLD: u8 = 1 << 2;
    pub(crate) const GUEST_RIP: u8 = 1 << 3;
    pub(crate) const ALL: u8 = VCPU | LAPIC | OLD | GUEST_RIP;
}

/// What a touch is: these, or a route or a register above one of the bases.
pub(crate) mod touch {
    pub(crate) const RECALCULATED: u8 = 0;
    pub(crate) const VCPU_BORN: u8 = 1;
    pub(crate) const ENTERED: u8 = 0x10;
    pub(crate) const WROTE: u8 = 0x20;
}

/// The bits of the byte that says what a sample is.
pub(crate) mod sample {
    pub(crate) const PUBLISHED: u8 = 1;
    pub(crate) const MAPPED: u8 = 1 << 1;
    pub(crate) const CONSISTENT: u8 = 1 << 2;
    pub(crate) const X2APIC_FORMAT: u8 = 1 << 3;
    pub(crate) const QUIRK_DISABLED: u8 = 1 << 4;
    pub(crate) const ALL: u8 = PUBLISHED | MAPPED | CONSISTENT | X2APIC_FORMAT | QUIRK_DISABLED;
}

/// The bits of the byte that says what an aim is, beside its source in bits 1:0.
pub(crate) mod aim {
    pub(crate) const SOURCE: u8 = 0b11;
    pub(crate) const LOGICAL: u8 = 1 << 2;
    pub(crate) const LOWEST_PRIORITY: u8 = 1 << 3;
    pub(crate) const ALL: u8 = SOURCE | LOGICAL | LOWEST_PRIORITY;
}

pub(crate) const MAP_MODES: [MapMode; 6] = [
    MapMode::Disabled,
    MapMode::SwDisabled,
    MapMode::Flat,
    MapMode::Cluster,
    MapMode::X2apic,
    MapMode::Mixed,
];
pub(crate) const IRQCHIPS: [Irqchip; 3] = [Irqchip::Userspace, Irqchip::Kernel, Irqchip::Split];
pub(crate) const AIM_SOURCES: [AimSource; 3] = [AimSource::Ioapic, AimSource::MsiRoute, AimSource::Icr];

/// The number of `value` in the file: its place in a table of all values.
pub(crate) fn number<T: PartialEq>(all: &[T], value: &T) -> u8 {
    // Every table has all values of its type, and fewer than 256.
    all.iter().position(|one| one == value).unwrap_or(all.len()) as u8
}
