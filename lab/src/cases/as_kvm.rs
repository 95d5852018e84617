//! `--as-kvm`: what another generation's KVM would make of the crashed guest of 2019, before it is migrated there. That
//! KVM's own word is in `kdump`, on the kernels that have it.

use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{Deliver, MapMode, Severity, Snapshot, Verdict, Vm};
use crate::host::MapRules;
use crate::scenario::{DeadCpus, Kdump, TIMER_DEST};
use crate::tool::{deliver, snapshot};

/// The last vCPU, which took slot 0 before 6.3.
const THIEF: u32 = 15;

pub(super) fn before_migration(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut kdump = Kdump::boot_bigsmp()?;
    kdump.crash(DeadCpus::LeftEnabled)?;
    kdump.arm_timer()?;

    let (plain, delivered) = (snapshot(&[])?, deliver(&[])?);
    // By name, and by a version that has the rules.
    for (word, rules) in [
        ("overwrite", MapRules::Overwrite),
        ("6.12", MapRules::ConflictDisables),
    ] {
        let as_kvm = ["--as-kvm", word];
        let (judged, said) = (snapshot(&as_kvm)?, deliver(&as_kvm)?);
        hold_snapshot(&judged, &plain, rules)?;
        hold_delivery(only(&said)?, rules)?;
        if rules == context.rules {
            let rebuilt = |snapshot: &Snapshot| Ok::<_, CaseError>(only(&snapshot.vms)?.map.rebuilt.clone());
            let same = rebuilt(&judged)? == rebuilt(&plain)? && said == delivered;
            require(same, || {
                format!(
                    "as a KVM of its own rules, {word}, the host should say the same: {judged:?}, {said:?}"
                )
            })?;
        }
    }
    Ok(())
}

fn hold_snapshot(judged: &Snapshot, plain: &Snapshot, rules: MapRules) -> CaseResult {
    require(judged.host == plain.host, || {
        format!(
            "as {rules:?}: the host should stay {:?}, is {:?}",
            plain.host, judged.host
        )
    })?;
    let vm: &Vm = only(&judged.vms)?;
    let (mode, worst) = match rules {
        MapRules::KeepDisabled | MapRules::Overwrite => (MapMode::Flat, Severity::Critical),
        MapRules::ConflictDisables => (MapMode::Disabled, Severity::Warning),
    };
    let rebuilt = vm.map.rebuilt.as_ref().map(|map| map.mode);
    require(
        (&vm.map.published, vm.map.agrees, rebuilt) == (&None, None, Some(mode)),
        || {
            format!(
                "as {rules:?}: published and agrees should be null, rebuilt {mode:?}: {:?}",
                vm.map
            )
        },
    )?;
    let found = vm.findings.iter().map(|finding| finding.severity).max();
    require(found == Some(worst), || {
        format!(
            "as {rules:?}: the worst finding should be {worst:?}: {:#?}",
            vm.findings
        )
    })
}

/// What becomes of the timer's interrupt.
fn hold_delivery(said: &Deliver, rules: MapRules) -> CaseResult {
    let timer = said
        .destinations
        .iter()
        .find(|one| one.dest == u32::from(TIMER_DEST));
    let claimants: Vec<u32> = (0..=THIEF).filter(|id| *id == 0 || id & 1 == 1).collect();
    let (kvm, verdict) = match rules {
        MapRules::KeepDisabled | MapRules::Overwrite => (vec![THIEF], Verdict::Partial),
        MapRules::ConflictDisables => (claimants.clone(), Verdict::Slow),
    };
    let holds = timer
        .is_some_and(|timer| timer.architecture == claimants && timer.kvm == kvm && timer.verdict == verdict);
    require(holds, || {
        format!(
            "as {rules:?}: {claimants:?} should get the timer's interrupt, {kvm:?} do, {verdict:?}: {timer:?}"
        )
    })
}

fn only<T: std::fmt::Debug>(all: &[T]) -> Result<&T, CaseError> {
    match all {
        [one] => Ok(one),
        _ => Err(CaseError::Unmet(format!("there is one VM, but: {all:?}"))),
    }
}
