//! What an event costs the analysis: no memory in the steady state, no more on a host with a thousand VMs than on one with
//! one, and of a large VM no more than it has vCPUs.

mod memory;
#[path = "../storm/mod.rs"]
mod storm;
mod time;
