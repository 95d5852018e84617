//! The cases: each starts guests and ldrscope, and holds what ldrscope says against what the guests did. One
//! table says which there are; a file groups cases by subject. Running them in order, timing them and reporting
//! is for `suite`.

mod agreement;
mod attribution;
mod bench;
mod expect;
mod kdump;
mod many;
mod process;
mod quiet;
mod rules;

use crate::guest::GuestError;
use crate::host::MapRules;
use crate::tool::{Hooks, ToolError};

pub use bench::Bench;

/// Why a case failed. The first line of the message is the reason, the rest the transcript.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The guest did.
    #[error("guest: {0}")]
    Guest(#[from] GuestError),
    /// ldrscope did, or did not do what was expected.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// An expectation beside the event stream was not met.
    #[error("{0}")]
    Unmet(String),
}

type CaseResult = Result<(), CaseError>;
type RunCase = fn(&Context, &mut Bench) -> CaseResult;

/// `Ok` if `holds`, else a failure that says `what` should have been.
fn require(holds: bool, what: impl FnOnce() -> String) -> CaseResult {
    if holds {
        Ok(())
    } else {
        Err(CaseError::Unmet(what()))
    }
}

/// What a case may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The hook set that `watch` is to use.
    pub hooks: Hooks,
    /// How this host's KVM builds its map.
    pub rules: MapRules,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    /// Both hook sets, as two cases `NAME/cold` and `NAME/precise`.
    BothHookSets,
    /// Does not depend on hooks: one case `NAME`.
    OneRun,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    name: &'static str,
    under: Under,
    /// Only where KVM builds its map by these rules; `None` is everywhere.
    only: Option<MapRules>,
    run: RunCase,
}

impl Entry {
    const fn both(name: &'static str, run: RunCase) -> Self {
        Self {
            name,
            under: Under::BothHookSets,
            only: None,
            run,
        }
    }

    const fn once(name: &'static str, run: RunCase) -> Self {
        Self {
            name,
            under: Under::OneRun,
            only: None,
            run,
        }
    }

    const fn only(self, rules: MapRules) -> Self {
        Self {
            only: Some(rules),
            ..self
        }
    }
}

const TABLE: &[Entry] = &[
    // These share a `watch`.
    Entry::both("scenario-enabled", kdump::left_enabled),
    Entry::both("scenario-disabled", kdump::disabled),
    Entry::both("clean-flat-8", quiet::flat_8),
    Entry::both("clean-x2apic", quiet::x2apic),
    Entry::both("clean-physflat", quiet::physical_flat),
    Entry::both("restore-quiet", quiet::restore),
    Entry::both("cluster", rules::cluster),
    Entry::both("hw-disabled", rules::hardware_disabled),
    Entry::both("mode-mixed", rules::mode_mixed),
    Entry::both("dfr-invalid", rules::dfr_invalid),
    Entry::both("multi-bit", rules::multi_bit),
    Entry::both("ldr-unset", rules::ldr_unset),
    Entry::both("map-disabled", rules::map_disabled).only(MapRules::ConflictDisables),
    Entry::both("set-lapic", attribution::set_lapic),
    Entry::both("init-route", attribution::init),
    Entry::both("guest-write-cause", attribution::guest_write),
    Entry::both("creation-order", many::creation_order),
    Entry::both("sigkill", many::sigkill),
    Entry::both("canary-hidden", quiet::canary_hidden),
    // These start and end their own.
    Entry::both("older-vm", many::older_vm),
    Entry::both("two-vms", many::two_vms),
    Entry::both("broken-pipe", process::broken_pipe),
    Entry::both("sigterm", process::sigterm),
    Entry::once("map-agrees", agreement::random_states),
    Entry::once("large-300", many::large_300),
    Entry::once("large-1024", many::large_1024).only(MapRules::ConflictDisables),
    Entry::once("no-vm", quiet::no_vm),
    Entry::once("not-root", process::not_root),
    Entry::once("pid-namespace", process::pid_namespace),
];

/// One case, ready to run.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its full name, such as `cluster/cold`.
    pub name: String,
    context: Context,
    run: RunCase,
}

impl Case {
    /// Runs it on this host.
    pub fn run(&self, bench: &mut Bench) -> Result<(), CaseError> {
        let outcome = (self.run)(&self.context, bench).and_then(|()| Ok(bench.finish_case()?));
        if outcome.is_err() {
            bench.clear();
        }
        outcome
    }
}

/// The cases that a host with these rules must run, in order: grouped by hook set, so that they can share a `watch`.
pub fn cases_for(rules: MapRules) -> Vec<Case> {
    let entries = || {
        TABLE
            .iter()
            .filter(move |entry| entry.only.is_none_or(|only| only == rules))
    };
    let under = |hooks: Hooks| {
        entries()
            .filter(|entry| entry.under == Under::BothHookSets)
            .map(move |entry| Case {
                name: format!("{}/{}", entry.name, hooks.word()),
                context: Context { hooks, rules },
                run: entry.run,
            })
    };
    let once = entries()
        .filter(|entry| entry.under == Under::OneRun)
        .map(|entry| Case {
            name: entry.name.to_owned(),
            context: Context {
                hooks: Hooks::Cold,
                rules,
            },
            run: entry.run,
        });
    under(Hooks::Cold)
        .chain(under(Hooks::Precise))
        .chain(once)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::cases_for;
    use crate::host::MapRules;

    #[test]
    fn names_are_unique_and_one_word() {
        for rules in [MapRules::Overwrite, MapRules::ConflictDisables] {
            let cases = cases_for(rules);
            let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
            assert_eq!(names.len(), cases.len());
            assert!(names.iter().all(|name| !name.contains(char::is_whitespace)));
        }
    }

    #[test]
    fn newer_kernels_run_more() {
        assert!(cases_for(MapRules::ConflictDisables).len() > cases_for(MapRules::Overwrite).len());
    }
}
