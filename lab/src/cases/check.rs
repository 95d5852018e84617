//! `check` as a monitoring system runs it: a line, figures, and an exit code, on every host there is.

use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use super::refusal::{NOBODY, colliding};
use super::{Bench, CaseResult, Context, require};
use crate::host::MapRules;
use crate::scenario::{self, DeadCpus, Kdump};
use crate::tool::{Outcome, command, run_to_end};

/// On real hosts a look takes well under a second; here it is emulated, on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn grades(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    says(&check(&[])?, 0, "LDRSCOPE OK - no VM | ", &["vms=0;"])?;

    let healthy = scenario::flat(8)?;
    says(
        &check(&[])?,
        0,
        "LDRSCOPE OK - 1 VM, nothing broken or slow",
        &["vms=1;", "unseen=0;"],
    )?;

    let collision = colliding()?;
    // Newer KVMs scan for a collision's interrupts: slow, but nobody uses them yet.
    let scans = context.rules == MapRules::ConflictDisables;
    let (code, words, figure) = match scans {
        true => (
            0,
            "LDRSCOPE OK - 2 VMs, no warning, but findings of severity notice",
            "notice=1;",
        ),
        false => (1, "LDRSCOPE WARNING - 1 of 2 VMs: lab-case (pid ", "warning=1;"),
    };
    says(&check(&[])?, code, words, &[figure, "critical=0;", "vms=2;"])?;
    says(
        &check(&["--vm", "no-such-vm"])?,
        3,
        "LDRSCOPE UNKNOWN - error[no-such-vm]: ",
        &[],
    )?;
    drop(collision);
    drop(healthy);

    let mut kdump = Kdump::boot_bigsmp()?;
    kdump.crash(DeadCpus::LeftEnabled)?;
    kdump.arm_timer()?;
    if scans {
        says(
            &check(&[])?,
            1,
            "LDRSCOPE WARNING - 1 of 1 VM: lab-case (pid ",
            &["warning=1;"],
        )?;
    } else {
        says(
            &check(&[])?,
            2,
            "LDRSCOPE CRITICAL - 1 of 1 VM: lab-case (pid ",
            &["critical=1;"],
        )?;
        let elsewhere = check(&["--as-kvm", "conflict-disables"])?;
        says(&elsewhere, 1, "LDRSCOPE WARNING - ", &["critical=0;"])?;
    }
    drop(kdump);
    says(&check(&[])?, 0, "LDRSCOPE OK - no VM | ", &["vms=0;"])
}

pub(super) fn not_root(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut ldrscope = command(&["check"]);
    ldrscope.uid(NOBODY).gid(NOBODY);
    let outcome = run_to_end(ldrscope)?;
    let word = ["not-root", "missing-capability"]
        .into_iter()
        .find(|word| outcome.stdout.contains(&format!("error[{word}]: ")));
    require(word.is_some(), || {
        format!("it should say why it cannot look: {}", outcome.stdout)
    })?;
    says(&outcome, 3, "LDRSCOPE UNKNOWN - error[", &[])
}

pub(super) fn without_kvm(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    says(&check(&[])?, 3, "LDRSCOPE UNKNOWN - error[kvm-not-loaded]: ", &[])
}

fn check(arguments: &[&str]) -> Result<Outcome, super::CaseError> {
    let begun = Instant::now();
    let outcome = run_to_end(command(&[&["check"], arguments].concat()))?;
    let took = begun.elapsed();
    require(took < LIMIT, || format!("check took {took:?}"))?;
    Ok(outcome)
}

/// One line that begins so, holds these figures, and goes with this exit code.
fn says(outcome: &Outcome, code: i32, begin: &str, figures: &[&str]) -> CaseResult {
    let line = outcome.stdout.trim_end();
    let figures_hold = figures.iter().all(|figure| line.contains(&format!(" {figure}")));
    let holds = outcome.status.code() == Some(code)
        && outcome.stdout.lines().count() == 1
        && line.starts_with(begin)
        && figures_hold;
    require(holds, || {
        format!(
            "check should exit {code} with `{begin}...` and {figures:?}; it exits {:?} with `{line}`; stderr: {}",
            outcome.status.code(),
            outcome.stderr
        )
    })
}
