//! Guest programs: a list of [`Op`], assembled into 32-bit flat-mode machine code. A program runs to its end,
//! hands values out through a port on the way, and never halts. Placing and running it is for `vcpu`.

use iced_x86::IcedError;
use iced_x86::code_asm::{CodeAssembler, al, dword_ptr, dx, eax, ecx, edx, esi};

use super::lapic::ApicReg;
use super::layout::{IOAPIC, LAPIC, TICKS};
use super::timing;

/// Port by which a guest reports a 32-bit value to its VMM.
pub(super) const REPORT_PORT: u16 = 0x510;
/// Port by which a guest says that its program has ended.
pub(super) const DONE_PORT: u16 = 0x514;

/// One step of a guest program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Write a local APIC register through the xAPIC page.
    ApicWrite(ApicReg, u32),
    /// Read a local APIC register through the xAPIC page and report it.
    ApicRead(ApicReg),
    /// Write a local APIC register through the xAPIC page, and note how long that took: see [`super::timing`].
    TimedApicWrite(ApicReg, u32),
    /// Write an IOAPIC register (index, value) through its select and data windows.
    IoapicWrite(u8, u32),
    /// Write a model-specific register.
    Wrmsr(u32, u64),
    /// Write a byte to an I/O port.
    Out8(u16, u8),
    /// Spin for that many rounds of an empty loop.
    Delay(u32),
    /// Set or clear the interrupt flag.
    Interrupts(bool),
    /// Fault with nobody to handle it, nor what follows of it: the processor shuts down.
    Crash,
    /// Set the timer handler's counter to zero.
    ResetTicks,
    /// Spin until the timer handler has counted to `ticks`, but for at most `rounds` rounds, then report the count.
    AwaitTicks {
        /// The count to wait for.
        ticks: u32,
        /// The bound, in rounds of the loop.
        rounds: u32,
    },
}

/// Assembles `program` for address `at`, to run `rounds` times over, with the end marker appended.
pub(super) fn assemble(program: &[Op], rounds: u32, at: u32) -> Result<Vec<u8>, IcedError> {
    let mut asm = CodeAssembler::new(32)?;
    // No operation uses the register that counts the rounds, nor that which says where the next time is to be noted.
    timing::begin(&mut asm)?;
    let mut again = asm.create_label();
    asm.mov(esi, rounds)?;
    asm.set_label(&mut again)?;
    for op in program {
        emit(&mut asm, *op)?;
    }
    asm.dec(esi)?;
    asm.jnz(again)?;
    asm.mov(dx, u32::from(DONE_PORT))?;
    asm.out(dx, eax)?;
    asm.assemble(u64::from(at))
}

/// Assembles the timer's interrupt handler: count, signal end of interrupt, return.
pub(super) fn assemble_timer_handler(at: u32) -> Result<Vec<u8>, IcedError> {
    let mut asm = CodeAssembler::new(32)?;
    asm.inc(dword_ptr(TICKS))?;
    asm.mov(dword_ptr(apic_address(ApicReg::Eoi)), 0u32)?;
    asm.iretd()?;
    asm.assemble(u64::from(at))
}

fn apic_address(reg: ApicReg) -> u32 {
    LAPIC + u32::from(reg.offset())
}

fn emit(asm: &mut CodeAssembler, op: Op) -> Result<(), IcedError> {
    match op {
        Op::ApicWrite(reg, value) => asm.mov(dword_ptr(apic_address(reg)), value),
        Op::TimedApicWrite(reg, value) => {
            timing::timed(asm, |asm| asm.mov(dword_ptr(apic_address(reg)), value))
        }
        Op::ApicRead(reg) => {
            asm.mov(eax, dword_ptr(apic_address(reg)))?;
            report_eax(asm)
        }
        Op::IoapicWrite(index, value) => {
            asm.mov(dword_ptr(IOAPIC), u32::from(index))?;
            asm.mov(dword_ptr(IOAPIC + 0x10), value)
        }
        Op::Wrmsr(msr, value) => {
            asm.mov(ecx, msr)?;
            asm.mov(eax, (value & 0xFFFF_FFFF) as u32)?;
            asm.mov(edx, (value >> 32) as u32)?;
            asm.wrmsr()
        }
        Op::Out8(port, value) => {
            asm.mov(dx, u32::from(port))?;
            asm.mov(al, u32::from(value))?;
            asm.out(dx, al)
        }
        Op::Delay(rounds) => {
            let mut top = asm.create_label();
            asm.mov(ecx, rounds)?;
            asm.set_label(&mut top)?;
            asm.dec(ecx)?;
            asm.jnz(top)
        }
        Op::Interrupts(true) => asm.sti(),
        Op::Interrupts(false) => asm.cli(),
        Op::Crash => asm.ud2(),
        Op::ResetTicks => asm.mov(dword_ptr(TICKS), 0u32),
        Op::AwaitTicks { ticks, rounds } => {
            let mut top = asm.create_label();
            let mut out = asm.create_label();
            asm.mov(ecx, rounds)?;
            asm.set_label(&mut top)?;
            asm.cmp(dword_ptr(TICKS), ticks)?;
            asm.jae(out)?;
            asm.dec(ecx)?;
            asm.jnz(top)?;
            asm.set_label(&mut out)?;
            asm.mov(eax, dword_ptr(TICKS))?;
            report_eax(asm)
        }
    }
}

fn report_eax(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    asm.mov(dx, u32::from(REPORT_PORT))?;
    asm.out(dx, eax)
}

#[cfg(test)]
mod tests {
    use super::{Op, assemble};
    use crate::guest::lapic::ApicReg;

    #[test]
    fn an_apic_write_is_one_store_to_the_register_page() {
        let code = assemble(&[Op::ApicWrite(ApicReg::Ldr, 0x0300_0000)], 1, 0x10_0000).unwrap();
        // After `mov edi, SAMPLES` and `mov esi, 1`: mov dword ptr [0xFEE000D0], 0x03000000
        assert_eq!(
            code[10..20],
            [0xC7, 0x05, 0xD0, 0x00, 0xE0, 0xFE, 0x00, 0x00, 0x00, 0x03]
        );
    }

    #[test]
    fn every_op_assembles() {
        let program = [
            Op::ApicRead(ApicReg::Svr),
            Op::TimedApicWrite(ApicReg::Eoi, 0),
            Op::IoapicWrite(0x14, 0x830),
            Op::Wrmsr(0x1B, 0xFEE0_0C00),
            Op::Out8(0x43, 0x34),
            Op::Delay(3),
            Op::Interrupts(true),
            Op::Interrupts(false),
            Op::Crash,
            Op::ResetTicks,
            Op::AwaitTicks { ticks: 1, rounds: 10 },
        ];
        assert!(assemble(&program, 1, 0x10_0000).unwrap().len() < 256);
    }
}
