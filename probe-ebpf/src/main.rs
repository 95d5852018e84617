//! The kernel side of ldrscope: programs that note, at KVM's own cold entry points, that something about a
//! VM's logical map changed, and programs that copy a VM's state when userspace asks.
//!
//! Nothing is judged here. Hooks live one kind to a file under [`hooks`], each entered in one of two [`way`]s; reads on demand
//! are under [`on_demand`]. [`kvm`] alone knows how KVM's structures hang together, by the offsets of [`layout`].
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod emit;
mod hooks;
mod kvm;
mod layout;
mod maps;
mod memo;
mod on_demand;
mod task;
mod way;

/// `bpf_probe_read_kernel` and the other tracing helpers are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The programs have no panicking path that survives optimisation; the verifier would refuse this loop.
    loop {}
}
