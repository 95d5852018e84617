//! The kernel's symbols: whether it shows its addresses, and which functions there are to hook.

use super::{Check, Facts, State, blocked, degraded, ok};
use crate::kernel::{
    hook::{HOOKS, Hook, Need, Set},
    obstacle::Obstacle,
    support::Kvm,
    symbols::Symbols,
};

pub(super) fn symbols(facts: &Facts<'_>) -> Vec<Check> {
    if matches!(facts.support.kvm, Kvm::NotLoaded | Kvm::Absent) {
        return Vec::new();
    }
    let Some(symbols) = facts.symbols else {
        return vec![Check {
            state: State::Blocked,
            word: Some("symbol-missing"),
            remedy: Some("see that /proc is mounted and /proc/kallsyms may be read".to_owned()),
            ..ok("symbols", "/proc/kallsyms cannot be read")
        }];
    };
    let restrict = facts
        .support
        .kptr_restrict
        .map_or_else(|| "not known".to_owned(), |level| level.to_string());
    let mut checks = vec![match symbols.variable("vm_list") {
        Some(_) => ok(
            "symbols",
            format!("addresses are shown (kptr_restrict {restrict})"),
        ),
        None if symbols.hidden() => blocked("symbols", &Obstacle::AddressesHidden),
        None => blocked(
            "symbols",
            &Obstacle::SymbolMissing {
                name: "vm_list".to_owned(),
            },
        ),
    }];
    checks.extend(HOOKS.iter().map(|hook| hook_check(hook, symbols)));
    checks
}

/// Whether fentry programs, a third of the price, can take the place of kprobes while VMs run. As far as can be told without
/// attaching one; nothing is missing from the observation without them.
pub(super) fn fast_programs(facts: &Facts<'_>) -> Option<Check> {
    let (Some(symbols), Ok(resolved)) = (facts.symbols, facts.layout) else {
        return None;
    };
    let mut sites = HOOKS
        .iter()
        .filter(|hook| hook.set == Set::Cold && hook.fast.is_some())
        .flat_map(|hook| hook.sites(symbols));
    let detail = match sites.find(|site| !resolved.functions.contains_key(site)) {
        None => "fentry programs can stand in for kprobes while VMs run, at a third of the price".to_owned(),
        Some(_) if facts.btf_named => {
            "kprobes only: types from a file do not tell the kernel where its functions are".to_owned()
        }
        Some(site) => format!("kprobes only: the kernel has no types that name {site}"),
    };
    Some(ok("fast-programs", detail))
}

fn hook_check(hook: &Hook, symbols: &Symbols) -> Check {
    let name = format!("hook {}", hook.program);
    let missing = format!("there is no {}", hook.functions.join(" and no "));
    let sites = hook.sites(symbols);
    match (sites.is_empty(), hook.set, hook.need) {
        (false, ..) => ok(&name, sites.join(", ")),
        (true, Set::Cold, Need::Required) => blocked(
            &name,
            &Obstacle::SymbolMissing {
                name: hook.functions[0].to_owned(),
            },
        ),
        (true, Set::Precise, Need::Required) => degraded(
            &name,
            format!("{missing}: the precise hooks are not possible"),
            "use `--hooks cold`",
        ),
        (true, Set::Interrupts, Need::Required) => degraded(
            &name,
            format!("{missing}: interrupts cannot be counted"),
            "leave `--interrupts` out",
        ),
        (true, _, Need::Optional(lost)) => degraded(
            &name,
            format!("{missing}: {lost}"),
            "use an ldrscope that knows this kernel",
        ),
    }
}
