//! ldrscope as a process: how it ends, and how it refuses where it cannot look.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::{Bench, CaseError, CaseResult, Context, require};
use crate::exhibit::{GuestProcess, Kind};
use crate::reap;
use crate::tool::{Outcome, PATIENCE, Watch, command, run_to_end};

pub(super) fn sigterm(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    for signal in [Signal::TERM, Signal::INT] {
        let mut watch = Watch::ready(context.hooks)?;
        watch.signal(signal)?;
        let code = watch.wait_for_exit()?.code();
        watch.require(
            code == Some(0),
            &format!("{signal:?} should end it with exit 0, ends it with {code:?}"),
        )?;
    }
    Ok(())
}

/// The reader of stdout is gone before the first line: a clean end, as with `| head -1`.
pub(super) fn broken_pipe(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let unmet = |what: &str, error: std::io::Error| CaseError::Unmet(format!("{what}: {error}"));
    let _guest = GuestProcess::start(Kind::Collision, 2).map_err(|e| unmet("guest process", e))?;
    let mut child = command(&["watch", "--format", "jsonl", "--hooks", context.hooks.word()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| unmet("cannot start ldrscope", e))?;
    drop(child.stdout.take());
    let status =
        reap::wait_at_most(&mut child, 2 * PATIENCE).map_err(|e| unmet("cannot wait for ldrscope", e))?;
    reap::kill(&mut child);
    let code = status.and_then(|status| status.code());
    require(code == Some(0), || {
        format!("a closed pipe should end it with exit 0, ends it with {status:?}")
    })
}

pub(super) fn not_root(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    const NOBODY: u32 = 65_534;
    let mut ldrscope = command(&["snapshot", "--format", "json"]);
    ldrscope.uid(NOBODY).gid(NOBODY);
    refuses(&run_to_end(ldrscope)?, &["not-root", "missing-capability"])
}

/// Runs ldrscope through `lab-case in-pid-namespace`, whose children live in a pid namespace of their own.
pub(super) fn pid_namespace(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let this =
        std::env::current_exe().map_err(|e| CaseError::Unmet(format!("cannot find this program: {e}")))?;
    let ldrscope = command(&["snapshot", "--format", "json"]);
    let mut wrapped = Command::new(this);
    wrapped
        .arg("in-pid-namespace")
        .arg("--")
        .arg(ldrscope.get_program())
        .args(ldrscope.get_args());
    refuses(&run_to_end(wrapped)?, &["pid-namespace"])
}

/// Exit 3, nothing on stdout, and on stderr one of the cause words with a remedy.
fn refuses(outcome: &Outcome, words: &[&str]) -> CaseResult {
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
