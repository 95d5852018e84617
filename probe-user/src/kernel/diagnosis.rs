//! `doctor`'s judgement: every fact about the host as one check, with what it costs and the remedy.
//!
//! The facts come from [`super::support`], the obstacles from [`super::preflight`]; this module only adds
//! what degrades without being in the way: [`host`] and [`kvm`], the [`symbols`], the [`rights`] that each step asks for, the
//! [`confinement`] of the process that goes on without them, and the [`traps`] that a unit or container sets. Pure: it is
//! given all it looks at.

mod confinement;
mod host;
mod kvm;
mod rights;
mod symbols;
#[cfg(test)]
mod tests;
mod traps;

use super::{layout::Resolved, obstacle::Obstacle, preflight, support::KernelSupport, symbols::Symbols};
use crate::privilege::Rehearsal;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ok,
    /// The main job runs, something is lost.
    Degraded,
    /// The main job cannot run.
    Blocked,
}

impl State {
    /// The word in doctor's output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Blocked => "blocked",
        }
    }
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it came out.
    pub state: State,
    /// The cause word, where it is blocked.
    pub word: Option<&'static str>,
    /// What was found, and what it costs.
    pub detail: String,
    /// What to do about it, where it is not ok.
    pub remedy: Option<String>,
}

/// What is looked at.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The host.
    pub support: &'a KernelSupport,
    /// Its symbols, `None` where they cannot be read.
    pub symbols: Option<&'a Symbols>,
    /// Its layout, or why there is none.
    pub layout: Result<&'a Resolved, &'a Obstacle>,
    /// Whether a BTF file was named on the command line.
    pub btf_named: bool,
    /// What came of giving up privileges, `None` where it could not be tried.
    pub rehearsal: Option<&'a Rehearsal>,
}

/// Every check: first those of [`preflight::check`] in its order, then what each part of the work asks for.
#[must_use]
pub fn diagnose(facts: &Facts<'_>) -> Vec<Check> {
    let support = facts.support;
    let mut checks = vec![
        judged(
            "kernel",
            preflight::machine(support),
            format!("{} on {}", support.release, support.machine),
        ),
        judged(
            "privileges",
            preflight::privileges(support),
            host::privileges(support),
        ),
        judged(
            "pid-namespace",
            preflight::pid_namespace(support),
            host::initial(support.initial_pid_namespace),
        ),
        judged("lockdown", preflight::lockdown(support), host::lockdown(support)),
        judged(
            "kprobes",
            preflight::kprobes(support),
            "the kernel has them".to_owned(),
        ),
        judged("kvm", preflight::kvm(support), kvm::kvm(support)),
        kvm::kvm_device(facts),
        kvm::types(facts),
    ];
    checks.extend(kvm::layout(facts));
    checks.extend(kvm::routes(facts));
    checks.extend(symbols::symbols(facts));
    checks.push(kvm::hook_set(support));
    checks.extend(symbols::fast_programs(facts));
    checks.extend(rights::rights(facts));
    checks.extend(confinement::confinement(facts));
    checks.extend(traps::traps(support));
    checks.push(host::limits(support));
    checks
}

/// Whether the main job can run.
#[must_use]
pub fn is_able(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.state != State::Blocked)
}

fn ok(name: &str, detail: impl Into<String>) -> Check {
    Check {
        name: name.to_owned(),
        state: State::Ok,
        word: None,
        detail: detail.into(),
        remedy: None,
    }
}

fn degraded(name: &str, detail: impl Into<String>, remedy: &str) -> Check {
    Check {
        state: State::Degraded,
        remedy: Some(remedy.to_owned()),
        ..ok(name, detail)
    }
}

fn blocked(name: &str, obstacle: &Obstacle) -> Check {
    Check {
        state: State::Blocked,
        word: Some(obstacle.word()),
        remedy: Some(obstacle.remedy().to_owned()),
        ..ok(name, obstacle.to_string())
    }
}

fn judged(name: &str, verdict: Result<(), Obstacle>, detail: String) -> Check {
    match verdict {
        Ok(()) => ok(name, detail),
        Err(obstacle) => blocked(name, &obstacle),
    }
}
