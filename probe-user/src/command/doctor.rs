//! `doctor`: what this host allows, what degrades, and the remedy. Attaches nothing.

use std::io::{self, BufWriter};

use anyhow::Result;

use crate::{
    bpf::lookup,
    cli::{Doctor, DoctorFormat},
    exit::Exit,
    kernel::{
        diagnosis::{Facts, diagnose, is_able},
        support::KernelSupport,
        types,
    },
    privilege,
    sink::{OutputError, doctor, terminal::Style},
};

/// Looks and prints. The exit code says whether the main job can run.
///
/// # Errors
/// An output that fails.
pub fn run(arguments: &Doctor) -> Result<Exit> {
    // First, while there is nothing yet that a forked process could trip over.
    let rehearsal = privilege::rehearse();
    let support = KernelSupport::probe();
    let layout = types::resolve(arguments.btf.as_deref(), &support.release);
    let symbols = lookup::symbols(&support).ok();
    let checks = diagnose(&Facts {
        support: &support,
        symbols: symbols.as_ref(),
        layout: layout.as_ref(),
        btf_named: arguments.btf.is_some(),
        rehearsal: rehearsal.as_ref(),
    });
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.format {
        DoctorFormat::Text => doctor::write_text(&mut out, &checks, Style::of_stdout()),
        DoctorFormat::Json => doctor::write_json(&mut out, &checks),
    }
    .map_err(OutputError)?;
    Ok(if is_able(&checks) {
        Exit::Done
    } else {
        Exit::CouldNotLook
    })
}
