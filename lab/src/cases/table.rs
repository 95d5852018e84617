//! Which cases there are, and which machines each of them runs on: the one list that `lab-case` runs by and `cargo xtask
//! test` boots by. What a case does is in the files by subject, what a machine is in `machine`.

mod entry;

use lab_protocol::{Boot, Journey, Leg, Scale};

use self::entry::{Entry, Under};

use super::machine::{
    AVIC, HARASSED, HOME, KVM_OF_2019, Kernels, LINUX, LOCKED_DOWN, MACHINES, MIGRATION, Machine, ORDINARY,
    SOURCE, SYSTEMD, TARGET, TWO_CPUS, WITHOUT_KVM,
};
use super::{
    Bench, CaseError, Context, RunCase, alert, as_kvm, attribution, avic, check, deliver, effects, evidence,
    faults, fleet, ids, journald, kdump, keep_disabled, linux, many, migration, naming, old, oracle, process,
    quiet, recording, refusal, rights, routes, rules, scale, service, top,
};
use crate::host::{MapRules, Series};
use crate::tool::Hooks;

/// Kernels between which what AVIC's bookkeeping is made of differs: how reasons are kept, and what moves them.
const WITH_AVIC: &[Series] = &[Series::V6_1, Series::V6_12, Series::V7_3];

/// Of cases about ldrscope's own outputs and limits, to which one kernel is like another.
const OUTPUTS: &[Series] = &[Series::V6_1];

/// Kernels between which privileges and confinement differ: bpf(2) asks for CAP_BPF in any case, then only to load; landlock
/// is not there, is, and has all that is used.
const RIGHTS: &[Series] = &[Series::V5_10, Series::V6_1, Series::V7_3];

