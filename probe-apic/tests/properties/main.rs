//! Properties of the model over random VMs: what holds for any registers, not only for those that somebody thought of.
//!
//! [`naive`] is what the model is held to: KVM's own loops, written as plainly as the kernel has them. [`consequences`]
//! counts what a finding breaks destination by destination. [`strategy`] makes the VMs. Cases of known interest are unit tests beside the code; sequences of observations are left to the
//! fuzz target `rules`.

mod astray;
mod consequences;
mod delivery;
mod judgement;
mod naive;
mod rebuild;
mod registers;
mod strategy;
