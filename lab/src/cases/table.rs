//! Which cases there are, and which machine each of them needs: the one list that `lab-case` runs by and `cargo xtask
//! test` boots by. What a case does is in the files by subject.

use lab_protocol::{Boot, boot::PLAIN};

use super::{
    Bench, CaseError, Context, RunCase, agreement, attribution, kdump, many, old, oracle, process, quiet,
    refusal, routes, rules,
};
use crate::host::{MapRules, Series};
use crate::tool::Hooks;

/// A machine that cases run on.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    name: &'static str,
    kernels: Kernels,
    cpus: u8,
    kvm_loaded: bool,
    kernel_arguments: &'static str,
}

/// The kernels of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernels {
    /// Every one of the matrix.
    All,
    /// This series alone: the machine is about something that does not differ between kernels, or is this kernel.
    Only(Series),
}

const ORDINARY: Machine = Machine {
    name: PLAIN,
    kernels: Kernels::All,
    cpus: 1,
    kvm_loaded: true,
    kernel_arguments: "",
};

/// Two CPUs: hooks run beside the reader, not only before or after it. Guests' timing is unreliable there (one thread
/// emulates both), so that only cases without deadlines of the guest's own run on it.
const TWO_CPUS: Machine = Machine {
    name: "x2",
    kernels: Kernels::Only(Series::V6_12),
    cpus: 2,
    ..ORDINARY
};

const WITHOUT_KVM: Machine = Machine {
    name: "no-kvm",
    kernels: Kernels::Only(Series::V6_12),
    kvm_loaded: false,
    ..ORDINARY
};

const LOCKED_DOWN: Machine = Machine {
    name: "lockdown",
    kernels: Kernels::Only(Series::V6_1),
    kernel_arguments: "lockdown=confidentiality",
    ..ORDINARY
};

const MACHINES: [&Machine; 4] = [&ORDINARY, &TWO_CPUS, &WITHOUT_KVM, &LOCKED_DOWN];

impl Machine {
    fn exists_on(&self, series: Series) -> bool {
        match self.kernels {
            Kernels::All => true,
            Kernels::Only(only) => series == only,
        }
    }
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
    /// Only on this kernel; `None` is on all of the machines'.
    only_on: Option<Series>,
    machines: &'static [&'static Machine],
    run: RunCase,
}

impl Entry {
    const fn both(name: &'static str, run: RunCase) -> Self {
        Self {
            name,
            under: Under::BothHookSets,
            only: None,
            only_on: None,
            machines: &[&ORDINARY],
            run,
        }
    }

    const fn once(name: &'static str, run: RunCase) -> Self {
        Self {
            under: Under::OneRun,
            ..Self::both(name, run)
        }
    }

    const fn only(self, rules: MapRules) -> Self {
        Self {
            only: Some(rules),
            ..self
        }
    }

    const fn only_on(self, series: Series) -> Self {
        Self {
            only_on: Some(series),
            ..self
        }
    }

    const fn on(self, machines: &'static [&'static Machine]) -> Self {
        Self { machines, ..self }
    }
}

