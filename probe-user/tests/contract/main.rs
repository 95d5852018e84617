//! Holds what ldrscope says to its contracts: the engine on fabricated reports, the JSON against the shipped
//! schemas, the text against golden files, the exit codes. Needs no kernel and no privileges.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod check;
mod command_line;
mod diff;
mod engine;
mod examples;
mod explain;
mod exposition;
mod fixture;
mod metrics;
mod outputs;
mod page;
mod reproduce;
mod runbook;
mod schema;
mod tally;
mod tape;
mod text;
mod top;
