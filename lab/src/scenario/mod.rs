//! What guests do: the 2019 kdump failure step by step, and the healthy guests that must stay silent.
//! Everything here is guest code on real vCPUs; cases that plant state from the VMM's side do it themselves.

mod kdump;
mod ordinary;

pub use kdump::{DeadCpus, Kdump, TIMER_DEST};
pub use ordinary::{clustered, flat, flat_with, physical_flat, x2apic};
