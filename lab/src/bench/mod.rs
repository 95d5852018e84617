//! What ldrscope costs the guests of a host, in instructions: `lab-case bench`, of which `cargo xtask bench` makes tables.
//!
//! Only of meaning in a lab that counts instructions, where the time-stamp counter advances by one an instruction. Every
//! single operation is timed by itself, and medians are compared: timer ticks, and what KVM defers until later, fall on
//! few operations and move no median. Bare blocks stand before and after those of an observer, whose processes are stopped
//! while a block runs, so that what is counted is the cost to the path and not the observer's own work beside it.

mod block;
mod bpftrace;
mod kprobe;
mod observer;
mod path;

use std::io::Write;

pub use self::{block::Figures, observer::Observer, path::Path};
use crate::cases::CaseError;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often all of it.
    pub rounds: u32,
    /// The paths.
    pub paths: Vec<Path>,
    /// What stands beside nothing at all.
    pub observers: Vec<Observer>,
}

/// One block as it is told, a line of JSON.
#[derive(Debug, Clone, serde::Serialize)]
struct Line<'a> {
    path: &'a str,
    vcpus: u32,
    observer: &'a str,
    round: u32,
    #[serde(flatten)]
    figures: Figures,
}

/// Measures and tells each block to `out`.
///
/// The guests are older than any observer and stay the same throughout: where KVM's structures lie in memory is then no
/// difference between blocks.
pub fn run(plan: &Plan, out: &mut dyn Write) -> Result<(), CaseError> {
    let mut rigs = Vec::new();
    for path in &plan.paths {
        rigs.push(path.rig()?);
    }
    for round in 0..plan.rounds {
        let mut blocks =
            |observer: &str, out: &mut dyn Write, between: &mut dyn FnMut() -> Result<(), CaseError>| {
                for rig in &mut rigs {
                    let figures = Figures::of(rig.block()?);
                    between()?;
                    let line = Line {
                        path: rig.path.name(),
                        vcpus: rig.path.vcpus(),
                        observer,
                        round,
                        figures,
                    };
                    writeln!(
                        out,
                        "{}",
                        serde_json::to_string(&line).map_err(std::io::Error::other)?
                    )?;
                    out.flush()?;
                }
                Ok::<(), CaseError>(())
            };
        for observer in &plan.observers {
            blocks("none", out, &mut || Ok(()))?;
            let mut present = observer.begin()?;
            // Caches, trampolines and tables settle in one pass that is not counted.
            for again in [false, true, true] {
                let mut nowhere = std::io::sink();
                let to: &mut dyn Write = if again { out } else { &mut nowhere };
                blocks(observer.name(), to, &mut || present.catch_up())?;
            }
            present.end()?;
        }
        blocks("none", out, &mut || Ok(()))?;
    }
    Ok(())
}
