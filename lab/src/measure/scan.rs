//! Reading VMs that ran before ldrscope did.

use clap::Args;
use serde::Serialize;

use super::Figures;
use super::crowd;
use super::run::{Run, is_ready, step};
use crate::cases::CaseError;
use crate::load::End;

/// The VMs to be read.
#[derive(Debug, Clone, Copy, Args)]
pub struct Crowd {
    /// VMs
    #[arg(long, default_value_t = 1000)]
    vms: u32,
    /// vCPUs of each
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=255))]
    vcpus: u32,
    /// VMs of one process
    #[arg(long, default_value_t = 1)]
    a_process: u32,
    /// What they are like
    #[arg(long, value_enum, default_value = "sane")]
    end: End,
}

#[derive(Serialize)]
struct Took<'a> {
    measure: &'static str,
    vms: u32,
    vcpus: u32,
    vms_a_process: u32,
    what: &'a str,
    us: u64,
}

pub(super) fn measure(crowd: &Crowd, out: &mut Figures<'_>) -> Result<(), CaseError> {
    let _vms = crowd::gather(crowd.vms, crowd.vcpus, crowd.a_process, crowd.end)?;
    let mut took = |what: &str, us| {
        out.tell(&Took {
            measure: "scan",
            vms: crowd.vms,
            vcpus: crowd.vcpus,
            vms_a_process: crowd.a_process,
            what,
            us,
        })
    };
    let run = Run::start(&["-vv", "watch", "--format", "jsonl", "--settle", "0"])?;
    let opened = loop {
        let (line, at) = run.await_line(|line| step(line).is_some() || is_ready(line))?;
        let Some((what, us)) = step(&line) else {
            let all = format!(" {} VMs ", crowd.vms);
            if !line.contains(&all) {
                return Err(CaseError::Unmet(format!(
                    "all {} VMs should be watched: {line}",
                    crowd.vms
                )));
            }
            break at;
        };
        took(what, us)?;
    };
    if matches!(crowd.end, End::Colliding) {
        let mut last = opened;
        for _ in 0..crowd.vms {
            let is_collision = |line: &str| line.contains("\"raised\"") && line.contains("\"ldr-collision\"");
            (_, last) = run.await_line(is_collision)?;
        }
        took(
            "telling a collision of each, once all are read",
            (last - opened).as_micros() as u64,
        )?;
    }
    drop(run);
    let (run, ready) = Run::watching(&[])?;
    took("watch, until it watches", ready.as_micros() as u64)?;
    drop(run);
    let (_, whole) = Run::start(&["snapshot", "--format", "json"])?.into_end()?;
    took("snapshot, to its end", whole.as_micros() as u64)
}
