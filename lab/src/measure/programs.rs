//! The kernel-side programs as the kernel holds them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Figures;
use super::run::Run;
use crate::cases::CaseError;
use crate::outside::programs::{ProgramInfo, loaded};
use crate::tool::Hooks;

#[derive(Serialize)]
struct Program<'a> {
    measure: &'static str,
    hooks: &'static str,
    program: &'a str,
    /// Instructions that the verifier walked through, of which a million are allowed; `None` before 5.16.
    verified_instructions: Option<u32>,
    instructions: u32,
    jited_bytes: u32,
}

pub(super) fn measure(out: &mut Figures<'_>) -> Result<(), CaseError> {
    for hooks in [Hooks::Cold, Hooks::Precise] {
        let before: BTreeSet<u32> = loaded()?.iter().map(|program| program.id).collect();
        let (_run, _) = Run::watching(&["--hooks", hooks.word()])?;
        let new = loaded()?
            .into_iter()
            .filter(|program| !before.contains(&program.id));
        for ProgramInfo {
            name,
            verified_instructions,
            instructions,
            jited_bytes,
            ..
        } in new
        {
            out.tell(&Program {
                measure: "programs",
                hooks: hooks.word(),
                program: &name,
                verified_instructions,
                instructions,
                jited_bytes,
            })?;
        }
    }
    Ok(())
}
