//! From the start to the first word.

use serde::Serialize;

use super::Figures;
use super::run::{Run, is_ready, step};
use crate::cases::CaseError;
use crate::outside::process::Footprint;
use crate::scenario;

const ROUNDS: u32 = 3;

#[derive(Serialize)]
struct Took<'a> {
    measure: &'static str,
    what: &'a str,
    round: u32,
    us: u64,
}

#[derive(Serialize)]
struct Peak {
    measure: &'static str,
    process: &'static str,
    peak_kib: u64,
    resident_kib: u64,
}

pub(super) fn measure(out: &mut Figures<'_>) -> Result<(), CaseError> {
    for round in 0..ROUNDS {
        let mut took = |what: &str, us| {
            out.tell(&Took {
                measure: "startup",
                what,
                round,
                us,
            })
        };
        let (_, whole) = Run::start(&["snapshot", "--format", "json"])?.into_end()?;
        took("snapshot of no VM, to its end", whole.as_micros() as u64)?;
        let (run, ready) = Run::watching(&[])?;
        took("watch of no VM, until it watches", ready.as_micros() as u64)?;
        drop(run);
        let colliding = scenario::flat_with(&[0x01, 0x01])?;
        let run = Run::start(&["watch", "--format", "jsonl"])?;
        let (_, first) = run.await_line(|line| line.contains("\"raised\""))?;
        took("watch of a collision, until it is told", first.as_micros() as u64)?;
        drop((run, colliding));
    }
    // By itself, for its log takes time as well.
    let run = Run::start(&["-vv", "watch", "--format", "jsonl"])?;
    loop {
        let (line, _) = run.await_line(|line| step(line).is_some() || is_ready(line))?;
        let Some((what, us)) = step(&line) else { break };
        out.tell(&Took {
            measure: "startup-step",
            what,
            round: 0,
            us,
        })?;
    }
    for (process, pid) in ["broker", "observer"].into_iter().zip(run.processes()?) {
        let Footprint {
            peak_kib,
            resident_kib,
            ..
        } = Footprint::of(pid)?;
        out.tell(&Peak {
            measure: "startup-memory",
            process,
            peak_kib,
            resident_kib,
        })?;
    }
    Ok(())
}
