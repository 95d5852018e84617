//! `ldrscope`: KVM's local-APIC destination maps on a running host, watched live.
//!
//! Flow: [`observer`] (eBPF, scan) -> reports -> [`engine`] (the analysis of `probe-apic`, identities) ->
//! outputs -> [`sink`]. The verbs in [`command`] wire the ends together and own all policy of the command
//! line. Only `sink` formats or serializes; only `kernel` knows versions, symbols and what a host forbids. What a
//! process needs no more it gives up in [`privilege`].

pub mod bpf;
pub mod cli;
pub mod clock;
pub mod command;
pub mod engine;
pub mod escape;
pub mod exit;
pub mod identity;
pub mod kernel;
pub mod logging;
pub mod observer;
pub mod privilege;
pub mod sink;
