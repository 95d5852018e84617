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
