//! `doctor`'s judgement: every fact about the host as one check, with what it costs and the remedy.
//!
//! The facts come from [`super::support`], the obstacles from [`super::preflight`]; this module only adds
//! what degrades without being in the way. Pure: it is given all it looks at.

use super::{
    layout::{MapModeKind, Resolved},
    obstacle::Obstacle,
    preflight,
    support::{Capabilities, Device, KernelSupport, Kvm, Lockdown},
    symbols::Symbols,
};
use crate::kernel::hook::{HOOKS, Hook, Need, Set};

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
}

/// Every check, in the order of [`preflight::check`].
#[must_use]
pub fn diagnose(facts: &Facts<'_>) -> Vec<Check> {
    let support = facts.support;
    let mut checks = vec![
        judged(
            "kernel",
            preflight::machine(support),
            format!("{} on {}", support.release, support.machine),
        ),
        judged("privileges", preflight::privileges(support), privileges(support)),
        judged(
            "pid-namespace",
            preflight::pid_namespace(support),
            initial(support.initial_pid_namespace),
        ),
        judged("lockdown", preflight::lockdown(support), lockdown(support)),
        judged(
            "kprobes",
            preflight::kprobes(support),
            "the kernel has them".to_owned(),
        ),
        judged("kvm", preflight::kvm(support), kvm(support)),
        kvm_device(facts),
        types(facts),
    ];
    checks.extend(layout(facts));
    checks.extend(routes(facts));
    checks.extend(symbols(facts));
    checks.push(hook_set(support));
    checks.push(limits(support));
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

fn privileges(support: &KernelSupport) -> String {
    let Capabilities {
        sys_admin,
        syslog,
        perfmon,
        bpf,
    } = support.capabilities;
    let held: Vec<&str> = [
        (sys_admin, "CAP_SYS_ADMIN"),
        (bpf, "CAP_BPF"),
        (perfmon, "CAP_PERFMON"),
        (syslog, "CAP_SYSLOG"),
    ]
    .into_iter()
    .filter_map(|(held, name)| held.then_some(name))
    .collect();
    format!("uid {}, {}", support.uid, held.join(", "))
}

fn initial(initial: Option<bool>) -> String {
    if initial.is_some() {
        "the initial one"
    } else {
        "not known"
    }
    .to_owned()
}

fn lockdown(support: &KernelSupport) -> String {
    let declared = match support.lockdown {
        None => "not declared",
        Some(Lockdown::None) => "none",
        Some(Lockdown::Integrity) => "integrity, which refuses nothing that is needed",
        Some(Lockdown::Confidentiality) => "confidentiality",
    };
    let reads = match support.kernel_reads {
        Some(true) => "programs that read the kernel are accepted",
        Some(false) => "programs that read the kernel are refused",
        None => "whether programs that read the kernel are accepted could not be tried",
    };
    format!("{declared}; {reads}")
}

fn kvm(support: &KernelSupport) -> String {
    let form = match support.kvm {
        Kvm::Module => "loaded as a module",
        Kvm::BuiltIn => "built into the kernel",
        Kvm::NotLoaded | Kvm::Absent => "not there",
    };
    format!("{form}, vendor {}", support.vendor.name())
}

fn kvm_device(facts: &Facts<'_>) -> Check {
    const REMEDY: &str = "see that /dev/kvm exists and may be opened, or do without with `--no-canary`";
    let trouble = match facts.support.kvm_device {
        Device::Usable => return ok("kvm-device", "/dev/kvm may be opened"),
        Device::Refused => "may not be opened",
        Device::Missing => "is missing",
    };
    let lost = format!("/dev/kvm {trouble}: the hooks cannot be proven by a test VM");
    match facts.layout {
        Ok(Resolved {
            known_build: Some(_), ..
        }) => Check {
            state: State::Blocked,
            word: Some("canary-failed"),
            remedy: Some(
                "see that /dev/kvm exists and may be opened, or name a BTF file with `--btf FILE`".to_owned(),
            ),
            ..ok(
                "kvm-device",
                format!("{lost}, nor can what is known of this build"),
            )
        },
        _ => degraded("kvm-device", lost, REMEDY),
    }
}

fn types(facts: &Facts<'_>) -> Check {
    let known_build = facts.layout.ok().and_then(|resolved| resolved.known_build);
    let detail = match (facts.btf_named, facts.support.kvm_btf, known_build) {
        (true, ..) => "the kernel's own, and the file named for KVM".to_owned(),
        (false, true, _) => "of the kernel and of the kvm module".to_owned(),
        (false, false, None) => "of the kernel".to_owned(),
        (false, false, Some(build)) => format!(
            "of the kernel; the kvm module has none, and its own structures are taken to be those of {}, which a test VM \
             proves at every start",
            build.name
        ),
    };
    judged("types", preflight::types(facts.support, facts.btf_named), detail)
}

/// Nothing to say where the types are missing anyway: that has been said.
fn layout(facts: &Facts<'_>) -> Option<Check> {
    match facts.layout {
        Ok(resolved) => {
            let generation = match resolved.encoding.map_mode {
                MapModeKind::Bits => "overwrite or keep-disabled",
                MapModeKind::Enum => "conflict-disables",
            };
            Some(ok(
                "layout",
                format!("every member is found; map rules {generation}"),
            ))
        }
        Err(Obstacle::NoBtf { .. } | Obstacle::NoModuleBtf { .. }) => None,
        // Without the module its types are not there either.
        Err(_) if matches!(facts.support.kvm, Kvm::NotLoaded | Kvm::Absent) => None,
        Err(obstacle) => Some(blocked("layout", obstacle)),
    }
}

/// Worth a word only where they cannot be read.
fn routes(facts: &Facts<'_>) -> Option<Check> {
    let unknown = facts.layout.is_ok_and(|resolved| !resolved.tells_routes());
    unknown.then(|| {
        degraded(
            "msi-routes",
            "the kernel's types do not tell where routes are kept: one that aims at a broken slot is not seen",
            "name a BTF file made from this kernel's kvm module with `--btf`",
        )
    })
}

fn symbols(facts: &Facts<'_>) -> Vec<Check> {
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
        (true, _, Need::Optional(lost)) => degraded(
            &name,
            format!("{missing}: {lost}"),
            "use an ldrscope that knows this kernel",
        ),
    }
}

