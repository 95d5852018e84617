//! The metrics endpoint as its clients meet it, well-meaning ones and others: real sockets, no KVM, no privileges.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod client;
mod flood;
mod pages;
mod server;
