//! How the process is confined that goes on without privileges: it was tried, and this tells what came of it.

use super::{Check, Facts, State, degraded, ok};
use crate::privilege::{FileAccess, Rehearsal};

pub(super) fn confinement(facts: &Facts<'_>) -> Vec<Check> {
    let mut checks = vec![seccomp(facts.support.seccomp)];
    if let Some(rehearsal) = facts.rehearsal {
        checks.push(landlock(rehearsal.landlock));
        checks.push(daemon(rehearsal));
    }
    checks
}

fn seccomp(usable: Option<bool>) -> Check {
    const NAME: &str = "seccomp";
    match usable {
        Some(true) => ok(NAME, "the kernel has it"),
        Some(false) => degraded(
            NAME,
            "the kernel's seccomp lacks what the filters answer with",
            "run a kernel from 4.14 on, or do without with `--no-sandbox`",
        ),
        None => degraded(
            NAME,
            "the kernel does not say that it has it",
            "run a kernel built with CONFIG_SECCOMP_FILTER, or do without with `--no-sandbox`",
        ),
    }
}

fn landlock(access: FileAccess) -> Check {
    const NAME: &str = "landlock";
    match access {
        FileAccess::Restricted { abi } => ok(NAME, format!("ABI {abi}")),
        FileAccess::LandlockOff => degraded(
            NAME,
            "switched off at boot: only its user limits which files the daemon can reach",
            "add `landlock` to the list in the kernel's `lsm=` parameter",
        ),
        FileAccess::NoLandlock => degraded(
            NAME,
            "this kernel has none: only its user limits which files the daemon can reach",
            "run a kernel from 5.13 on that was built with CONFIG_SECURITY_LANDLOCK; until then use `--user NAME` or a unit \
             with its own user",
        ),
    }
}

fn daemon(rehearsal: &Rehearsal) -> Check {
    const NAME: &str = "daemon";
    match &rehearsal.outcome {
        Ok(confined) => ok(NAME, format!("once ready it runs with {confined}")),
        // The kernel refuses what it lives by.
        Err(failure) if failure.word == "missing-capability" => Check {
            state: State::Blocked,
            word: Some(failure.word),
            remedy: Some(failure.remedy.clone()),
            ..ok(NAME, failure.sentence.clone())
        },
        Err(failure) => degraded(NAME, failure.sentence.clone(), &failure.remedy),
    }
}
