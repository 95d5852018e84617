//! The firmware of a guest under QEMU: 64 KiB in which the boot CPU wakes the others, every CPU writes its own local
//! APIC registers as its row of a table says, and all halt for good. No BIOS, no guest kernel: what a guest's
//! registers are is the table and nothing else. Placing the image in a machine is for `machine`.

use iced_x86::code_asm::{CodeAssembler, al, ax, cr0, ds, dword_ptr, dx, eax, ecx, esi, ptr, ss};
use iced_x86::{Code, IcedError, Instruction};

use super::QemuError;
use crate::guest::lapic::{
    APIC_BASE_BSP, APIC_BASE_X2APIC, ApicReg, ICR_INIT, MSR_APIC_BASE, SVR_ENABLED, ldr,
};
use crate::guest::layout::{CODE_SELECTOR, DATA_SELECTOR, FLAT_SEGMENTS, IOAPIC, LAPIC};

/// Port on which the boot CPU says that all registers stand.
pub(super) const READY_PORT: u16 = 0xE9;
/// What it says there.
pub(super) const READY: u8 = b'r';

/// Size of the image. QEMU shows it at the end of the first 4 GiB and, as on every PC, at [`LOW`].
const SIZE: usize = 0x1_0000;
/// Where the image is seen below 1 MiB: in reach of real mode and of a STARTUP IPI's vector.
const LOW: u32 = 0xF_0000;

// Offsets in the image. The entry is first: CPUs that are woken start at the first byte of the page that the vector names.
const ENTRY: usize = 0;
const GDT_POINTER: usize = 0x40;
const GDT: usize = 0x48;
const MAIN: usize = 0x100;
const TABLE: usize = 0x1000;
/// Where the boot CPU starts after reset (SDM vol. 3, "First Instruction Executed").
const RESET: usize = 0xFFF0;

/// Guest physical address of the count of CPUs that are done, in memory that is zero after reset.
const DONE: u32 = 0x1000;

/// ICR low halves to all CPUs but the sender (SDM vol. 3, "Interrupt Command Register"): INIT, and STARTUP at [`LOW`].
const ALL_BUT_SELF: u32 = 0b11 << 18;
const ICR_STARTUP: u32 = 0x0000_4600 | LOW >> 12;

/// What one CPU writes; CPU `n` is the one whose APIC ID is `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// DFR, 32 bits.
    pub dfr: u32,
    /// Logical ID, the LDR's upper byte.
    pub logical_id: u8,
    /// SVR in the end. The APIC is software-enabled on the way in any case, as every CPU's once was.
    pub svr: u32,
    /// Whether it goes into x2APIC mode last.
    pub x2apic: bool,
}

/// An IOAPIC pin that the boot CPU opens: edge-triggered, fixed, to a logical destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// Its number, 0 to 23.
    pub number: u8,
    /// The vector.
    pub vector: u8,
    /// The logical destination.
    pub dest: u8,
}

/// What a guest's CPUs do.
#[derive(Debug, Clone, Copy)]
pub struct Firmware<'a> {
    /// Its CPUs, the boot CPU first.
    pub cpus: &'a [Cpu],
    /// The pins that it opens.
    pub pins: &'a [Pin],
}

impl Firmware<'_> {
    /// The image, to be given to QEMU as its BIOS.
    ///
    /// # Errors
    /// When a part does not assemble, or does not fit.
    pub(super) fn image(&self) -> Result<Vec<u8>, QemuError> {
        let mut image = Image(vec![0; SIZE]);
        image.place("entry", ENTRY, &entry()?, GDT_POINTER)?;
        image.place("descriptor tables", GDT_POINTER, &descriptor_tables(), MAIN)?;
        image.place("program", MAIN, &self.program()?, TABLE)?;
        image.place("table of CPUs", TABLE, &self.table(), RESET)?;
        // A near jump that wraps around the segment's end to its start.
        let reset = [0xE9, 0x10_u8.wrapping_sub(3), 0x00];
        image.place("reset vector", RESET, &reset, SIZE)?;
        Ok(image.0)
    }

    /// Rows of four words: DFR, LDR, SVR, and what to add to IA32_APIC_BASE.
    fn table(&self) -> Vec<u8> {
        let row = |cpu: &Cpu| {
            let mode = if cpu.x2apic { APIC_BASE_X2APIC as u32 } else { 0 };
            [cpu.dfr, ldr(cpu.logical_id), cpu.svr, mode]
        };
        self.cpus
            .iter()
            .flat_map(row)
            .flat_map(u32::to_le_bytes)
            .collect()
    }

    /// 32-bit flat code, the same for every CPU.
    fn program(&self) -> Result<Vec<u8>, IcedError> {
        let mut asm = CodeAssembler::new(32)?;
        let mut wait = asm.create_label();
        let mut own_registers = asm.create_label();
        let mut halt = asm.create_label();
        asm.mov(ax, i32::from(DATA_SELECTOR))?;
        asm.mov(ds, ax)?;
        asm.mov(ss, ax)?;

        test_boot_cpu(&mut asm)?;
        asm.jz(own_registers)?;
        for command in [ICR_INIT, ICR_STARTUP] {
            asm.mov(register(ApicReg::IcrLow), ALL_BUT_SELF | command)?;
        }
        asm.set_label(&mut own_registers)?;
        write_own_registers(&mut asm)?;
        asm.lock().inc(dword_ptr(DONE))?;

        test_boot_cpu(&mut asm)?;
        asm.jz(halt)?;
        for pin in self.pins {
            open(&mut asm, *pin)?;
        }
        asm.set_label(&mut wait)?;
        asm.pause()?;
        asm.cmp(dword_ptr(DONE), self.cpus.len() as u32)?;
        asm.jne(wait)?;
        asm.mov(dx, i32::from(READY_PORT))?;
        asm.mov(al, i32::from(READY))?;
        asm.out(dx, al)?;

        asm.set_label(&mut halt)?;
        asm.hlt()?;
        asm.jmp(halt)?;
        asm.assemble(u64::from(LOW) + MAIN as u64)
    }
}

