//! `ldrscope`: KVM's local-APIC destination maps on a running host, watched live.
//!
//! Flow: [`observer`] (eBPF, scan) -> reports -> [`engine`] (the analysis of `probe-apic`, identities) ->
//! outputs -> [`sink`]. The verbs in [`command`] wire the ends together and own all policy of the command
//! line. Two snapshots read back are compared by [`diff`]; what a finding means is told by [`explain`]'s texts. What lasts is run by [`live`], in a process that gave up its privileges ([`privilege`]) to its parent, the
//! [`broker`]. The documents are [`message`]'s. Only `sink` formats or serializes; only `kernel` knows versions, symbols and what a host forbids.

pub mod bpf;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod command;
pub mod daemon;
pub mod diff;
pub mod engine;
pub mod escape;
pub mod exit;
pub mod explain;
pub mod failure;
pub mod identity;
pub mod kernel;
pub mod live;
pub mod logging;
pub mod message;
pub mod observer;
pub mod privilege;
mod readiness;
pub mod reproduce;
pub mod sink;
mod slots;
pub mod steps;
pub mod tape;
pub mod top;