const TABLE: &[Entry] = &[
    // These share a `watch`.
    Entry::both("scenario-enabled", kdump::left_enabled).on(&[&ORDINARY, &KVM_OF_2019]),
    Entry::both("scenario-disabled", kdump::disabled).on(&[&ORDINARY, &KVM_OF_2019]),
    Entry::both("clean-flat-8", quiet::flat_8).on(&[&ORDINARY, &TWO_CPUS, &KVM_OF_2019]),
    Entry::both("clean-x2apic", quiet::x2apic),
    Entry::both("clean-physflat", quiet::physical_flat),
    Entry::both("restore-quiet", quiet::restore).on(&[&ORDINARY, &TWO_CPUS, &KVM_OF_2019]),
    Entry::both("cluster", rules::cluster),
    Entry::both("hw-disabled", rules::hardware_disabled).on(&[&ORDINARY, &KVM_OF_2019]),
    Entry::both("mode-mixed", rules::mode_mixed),
    Entry::both("dfr-invalid", rules::dfr_invalid),
    Entry::both("slot-taken-again", keep_disabled::slot_taken_again).on(&[&ORDINARY, &KVM_OF_2019]),
    Entry::both("multi-bit", rules::multi_bit).on(&[&ORDINARY, &KVM_OF_2019]),
    Entry::both("ldr-unset", rules::ldr_unset),
    Entry::both("map-disabled", rules::map_disabled).only(MapRules::ConflictDisables),
    Entry::both("physical-alias", ids::physical_alias),
    Entry::both("x2apic-id-mismatch", ids::x2apic_mismatch).only(MapRules::Overwrite),
    Entry::both("avic-logical-alias", avic::logical_alias)
        .tested_on(WITH_AVIC)
        .only(MapRules::ConflictDisables)
        .on(&[&AVIC]),
    Entry::both("avic-changed-id", avic::changed_id)
        .tested_on(WITH_AVIC)
        .on(&[&AVIC]),
    Entry::both("avic-moved-base", avic::moved_base)
        .tested_on(WITH_AVIC)
        .on(&[&AVIC]),
    Entry::both("msi-route", routes::aimed),
    Entry::both("msi-route-split", routes::aimed_past_split_irqchip),
    Entry::both("set-lapic", attribution::set_lapic).on(&[&ORDINARY, &TWO_CPUS, &KVM_OF_2019]),
    Entry::both("init-route", attribution::init).on(&[&ORDINARY, &KVM_OF_2019]),
    Entry::both("reset-cause", attribution::reset).only(MapRules::ConflictDisables),
    Entry::both("apic-base-cause", attribution::apic_base),
    Entry::both("guest-write-cause", attribution::guest_write).on(&[&ORDINARY, &TWO_CPUS]),
    Entry::both("creation-order", many::creation_order),
    Entry::both("sigkill", many::sigkill).on(&[&ORDINARY, &TWO_CPUS]),
    Entry::both("canary-hidden", quiet::canary_hidden).on(&[&ORDINARY, &KVM_OF_2019]),
    // These start and end their own.
    Entry::both("older-vm", many::older_vm).on(&[&ORDINARY, &KVM_OF_2019]),
    Entry::both("two-vms", many::two_vms),
    Entry::both("recording", recording::replays)
        .tested_on(&[Series::V6_1, Series::V7_3])
        .on(&[&ORDINARY, &KVM_OF_2019]),
    Entry::once("record", recording::record).only_on(Series::V6_12),
    // What it may do confined differs by kernel, what it shows by map rules.
    Entry::once("top", top::of_2019).tested_on(&[Series::V6_1, Series::V7_3]),
    Entry::both("broken-pipe", process::broken_pipe),
    Entry::both("sigterm", process::sigterm),
    Entry::once("avic-auto", avic::auto)
        .tested_on(WITH_AVIC)
        .on(&[&AVIC]),
    Entry::once("deliver", deliver::against_irrs),
    Entry::once("deliver-unobservable", deliver::unobservable),
    Entry::once("as-kvm", as_kvm::before_migration).tested_on(&[Series::V6_1, Series::V6_12]),
    Entry::once("as-kvm-2019", keep_disabled::foretold).tested_on(&[Series::V6_1, Series::V6_12]),
    Entry::once("effects", effects::of_random_states).on(&[&ORDINARY, &KVM_OF_2019]),
    Entry::once("oracle", oracle::random_states).on(&[&ORDINARY, &KVM_OF_2019]),
    Entry::once("oracle-finds-a-fault", oracle::finds_a_fault).only_on(Series::V6_12),
    Entry::once("large-288", many::large_288),
    Entry::once("large-1024", many::large_1024).only(MapRules::ConflictDisables),
    Entry::once("boot-288", scale::boot_288).only_on(Series::V5_10),
    Entry::both("boot-1024", scale::boot_1024).tested_on(&[Series::V6_1, Series::V7_3]),
    Entry::once("event-among-many", scale::event_among_many).only_on(Series::V6_12),
    Entry::once("evidence", evidence::evidence).tested_on(&[
        Series::V5_10,
        Series::V6_1,
        Series::V6_12,
        Series::V7_3,
    ]),
    Entry::once("no-vm", quiet::no_vm),
    Entry::once("check", check::grades)
        .tested_on(RIGHTS)
        .on(&[&ORDINARY, &KVM_OF_2019]),
    Entry::once("check-not-root", check::not_root),
    Entry::once("check-without-kvm", check::without_kvm).on(&[&WITHOUT_KVM]),
    Entry::once("names-of-managers", naming::managers).only_on(Series::V6_12),
    Entry::once("hostile-vmm-names", naming::hostile).only_on(Series::V6_12),
    Entry::once("not-root", refusal::not_root),
    Entry::once("rights-none", rights::none).tested_on(RIGHTS),
    Entry::once("rights-of-the-unit", rights::of_the_unit).tested_on(RIGHTS),
    Entry::once("rights-bpf-perfmon", rights::bpf_and_perfmon).tested_on(RIGHTS),
    Entry::once("rights-addresses", rights::addresses).tested_on(RIGHTS),
    Entry::once("rights-traps", rights::traps).tested_on(RIGHTS),
    Entry::once("pid-namespace", refusal::pid_namespace),
    Entry::once("foreign-types", refusal::foreign_types),
    Entry::once("debug-data-types", old::debug_data_types).only_on(Series::V5_10),
    Entry::once("unproven-build", old::unproven_build).only_on(Series::V5_10),
    Entry::once("types-without-lapic", old::types_without_lapic).only_on(Series::V5_10),
    Entry::once("kvm-not-loaded", refusal::kvm_not_loaded).on(&[&WITHOUT_KVM]),
    Entry::once("lockdown", refusal::lockdown).on(&[&LOCKED_DOWN]),
    // What must be survived.
    Entry::both("overflow", faults::overflow::stopped_reader)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("storm", faults::storm::all_vcpus)
        .more_in_soak()
        .on(&[&HARASSED, &TWO_CPUS]),
    Entry::once("flapping", faults::storm::flapping)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("restore-storm", faults::storm::restores)
        .more_in_soak()
        .on(&[&HARASSED, &TWO_CPUS]),
    Entry::once("churn-4", faults::churn::small)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("churn-64", faults::churn::large)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("vcpu-parked", faults::vcpus::parked).on(&[&HARASSED]),
    Entry::once("guest-panic", faults::vcpus::panicked).on(&[&HARASSED]),
    Entry::once("vmm-killed", faults::killed::vmm)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("ldrscope-killed", faults::killed::ldrscope)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("one-of-two-killed", faults::killed::one_of_two).on(&[&HARASSED]),
    Entry::once("ends-in-order", faults::ends::in_order).on(&[&HARASSED]),
    Entry::once("disk-full", faults::ends::disk_full)
        .tested_on(OUTPUTS)
        .on(&[&HARASSED]),
    Entry::once("few-descriptors", faults::ends::few_descriptors)
        .tested_on(OUTPUTS)
        .on(&[&HARASSED]),
    Entry::once("out-of-memory", faults::ends::out_of_memory)
        .tested_on(OUTPUTS)
        .on(&[&HARASSED]),
    Entry::once("locked-memory", faults::ends::locked_memory).only_on(Series::V5_10),
    Entry::once("hostile-names", faults::names::hostile)
        .tested_on(OUTPUTS)
        .on(&[&HARASSED]),
    Entry::once("pid-reuse", faults::names::reused_pids)
        .tested_on(OUTPUTS)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("clock-steps", faults::host::clock_steps).on(&[&HARASSED]),
    Entry::once("freeze", faults::host::freeze).on(&[&HARASSED]),
    Entry::once("cpu-off-and-on", faults::host::cpu_off_and_on).on(&[&TWO_CPUS]),
    Entry::once("kvm-reload", faults::reload::again)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("daemon-unprivileged", faults::daemon::unprivileged)
        .tested_on(OUTPUTS)
        .on(&[&HARASSED]),
    Entry::once("daemon-killed", faults::daemon::killed)
        .tested_on(OUTPUTS)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("daemon-port-taken", faults::daemon::port_taken)
        .tested_on(OUTPUTS)
        .on(&[&HARASSED]),
    Entry::once("daemon-memory", faults::daemon::memory).on(&[&HARASSED]),
    Entry::once("daemon-reload", faults::daemon::reload)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("daemon-besieged", faults::flood::besieged)
        .tested_on(OUTPUTS)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("daemon-rate-limit", faults::outputs::rate_limited)
        .tested_on(OUTPUTS)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("daemon-disk-full", faults::outputs::disk_full)
        .tested_on(OUTPUTS)
        .on(&[&HARASSED]),
    Entry::once("daemon-rotation", faults::outputs::rotated)
        .tested_on(OUTPUTS)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("daemon-snapshots", faults::outputs::snapshots)
        .tested_on(OUTPUTS)
        .more_in_soak()
        .on(&[&HARASSED]),
    Entry::once("kvm-changed", faults::reload::another_build).on(&[&KVM_OF_2019]),
    Entry::once("journal-reads-back", fleet::journal_reads_back)
        .tested_on(OUTPUTS)
        .on(&[&SYSTEMD]),
    Entry::once("prometheus-fires", fleet::prometheus_fires)
        .tested_on(OUTPUTS)
        .on(&[&SYSTEMD]),
    Entry::once("unit-sufficient", service::sufficient).on(&[&SYSTEMD]),
    Entry::once("unit-exact", service::traps::exact).on(&[&SYSTEMD]),
    Entry::once("unit-kept-alive", service::life::kept_alive).on(&[&SYSTEMD]),
    Entry::once("unit-reload", service::life::reloads).on(&[&SYSTEMD]),
    Entry::once("unit-waits-for-kvm", service::life::waits_for_kvm).on(&[&SYSTEMD]),
    Entry::once("prometheus-alert", alert::of_2019)
        .tested_on(OUTPUTS)
        .on(&[&SYSTEMD]),
    Entry::once("journald-stopped", journald::stopped)
        .tested_on(OUTPUTS)
        .on(&[&SYSTEMD]),
    Entry::once("journald-not-reading", journald::not_reading)
        .tested_on(OUTPUTS)
        .on(&[&SYSTEMD]),
    Entry::once("linux-physical-flat", linux::physical_flat)
        .soak_only()
        .on(&[&LINUX]),
    Entry::once("linux-x2apic", linux::x2apic)
        .soak_only()
        .on(&[&LINUX]),
    Entry::once("linux-flat", linux::flat)
        .more_in_soak()
        .tested_on(&[Series::V6_1, Series::V7_3])
        .on(&[&LINUX]),
    // Each needs what the one before it left.
    Entry::once("depart", migration::depart).on(&[&SOURCE]),
    Entry::once("relay", migration::relay).on(&[&TARGET]),
    Entry::once("come-home", migration::come_home).on(&[&HOME]),
    Entry::once("as-written", migration::as_written).on(&[&SOURCE]),
    Entry::once("foretells-a-change", migration::foretells_a_change).on(&[&SOURCE, &TARGET]),
    Entry::once("as-foretold", migration::as_foretold).on(&[&TARGET, &HOME]),
    Entry::once("as-at-first", migration::as_at_first).on(&[&HOME]),
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

/// The boots that the cases of a kernel need at `scale`, the plain one first.
pub fn boots_for(series: Series, scale: Scale) -> Vec<Boot> {
    MACHINES
        .iter()
        .map(|machine| boot(machine, series, scale))
        .filter(|boot| !boot.cases.is_empty())
        .collect()
}

/// The journeys between kernels.
pub fn journeys() -> Vec<Journey> {
    let leg = |machine: &&Machine| match machine.kernels {
        Kernels::Only(series) => Some(Leg {
            kernel: series.to_string(),
            boot: boot(machine, series, Scale::Test),
        }),
        Kernels::All | Kernels::From(_) | Kernels::Both(_) => None,
    };
    vec![Journey {
        name: "migration".to_owned(),
        legs: MIGRATION.iter().filter_map(leg).collect(),
    }]
}

/// The cases that a kernel must run at `scale` in the boot called `boot`, in order; none if it has no such boot.
pub fn cases_for(series: Series, boot: &str, scale: Scale) -> Vec<Case> {
    MACHINES
        .iter()
        .chain(&MIGRATION)
        .filter(|machine| machine.name == boot)
        .flat_map(|machine| cases_of(machine, series, scale))
        .collect()
}

/// Every case that a kernel can run at `scale`, in whatever boot.
pub fn cases_on(series: Series, scale: Scale) -> Vec<Case> {
    MACHINES
        .iter()
        .chain(&MIGRATION)
        .flat_map(|machine| cases_of(machine, series, scale))
        .collect()
}

fn boot(machine: &Machine, series: Series, scale: Scale) -> Boot {
    machine.boot(
        cases_of(machine, series, scale)
            .into_iter()
            .map(|case| case.name)
            .collect(),
    )
}

/// Grouped by hook set, so that cases can share a `watch`.
fn cases_of(machine: &Machine, series: Series, scale: Scale) -> Vec<Case> {
    let rules = MapRules::of(series, machine.kvm_build);
    let entries = || {
        TABLE
            .iter()
            .filter(|_| machine.exists_on(series))
            .filter(|entry| entry.machines.contains(&machine))
            .filter(move |entry| entry.is_run_at(scale, series))
            .filter(move |entry| entry.only.is_none_or(|only| only == rules))
            .filter(move |entry| entry.only_on.is_none_or(|only| only == series))
    };
    let under = |hooks: Hooks| {
        entries()
            .filter(|entry| entry.under == Under::BothHookSets)
            .map(move |entry| Case {
                name: format!("{}/{}", entry.name, hooks.word()),
                context: Context { hooks, rules, scale },
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
                scale,
            },
            run: entry.run,
        });
    under(Hooks::Cold)
        .chain(under(Hooks::Precise))
        .chain(once)
        .collect()
}

#[cfg(test)]
mod tests;
