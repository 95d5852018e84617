//! Which checks complain of which host.

use super::*;
use crate::{
    kernel::support::Capabilities,
    kernel::{
        hook::HOOKS,
        support::{Device, Kvm},
    },
    privilege::{Failure, FileAccess},
};

/// The addresses of everything that ldrscope looks for, as far as `keep` lets it through.
fn symbols(keep: impl Fn(&str) -> bool) -> Symbols {
    let functions = HOOKS.iter().flat_map(|hook| hook.functions);
    let mut listing: String = functions
        .filter(|name| keep(name))
        .map(|name| format!("ffffffffc0000000 t {name}\t[kvm]\n"))
        .collect();
    listing.push_str("ffffffffc0000000 D vm_list\t[kvm]\n");
    Symbols::parse(listing.as_bytes()).unwrap()
}

/// Names and cause words of the checks that did not come out ok; without types there is no layout.
fn complaints(support: &KernelSupport, symbols: Option<&Symbols>) -> Vec<(String, &'static str)> {
    let layout = Obstacle::NoBtf { path: "x".into() };
    let facts = Facts {
        support,
        symbols,
        layout: Err(&layout),
        btf_named: false,
        rehearsal: None,
    };
    let checks = diagnose(&facts);
    let complaints = checks.into_iter().filter(|check| check.state != State::Ok);
    complaints
        .map(|check| (check.name, check.word.unwrap_or(check.state.name())))
        .collect()
}

#[test]
fn a_capable_host_has_no_complaints() {
    assert_eq!(
        complaints(&KernelSupport::capable(), Some(&symbols(|_| true))),
        []
    );
}

#[test]
fn a_missing_function_degrades_or_blocks_as_its_hook_says() {
    let without =
        |missing: &str| complaints(&KernelSupport::capable(), Some(&symbols(|name| name != missing)));
    let hook = |name: &str, word| vec![(format!("hook {name}"), word)];
    assert_eq!(without("kvm_apic_set_state"), hook("set_lapic", "degraded"));
    assert_eq!(without("kvm_lapic_reg_write"), hook("reg_write", "degraded"));
    assert_eq!(
        without("kvm_make_scan_ioapic_request"),
        hook("recalculated", "symbol-missing")
    );
}

#[test]
fn hidden_addresses_block_and_name_the_setting() {
    let hidden = Symbols::parse("0000000000000000 D vm_list\t[kvm]\n".as_bytes()).unwrap();
    let support = KernelSupport::capable();
    let checks = symbols::symbols(&Facts {
        support: &support,
        symbols: Some(&hidden),
        layout: Err(&Obstacle::NoKvm),
        btf_named: false,
        rehearsal: None,
    });
    assert_eq!(checks[0].state, State::Blocked);
    assert!(
        checks[0]
            .remedy
            .as_ref()
            .is_some_and(|remedy| remedy.contains("kptr_restrict"))
    );
}

#[test]
fn without_kvm_nothing_is_said_about_its_symbols_and_types() {
    let mut support = KernelSupport::capable();
    support.kvm = Kvm::NotLoaded;
    support.kvm_btf = false;
    assert_eq!(complaints(&support, None), [("kvm".to_owned(), "kvm-not-loaded")]);
}

#[test]
fn every_missing_thing_is_listed_not_only_the_first() {
    let mut support = KernelSupport::capable();
    support.initial_pid_namespace = Some(false);
    support.kvm_device = Device::Refused;
    support.vmlinux_btf = false;
    let words: Vec<_> = complaints(&support, None)
        .into_iter()
        .map(|(_, word)| word)
        .collect();
    assert_eq!(words, ["pid-namespace", "degraded", "no-btf", "symbol-missing"]);
}

/// The check of that name on a capable host with one change.
fn check_of(name: &str, change: impl FnOnce(&mut KernelSupport)) -> Check {
    let mut support = KernelSupport::capable();
    change(&mut support);
    check_in(name, &support, None)
}

fn check_in(name: &str, support: &KernelSupport, rehearsal: Option<&Rehearsal>) -> Check {
    let layout = Obstacle::NoBtf { path: "x".into() };
    let checks = diagnose(&Facts {
        support,
        symbols: None,
        layout: Err(&layout),
        btf_named: false,
        rehearsal,
    });
    let found = checks.into_iter().find(|check| check.name == name);
    found.unwrap_or_else(|| panic!("there is no check {name}"))
}

fn only(change: impl FnOnce(&mut Capabilities)) -> impl FnOnce(&mut KernelSupport) {
    |support| {
        support.uid = 1000;
        support.capabilities = Capabilities::default();
        change(&mut support.capabilities);
    }
}

#[test]
fn loading_asks_for_bpf_with_perfmon_or_for_sys_admin() {
    let state = |change: fn(&mut Capabilities)| check_of("loading", only(change)).state;
    assert_eq!(state(|held| held.sys_admin = true), State::Ok);
    assert_eq!(state(|held| (held.bpf, held.perfmon) = (true, true)), State::Ok);
    let bpf_alone = check_of("loading", only(|held| held.bpf = true));
    assert_eq!(bpf_alone.word, Some("missing-capability"));
    assert!(
        bpf_alone.detail.contains("CAP_PERFMON is not held"),
        "{}",
        bpf_alone.detail
    );
    assert_eq!(state(|_| {}), State::Blocked);
}