const TABLE: &[Entry] = &[
    // These share a `watch`.
    Entry::both("scenario-enabled", kdump::left_enabled),
    Entry::both("scenario-disabled", kdump::disabled),
    Entry::both("clean-flat-8", quiet::flat_8).on(&[&ORDINARY, &TWO_CPUS]),
    Entry::both("clean-x2apic", quiet::x2apic),
    Entry::both("clean-physflat", quiet::physical_flat),
    Entry::both("restore-quiet", quiet::restore).on(&[&ORDINARY, &TWO_CPUS]),
    Entry::both("cluster", rules::cluster),
    Entry::both("hw-disabled", rules::hardware_disabled),
    Entry::both("mode-mixed", rules::mode_mixed),
    Entry::both("dfr-invalid", rules::dfr_invalid),
    Entry::both("multi-bit", rules::multi_bit),
    Entry::both("ldr-unset", rules::ldr_unset),
    Entry::both("map-disabled", rules::map_disabled).only(MapRules::ConflictDisables),
    Entry::both("msi-route", routes::aimed),
    Entry::both("msi-route-split", routes::aimed_past_split_irqchip),
    Entry::both("set-lapic", attribution::set_lapic).on(&[&ORDINARY, &TWO_CPUS]),
    Entry::both("init-route", attribution::init),
    Entry::both("reset-cause", attribution::reset).only(MapRules::ConflictDisables),
    Entry::both("apic-base-cause", attribution::apic_base),
    Entry::both("guest-write-cause", attribution::guest_write).on(&[&ORDINARY, &TWO_CPUS]),
    Entry::both("creation-order", many::creation_order),
    Entry::both("sigkill", many::sigkill).on(&[&ORDINARY, &TWO_CPUS]),
    Entry::both("canary-hidden", quiet::canary_hidden),
    // These start and end their own.
    Entry::both("older-vm", many::older_vm),
    Entry::both("two-vms", many::two_vms),
    Entry::both("broken-pipe", process::broken_pipe),
    Entry::both("sigterm", process::sigterm),
    Entry::once("map-agrees", agreement::random_states),
    Entry::once("oracle", oracle::random_states),
    Entry::once("oracle-finds-a-fault", oracle::finds_a_fault),
    Entry::once("large-288", many::large_288),
    Entry::once("large-1024", many::large_1024).only(MapRules::ConflictDisables),
    Entry::once("no-vm", quiet::no_vm),
    Entry::once("not-root", refusal::not_root),
    Entry::once("pid-namespace", refusal::pid_namespace),
    Entry::once("foreign-types", refusal::foreign_types),
    Entry::once("debug-data-types", old::debug_data_types).only_on(Series::V5_10),
    Entry::once("unproven-build", old::unproven_build).only_on(Series::V5_10),
    Entry::once("types-without-lapic", old::types_without_lapic).only_on(Series::V5_10),
    Entry::once("kvm-not-loaded", refusal::kvm_not_loaded).on(&[&WITHOUT_KVM]),
    Entry::once("lockdown", refusal::lockdown).on(&[&LOCKED_DOWN]),
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

/// The boots that the cases of a kernel need, the plain one first.
pub fn boots_for(series: Series) -> Vec<Boot> {
    MACHINES
        .iter()
        .map(|machine| Boot {
            name: machine.name.to_owned(),
            cpus: machine.cpus,
            kvm_loaded: machine.kvm_loaded,
            kernel_arguments: machine.kernel_arguments.to_owned(),
            cases: cases_of(machine, series)
                .into_iter()
                .map(|case| case.name)
                .collect(),
        })
        .filter(|boot| !boot.cases.is_empty())
        .collect()
}

/// The cases that a kernel must run in the boot called `boot`, in order; none if it has no such boot.
pub fn cases_for(series: Series, boot: &str) -> Vec<Case> {
    MACHINES
        .iter()
        .filter(|machine| machine.name == boot)
        .flat_map(|machine| cases_of(machine, series))
        .collect()
}

/// Grouped by hook set, so that cases can share a `watch`.
fn cases_of(machine: &Machine, series: Series) -> Vec<Case> {
    let rules = series.map_rules();
    let entries = || {
        TABLE
            .iter()
            .filter(|_| machine.exists_on(series))
            .filter(|entry| entry.machines.contains(&machine))
            .filter(move |entry| entry.only.is_none_or(|only| only == rules))
            .filter(move |entry| entry.only_on.is_none_or(|only| only == series))
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

    use lab_protocol::boot::PLAIN;

    use super::{MACHINES, TABLE, boots_for, cases_for};
    use crate::host::Series;

    const ALL: [Series; 5] = [
        Series::V5_10,
        Series::V6_1,
        Series::V6_12,
        Series { major: 6, minor: 18 },
        Series { major: 7, minor: 3 },
    ];

    #[test]
    fn names_are_one_word_and_unique_in_their_boot() {
        for boot in ALL.into_iter().flat_map(boots_for) {
            let names: BTreeSet<_> = boot.cases.iter().collect();
            assert_eq!(names.len(), boot.cases.len());
            assert!(
                names
                    .iter()
                    .chain([&&boot.name])
                    .all(|name| !name.contains(char::is_whitespace))
            );
        }
    }

    #[test]
    fn every_case_runs_somewhere() {
        let run: BTreeSet<_> = ALL
            .into_iter()
            .flat_map(boots_for)
            .flat_map(|boot| boot.cases)
            .collect();
        for entry in TABLE {
            assert!(
                run.iter().any(|name| name.split('/').next() == Some(entry.name)),
                "{}",
                entry.name
            );
        }
        let names: BTreeSet<_> = MACHINES.iter().map(|machine| machine.name).collect();
        assert_eq!(names.len(), MACHINES.len());
    }

    #[test]
    fn newer_kernels_run_more_and_the_oldest_all_that_6_1_does() {
        let names = |series| -> BTreeSet<_> {
            let cases = cases_for(series, PLAIN).into_iter();
            cases.map(|case| case.name).collect()
        };
        assert!(names(Series::V6_12).len() > names(Series::V6_1).len());
        assert!(names(Series::V5_10).is_superset(&names(Series::V6_1)));
    }
}
