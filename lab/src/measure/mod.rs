//! What ldrscope itself takes: `lab-case measure`, a line of JSON for each figure, of which `cargo xtask bench` makes tables.
//!
//! All is seen from outside, by `/proc`, by the kernel's own accounts and by when a line came, but for the steps of a start,
//! which ldrscope's log tells. In a lab that counts instructions a microsecond is a thousand of them, the same on any machine;
//! elsewhere these are times of an emulated host.

mod crowd;
pub(crate) mod event;
mod idle;
mod latency;
mod memory;
mod programs;
mod run;
mod scan;
mod startup;

use std::io::Write;

use clap::Subcommand;

use crate::cases::CaseError;

/// What to measure.
#[derive(Debug, Clone, Subcommand)]
pub enum What {
    /// From the start to the first word, step by step
    Startup,
    /// Reading VMs that ran before
    Scan(scan::Crowd),
    /// From a register's write to the finding, as the events tell it
    Latency(latency::Plan),
    /// Resident memory and descriptors, by the number of VMs and under a storm
    Memory,
    /// CPU time where nothing happens, by the number of VMs
    Idle,
    /// CPU time of one event, by the number of VMs that do nothing
    Event(event::Plan),
    /// Size of the kernel-side programs, and the verifier's work on them
    Programs,
}

/// Measures, and tells each figure to `out`.
pub fn run(what: &What, out: &mut dyn Write) -> Result<(), CaseError> {
    let mut out = Figures(out);
    match what {
        What::Startup => startup::measure(&mut out),
        What::Scan(crowd) => scan::measure(crowd, &mut out),
        What::Latency(plan) => latency::measure(plan, &mut out),
        What::Memory => memory::measure(&mut out),
        What::Idle => idle::measure(&mut out),
        What::Event(plan) => event::measure(plan, &mut out),
        What::Programs => programs::measure(&mut out),
    }
}

/// Where figures go.
struct Figures<'a>(&'a mut dyn Write);

impl Figures<'_> {
    /// Tells one, a line of JSON.
    fn tell(&mut self, figure: &impl serde::Serialize) -> Result<(), CaseError> {
        let line = serde_json::to_string(figure).map_err(std::io::Error::other)?;
        writeln!(self.0, "{line}")?;
        self.0.flush()?;
        Ok(())
    }
}