#[test]
fn attaching_asks_for_more_where_the_kernel_is_paranoid() {
    let state = |level, change: fn(&mut Capabilities)| {
        let check = check_of("attaching", |support| {
            only(change)(support);
            support.perf_event_paranoid = level;
        });
        check.state
    };
    assert_eq!(state(Some(2), |held| held.perfmon = true), State::Ok);
    assert_eq!(state(None, |held| held.perfmon = true), State::Ok);
    assert_eq!(state(Some(3), |held| held.perfmon = true), State::Blocked);
    assert_eq!(state(Some(3), |held| held.sys_admin = true), State::Ok);
    assert_eq!(state(Some(2), |held| held.bpf = true), State::Blocked);
}

#[test]
fn capabilities_of_another_user_namespace_are_none() {
    for name in ["loading", "attaching"] {
        let check = check_of(name, |support| support.initial_user_namespace = Some(false));
        assert_eq!(check.state, State::Blocked, "{name}");
    }
}

#[test]
fn addresses_are_shown_as_the_kernel_s_two_settings_say() {
    let check = |restrict, paranoid, syslog| {
        check_of("addresses", |support| {
            support.kptr_restrict = Some(restrict);
            support.perf_event_paranoid = Some(paranoid);
            support.capabilities.syslog = syslog;
        })
    };
    assert_eq!(check(0, 1, false).state, State::Ok);
    assert_eq!(check(0, 2, false).word, Some("addresses-hidden"));
    assert_eq!(check(1, 1, false).word, Some("addresses-hidden"));
    assert_eq!(check(1, 3, true).state, State::Ok);
    let never = check(2, -1, true);
    assert_eq!(never.word, Some("addresses-hidden"));
    assert!(
        never
            .remedy
            .is_some_and(|remedy| remedy.contains("kptr_restrict"))
    );
}

#[test]
fn a_limit_of_locked_memory_matters_on_old_kernels_alone() {
    let state = |release: &str, limit, raise| {
        let check = check_of("map-memory", |support| {
            support.release = release.to_owned();
            support.memlock = limit;
            support.capabilities.sys_resource = raise;
        });
        check.state
    };
    let small = Some(64 << 10);
    assert_eq!(state("6.1.0-56-amd64", small, false), State::Ok);
    assert_eq!(state("5.10.0-32-amd64", small, false), State::Blocked);
    assert_eq!(state("5.10.0-32-amd64", small, true), State::Ok);
    assert_eq!(state("5.10.0-32-amd64", Some(64 << 20), false), State::Ok);
    assert_eq!(state("5.10.0-32-amd64", None, false), State::Ok);
}

#[test]
fn statistics_that_nobody_asked_for_are_no_complaint() {
    let check = check_of("program-stats", only(|held| held.bpf = true));
    assert_eq!(check.state, State::Ok);
    assert!(check.detail.contains("CAP_SYS_ADMIN"));
}

#[test]
fn what_came_of_the_rehearsal_is_told() {
    let support = KernelSupport::capable();
    let state = |outcome, landlock| {
        let rehearsal = Rehearsal { outcome, landlock };
        ["daemon", "landlock"].map(|name| check_in(name, &support, Some(&rehearsal)).state)
    };
    let failed = |word| {
        Err(Failure {
            word,
            sentence: "no".to_owned(),
            remedy: "do".to_owned(),
        })
    };
    let (confined, abi) = (Ok("no capability".to_owned()), FileAccess::Restricted { abi: 3 });
    assert_eq!(state(confined.clone(), abi), [State::Ok, State::Ok]);
    assert_eq!(
        state(confined, FileAccess::NoLandlock),
        [State::Ok, State::Degraded]
    );
    assert_eq!(
        state(failed("missing-capability"), abi),
        [State::Blocked, State::Ok]
    );
    assert_eq!(state(failed("sandbox"), abi), [State::Degraded, State::Ok]);
}

#[test]
fn a_trap_is_named_after_the_setting_that_sets_it() {
    let sprung = |change: fn(&mut KernelSupport)| {
        let mut support = KernelSupport::capable();
        support.unit = Some("ldrscope.service".to_owned());
        change(&mut support);
        let complaints = complaints(&support, Some(&symbols(|_| true)));
        let traps = complaints
            .into_iter()
            .filter(|(name, _)| name.starts_with("trap "));
        traps.collect::<Vec<_>>()
    };
    let trap = |name: &str, word| vec![(format!("trap {name}"), word)];
    assert_eq!(sprung(|_| {}), []);
    assert_eq!(
        sprung(|support| support.proc_mount.kallsyms = true),
        trap("ProtectKernelTunables", "symbol-missing")
    );
    assert_eq!(
        sprung(|support| support.proc_mount.others = true),
        trap("ProtectProc", "degraded")
    );
    assert_eq!(
        sprung(|support| {
            support.capabilities.syslog = false;
            support.bounding = Some(support.capabilities);
        }),
        trap("ProtectKernelLogs", "degraded")
    );
    assert_eq!(
        sprung(|support| support.proc_mount.all_but_processes = true),
        trap("ProcSubset", "symbol-missing")
    );
}
