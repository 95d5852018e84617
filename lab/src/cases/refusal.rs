//! Where ldrscope cannot look it says so, by exit status 3 and one cause word, and shows nothing. Each case needs a
//! machine or a process that stands in its way; `table` says which.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use super::{Bench, CaseError, CaseResult, Context, require};
use crate::guest::Guest;
use crate::guest::lapic::{ApicReg, DFR_FLAT, SVR_ENABLED, ldr};
use crate::host::MapRules;
use crate::tool::{Outcome, PATIENCE, Standing, Watch, command, run_to_end};

/// The kvm module's types of a 6.1 and of a 6.12 kernel, as another kernel's file.
const TYPES_6_1: &[u8] = include_bytes!("../../../probe-user/fixtures/btf/6.1.kvm.btf");
const TYPES_6_12: &[u8] = include_bytes!("../../../probe-user/fixtures/btf/6.12.kvm.btf");

/// A user without any privilege.
pub(super) const NOBODY: u32 = 65_534;

fn snapshot() -> Command {
    command(&["snapshot", "--format", "json"])
}

pub(super) fn not_root(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut ldrscope = snapshot();
    ldrscope.uid(NOBODY).gid(NOBODY);
    refuses(&run_to_end(ldrscope)?, &["not-root", "missing-capability"])
}

/// Runs ldrscope through `lab-case in-pid-namespace`, whose children live in a pid namespace of their own.
pub(super) fn pid_namespace(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let this =
        std::env::current_exe().map_err(|e| CaseError::Unmet(format!("cannot find this program: {e}")))?;
    let ldrscope = snapshot();
    let mut wrapped = Command::new(this);
    wrapped
        .arg("in-pid-namespace")
        .arg("--")
        .arg(ldrscope.get_program())
        .args(ldrscope.get_args());
    refuses(&run_to_end(wrapped)?, &["pid-namespace"])
}

/// Types of another kernel's module must never be read by: a wrong offset would be a wrong answer.
pub(super) fn foreign_types(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let types = match context.rules {
        MapRules::KeepDisabled | MapRules::Overwrite => TYPES_6_12,
        MapRules::ConflictDisables => TYPES_6_1,
    };
    let path = std::env::temp_dir().join("foreign.kvm.btf");
    std::fs::write(&path, types)
        .map_err(|e| CaseError::Unmet(format!("cannot write {}: {e}", path.display())))?;
    let mut ldrscope = snapshot();
    ldrscope.arg("--btf").arg(&path);
    refuses(&run_to_end(ldrscope)?, &["unknown-layout"])
}

pub(super) fn lockdown(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    refuses(&run_to_end(snapshot())?, &["lockdown"])
}

/// Refused while the module is not there; with `--wait`, begun once it is.
pub(super) fn kvm_not_loaded(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    refuses(&run_to_end(snapshot())?, &["kvm-not-loaded"])?;

    const DURATION: &str = "10s";
    let mut watch = Watch::start(context.hooks, &["--wait", "--duration", DURATION])?;
    watch.assert_silent_for(Duration::from_secs(1))?;
    let loaded = run_to_end({
        let mut modprobe = Command::new("modprobe");
        modprobe.arg("kvm-amd");
        modprobe
    })?;
    require(loaded.status.success(), || {
        format!("modprobe kvm-amd should succeed; stderr: {}", loaded.stderr)
    })?;
    let guest = colliding()?;
    watch.wait_for(
        "a collision is raised after kvm was loaded",
        PATIENCE,
        |standing| !standing.is_empty(),
    )?;
    drop(guest);
    watch.wait_for("the collision is cleared", PATIENCE, Standing::is_empty)?;
    let code = watch.wait_for_exit()?.code();
    watch.require(
        code == Some(0),
        &format!("`--duration {DURATION}` should end it with exit 0, ends it with {code:?}"),
    )?;
    Ok(())
}

pub(super) fn colliding() -> Result<Guest, CaseError> {
    let guest = Guest::with_vcpus(2)?;
    for id in 0..2 {
        let registers = [
            (ApicReg::Dfr, DFR_FLAT),
            (ApicReg::Ldr, ldr(1)),
            (ApicReg::Svr, SVR_ENABLED),
        ];
        guest.edit_lapic(id, &registers)?;
    }
    Ok(guest)
}

/// Exit 3, nothing on stdout, and on stderr one of the cause words with a remedy.
pub(super) fn refuses(outcome: &Outcome, words: &[&str]) -> CaseResult {
    let code = outcome.status.code();
    require(code == Some(3), || {
        format!("it should exit 3, exits {code:?}; stderr: {}", outcome.stderr)
    })?;
    require(outcome.stdout.is_empty(), || {
        format!("stdout should be empty, is {}", outcome.stdout)
    })?;
    let named = words
        .iter()
        .any(|word| outcome.stderr.contains(&format!("error[{word}]: ")));
    require(named, || {
        format!("stderr should name one of {words:?}, is: {}", outcome.stderr)
    })
}