/// 16-bit code, where every CPU starts: the boot CPU at the image's upper place, the others at its lower one. It reads by
/// offsets from its own segment, which are the same in both, and leaves for the lower one.
fn entry() -> Result<Vec<u8>, IcedError> {
    const CR0_PE: i32 = 1;
    let mut asm = CodeAssembler::new(16)?;
    asm.cli()?;
    asm.lgdt(ptr(GDT_POINTER as u32).cs())?;
    asm.mov(eax, cr0)?;
    asm.or(eax, CR0_PE)?;
    asm.mov(cr0, eax)?;
    asm.add_instruction(Instruction::with_far_branch(
        Code::Jmp_ptr1632,
        CODE_SELECTOR,
        LOW + MAIN as u32,
    )?)?;
    asm.assemble(0)
}

/// The limit and address of the GDT, then the GDT itself.
fn descriptor_tables() -> Vec<u8> {
    let limit = (size_of_val(&FLAT_SEGMENTS) - 1) as u16;
    let mut bytes = limit.to_le_bytes().to_vec();
    bytes.extend((LOW + GDT as u32).to_le_bytes());
    bytes.resize(GDT - GDT_POINTER, 0);
    bytes.extend(FLAT_SEGMENTS.into_iter().flat_map(u64::to_le_bytes));
    bytes
}

fn register(reg: ApicReg) -> iced_x86::code_asm::AsmMemoryOperand {
    dword_ptr(LAPIC + u32::from(reg.offset()))
}

/// Clears the zero flag on the boot CPU alone.
fn test_boot_cpu(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    asm.mov(ecx, MSR_APIC_BASE)?;
    asm.rdmsr()?;
    asm.test(eax, APIC_BASE_BSP as u32)
}

fn write_own_registers(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    const ROW_BITS: u32 = 4;
    let mut stay = asm.create_label();
    asm.mov(esi, register(ApicReg::Id))?;
    asm.shr(esi, 24 - ROW_BITS)?;
    asm.mov(register(ApicReg::Svr), SVR_ENABLED)?;
    let columns = [ApicReg::Dfr, ApicReg::Ldr, ApicReg::Svr];
    for (column, reg) in (0..).zip(columns) {
        asm.mov(eax, dword_ptr(esi + (LOW + TABLE as u32 + 4 * column)))?;
        asm.mov(register(reg), eax)?;
    }
    let mode = dword_ptr(esi + (LOW + TABLE as u32 + 12));
    asm.cmp(mode, 0)?;
    asm.je(stay)?;
    asm.mov(ecx, MSR_APIC_BASE)?;
    asm.rdmsr()?;
    asm.or(eax, mode)?;
    asm.wrmsr()?;
    // Of whatever follows.
    asm.set_label(&mut stay)
}

fn open(asm: &mut CodeAssembler, pin: Pin) -> Result<(), IcedError> {
    const DESTINATION_LOGICAL: u32 = 1 << 11;
    let entry = 0x10 + 2 * u32::from(pin.number);
    let words = [
        (entry + 1, ldr(pin.dest)),
        (entry, DESTINATION_LOGICAL | u32::from(pin.vector)),
    ];
    for (index, word) in words {
        asm.mov(dword_ptr(IOAPIC), index)?;
        asm.mov(dword_ptr(IOAPIC + 0x10), word)?;
    }
    Ok(())
}

struct Image(Vec<u8>);

impl Image {
    fn place(&mut self, part: &'static str, at: usize, bytes: &[u8], room: usize) -> Result<(), QemuError> {
        let end = at + bytes.len();
        if end > room {
            return Err(QemuError::TooLong { part, end, room });
        }
        self.0[at..end].copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cpu, Firmware, Pin, RESET, SIZE, TABLE};
    use crate::guest::lapic::{DFR_FLAT, SVR_ENABLED};
    use crate::qemu::QemuError;

    const CPU: Cpu = Cpu {
        dfr: DFR_FLAT,
        logical_id: 0x83,
        svr: SVR_ENABLED,
        x2apic: true,
    };

    #[test]
    fn the_boot_cpu_jumps_from_the_reset_vector_to_the_entry() {
        let image = Firmware {
            cpus: &[CPU],
            pins: &[],
        }
        .image()
        .unwrap();
        assert_eq!(image.len(), SIZE);
        let [0xE9, low, high] = image[RESET..RESET + 3] else {
            panic!("a near jump")
        };
        let target = (RESET as u16 + 3).wrapping_add(u16::from_le_bytes([low, high]));
        assert_eq!(target, 0);
        // cli
        assert_eq!(image[0], 0xFA);
    }

    #[test]
    fn a_row_holds_the_registers_as_they_are_written() {
        let image = Firmware {
            cpus: &[CPU],
            pins: &[Pin {
                number: 4,
                vector: 0x41,
                dest: 0x01,
            }],
        }
        .image()
        .unwrap();
        let words: Vec<_> = image[TABLE..TABLE + 16]
            .chunks(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(words, [0xFFFF_FFFF, 0x8300_0000, 0x1FF, 0x400]);
    }

    #[test]
    fn more_pins_than_there_is_room_for_are_refused() {
        let pin = Pin {
            number: 4,
            vector: 0x41,
            dest: 0x01,
        };
        let outcome = Firmware {
            cpus: &[CPU],
            pins: &[pin; 200],
        }
        .image();
        assert!(matches!(outcome, Err(QemuError::TooLong { part: "program", .. })));
    }
}
