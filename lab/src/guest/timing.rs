//! How long single operations of a guest take, noted by the guest itself: the time-stamp counter before and after, the
//! difference into the next place of a table in its memory.
//!
//! In a lab that counts instructions the counter advances by one an instruction, and KVM passes it through: a difference is
//! the number of instructions that the host executed for that one operation, the guest's own few included.

use iced_x86::IcedError;
use iced_x86::code_asm::{CodeAssembler, dword_ptr, eax, ebx, edi};

use super::GuestError;
use super::layout::{MAX_SAMPLES, SAMPLES};
use super::memory::GuestMemory;

/// Begins a program: the next time is the first one.
pub(super) fn begin(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    asm.mov(edi, SAMPLES)
}

/// Notes how long `operation` takes, which uses none of the registers eax, ebx and edi for anything else.
pub(super) fn timed(
    asm: &mut CodeAssembler,
    operation: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> Result<(), IcedError> {
    asm.rdtsc()?;
    asm.mov(ebx, eax)?;
    operation(asm)?;
    asm.rdtsc()?;
    asm.sub(eax, ebx)?;
    // Behind the second reading: a page that is touched for the first time costs an exit.
    asm.mov(dword_ptr(edi), eax)?;
    asm.add(edi, 4)
}

/// The first `count` times that a program noted.
pub(super) fn samples(memory: &GuestMemory, count: u32) -> Result<Vec<u32>, GuestError> {
    (0..count.min(MAX_SAMPLES))
        .map(|i| memory.read_u32(SAMPLES + i * 4))
        .collect()
}
