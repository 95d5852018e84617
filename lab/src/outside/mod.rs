//! What anybody can see from outside: a process in `/proc` ([`process`]), and what is attached to the kernel
//! ([`attached`], [`programs`]). Nothing is asked of the process that is looked at.

pub mod attached;
pub(crate) mod bpf;
pub mod process;
pub mod programs;
