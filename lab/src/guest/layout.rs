//! Where things lie in a guest's memory: descriptor tables, the interrupt handler, its counter and one
//! page of code and stack per vCPU. Everything is identity-mapped (no paging), so a guest physical address
//! is also the address that guest code uses. Which bytes go there is up to `memory`, `program` and `vcpu`.

/// Size of the one memory region, from guest physical address 0. Pages that nobody touches cost nothing.
pub const MEMORY_BYTES: usize = 32 << 20;

/// Global descriptor table: null, flat code, flat data.
pub const GDT: u32 = 0x1000;
/// Interrupt descriptor table, 256 gates of 8 bytes.
pub const IDT: u32 = 0x2000;
/// The handler of [`TIMER_VECTOR`].
pub const TIMER_HANDLER: u32 = 0x3000;
/// A 32-bit counter that the handler increments once an interrupt.
pub const TICKS: u32 = 0x4000;

/// The descriptors of such a table: 32-bit segments of ring 0 over all 4 GiB.
pub const FLAT_SEGMENTS: [u64; 3] = [0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF];
/// Selector of the flat code segment in the GDT.
pub const CODE_SELECTOR: u16 = 0x08;
/// Selector of the flat data segment in the GDT.
pub const DATA_SELECTOR: u16 = 0x10;

/// The vector that the kdump kernel's timer pin carries.
pub const TIMER_VECTOR: u8 = 0x30;

/// Guest physical address of the local APIC's register page after reset (SDM vol. 3, "Local APIC Status and
/// Location").
pub const LAPIC: u32 = 0xFEE0_0000;
/// Guest physical address of KVM's in-kernel IOAPIC.
pub const IOAPIC: u32 = 0xFEC0_0000;
/// Where Intel hosts put three pages of their own (`KVM_SET_TSS_ADDR`); nothing else of the guest lies there.
pub const TSS: usize = 0xFFFB_D000;

/// Where timed operations note how long they took, one 32-bit value each.
pub const SAMPLES: u32 = 0x180_0000;
/// Room for so many of them.
pub const MAX_SAMPLES: u32 = 0x4_0000;

const VCPU_PAGES: u32 = 0x10_0000;
const PAGE: u32 = 0x1000;

/// Start of the page that belongs to the vCPU created as the `index`-th: its code lies at the start.
pub fn code_page(index: usize) -> u32 {
    VCPU_PAGES + PAGE * u32::try_from(index).unwrap_or(u32::MAX / PAGE)
}

/// First stack address of the vCPU created as the `index`-th: the end of its page.
pub fn stack_top(index: usize) -> u32 {
    code_page(index) + PAGE
}
