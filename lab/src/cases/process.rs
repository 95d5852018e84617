//! ldrscope as a process: how it ends. How it refuses where it cannot look is in `refusal`.

use std::process::Stdio;

use rustix::process::Signal;

use super::{Bench, CaseError, CaseResult, Context, require};
use crate::exhibit::{GuestProcess, Kind};
use crate::reap;
use crate::tool::{PATIENCE, Watch, command};

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