fn hook_set(support: &KernelSupport) -> Check {
    let choice = match support.apic_virtualization {
        Some(true) => "auto takes precise: APICv or AVIC is on, which keeps those functions quiet",
        Some(false) => {
            "auto takes cold: APICv or AVIC is off, so every APIC write would pass the precise hooks"
        }
        None => "auto takes cold: the vendor module does not say whether APICv or AVIC is on",
    };
    ok("hook-set", choice)
}

/// Settings that are often suspected. None is in the way of who holds the privileges.
fn limits(support: &KernelSupport) -> Check {
    let number = |value: Option<i32>| value.map_or_else(|| "not known".to_owned(), |value| value.to_string());
    let mounted = |is: bool| {
        if is {
            "readable"
        } else {
            "not readable (not needed)"
        }
    };
    ok(
        "settings",
        format!(
            "perf_event_paranoid {}, unprivileged_bpf_disabled {}, locked memory {}, tracefs {}, debugfs {}",
            number(support.perf_event_paranoid),
            number(support.unprivileged_bpf_disabled),
            support
                .memlock
                .map_or_else(|| "unlimited".to_owned(), |bytes| format!("{} KiB", bytes >> 10)),
            mounted(support.tracefs),
            mounted(support.debugfs),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let checks = super::symbols(&Facts {
            support: &support,
            symbols: Some(&hidden),
            layout: Err(&Obstacle::NoKvm),
            btf_named: false,
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
}
