//! The hooks: one file for each kind of entry point. Every hook is a shell that filters itself out as early
//! as it can, reads what it must, and sends one event.

mod apic_state;
mod apic_write;
mod lifecycle;
mod recalculation;
