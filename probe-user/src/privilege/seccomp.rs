//! The system calls that a confined process can make.
//!
//! Two filters, of whose answers the kernel takes the harsher. One ends the process at a call that only an attacker makes:
//! nothing in it is called by ldrscope, its runtime or the C library. The other lets through what the steady state needs and
//! answers everything else with `ENOSYS`, as a kernel would that does not have the call yet: a C library or a runtime that
//! tries something new falls back to what it did before, where a kill would take a production daemon down over an update and
//! `EPERM` has no fallback.

mod allowed;
mod deadly;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};
use std::collections::BTreeMap;

use super::{PrivilegeError, Sandbox};

/// How `/proc/PID/status` shows a process with filters.
pub(super) const FILTERED: u32 = 2;

/// The calls that a filter is about; one of the rules must hold for its arguments, if there are any.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// Restricts every thread of this process, which must not gain privileges any more.
pub(super) fn restrict(sandbox: &Sandbox) -> Result<(), PrivilegeError> {
    // The allowed ones last: setting a filter is not among them.
    let filters = [
        compile(deadly::calls()?, SeccompAction::Allow, SeccompAction::KillProcess)?,
        compile(
            allowed::calls(sandbox.terminal)?,
            SeccompAction::Errno(libc::ENOSYS.cast_unsigned()),
            SeccompAction::Allow,
        )?,
    ];
    for filter in filters {
        seccompiler::apply_filter_all_threads(&filter)
            .map_err(|error| PrivilegeError::Seccomp { source: error.into() })?;
    }
    Ok(())
}

fn compile(calls: Calls, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, PrivilegeError> {
    SeccompFilter::new(calls, others, these, TargetArch::x86_64)
        .and_then(BpfProgram::try_from)
        .map_err(unbuilt)
}

fn unbuilt(error: seccompiler::BackendError) -> PrivilegeError {
    PrivilegeError::Seccomp { source: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_fit_the_kernel_s_limit() {
        const LIMIT: usize = 4096;
        let deadly = compile(
            deadly::calls().unwrap(),
            SeccompAction::Allow,
            SeccompAction::KillProcess,
        )
        .unwrap();
        let allowed = compile(
            allowed::calls(true).unwrap(),
            SeccompAction::Errno(1),
            SeccompAction::Allow,
        )
        .unwrap();
        assert!(deadly.len() < LIMIT && allowed.len() < LIMIT);
    }

    #[test]
    fn nothing_is_both_allowed_and_deadly_but_bpf_by_its_command() {
        let (allowed, deadly) = (allowed::calls(true).unwrap(), deadly::calls().unwrap());
        let both: Vec<_> = allowed.keys().filter(|call| deadly.contains_key(call)).collect();
        assert_eq!(both, [&libc::SYS_bpf]);
    }
}
