//! The pure model behind `ldrscope`: what KVM makes of the local-APIC registers of a VM's vCPUs.
//!
//! Observations go in, findings come out. Nothing here does I/O, reads a clock, knows the kernel's
//! structures or needs `unsafe`: time comes in with the observations, so that a live host, a scan and a
//! recording are analysed by the same code, on any machine.
//!
//! Flow: [`observation`] -> [`host`] -> [`mod@rebuild`] and [`delivery`] -> [`rules`] -> [`tracker`] -> changes.
#![forbid(unsafe_code)]

pub mod aim;
pub mod apicv;
pub mod astray;
pub mod cause;
pub mod comm;
pub mod delivery;
pub mod finding;
#[cfg(test)]
mod fixture;
pub mod history;
pub mod host;
pub mod id;
pub mod lapic;
pub mod logical_id;
pub mod map;
pub mod map_rules;
pub mod observation;
pub mod rebuild;
pub mod reg;
pub mod rules;
pub mod severity;
pub mod tracker;
pub mod vcpu_set;
pub mod vm;
