//! The hooks: one file for each kind of entry point. Every hook is a shell that filters itself out as early
//! as it can, reads what it must, and sends one event.

mod apic_state;
mod apic_write;
mod interrupt;
mod lifecycle;
mod recalculation;

/// Two programs around one body, a kprobe of the first name and an fentry program of the second: see [`crate::way`]. The body
/// is given the function's arguments, 0 the first; one that is narrower than a register is in its low bits. It asks whether its
/// way [speaks](crate::way::Way::speaks) once it has something to say, and what it makes of an argument or a read that is not
/// to be had is nothing.
macro_rules! hook {
    ($kprobe:ident, $fentry:ident, $body:ident) => {
        #[aya_ebpf::macros::kprobe]
        fn $kprobe(ctx: aya_ebpf::programs::ProbeContext) -> u32 {
            let _ = $body::<crate::way::Kprobe>(|n| ctx.arg::<u64>(n));
            0
        }

        #[aya_ebpf::macros::fentry]
        fn $fentry(ctx: aya_ebpf::programs::FEntryContext) -> i32 {
            let _ = $body::<crate::way::Fentry>(|n| Some(ctx.arg::<u64>(n)));
            0
        }
    };
}
pub(crate) use hook;
