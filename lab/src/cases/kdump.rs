//! The 2019 scenario with its exact findings: before the crash, and once the kdump kernel waits for its timer.

use super::expect::{Expected, settles_at};
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{AimedSource, Deliver, Effect, Rule, Severity, Slot, Snapshot, Verdict, Vm};
use crate::guest::TIMER_PIN;
use crate::guest::layout::TIMER_VECTOR;
use crate::host::MapRules;
use crate::scenario::{DeadCpus, Kdump, TIMER_DEST};
use crate::tool::{Watch, deliver, snapshot};

const VCPUS: u32 = 16;
/// The CPUs that the kdump kernel never starts.
pub(super) const DEAD: std::ops::Range<u32> = 1..VCPUS;

pub(super) fn left_enabled(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut kdump = boot(context, watch)?;

    kdump.crash(DeadCpus::LeftEnabled)?;
    kdump.arm_timer()?;
    let ticks = kdump.await_timer()?;
    let slot = Slot { cluster: 0, bit: 0 };
    match context.rules {
        MapRules::KeepDisabled | MapRules::Overwrite => {
            require(ticks == 0, || {
                format!("the timer should never come, but came {ticks} times")
            })?;
            let pending = kdump.timer_pending_at()?;
            require(pending == [15], || {
                format!("the timer should be pending at vCPU 15, is at {pending:?}")
            })?;
        }
        MapRules::ConflictDisables => {
            require(ticks >= 3, || "the timer should come, but did not".to_owned())?
        }
    }

    settles_at(watch, None, &armed_and_enabled(context.rules))?;
    let findings = watch.standing().findings();
    let stolen = findings
        .iter()
        .find(|finding| finding.collision_slot() == Some(slot));
    if let (Some(stolen), MapRules::KeepDisabled | MapRules::Overwrite) = (stolen, context.rules) {
        watch.require(
            stolen.effect.partial > 0,
            "the collision should break destinations in part",
        )?;
        watch.require(
            stolen.summary.contains("vCPU 15"),
            "the summary should name the owner, vCPU 15",
        )?;
        watch.require(
            stolen.evidence.len() == stolen.vcpus.len(),
            "every claimant should be in evidence",
        )?;
    }

    let vm = look(context)?;
    let aimed = vm.aimed.iter().find(|aimed| aimed.source == AimedSource::Ioapic);
    let pin = aimed.map(|aimed| (aimed.index, aimed.dest, aimed.vector));
    let armed = (
        u32::from(TIMER_PIN),
        u32::from(TIMER_DEST),
        u32::from(TIMER_VECTOR),
    );
    require(pin == Some(armed), || {
        format!(
            "aimed should hold the timer's pin {armed:?}, holds {:?}",
            vm.aimed
        )
    })?;
    require(vm.map.agrees == Some(true), || {
        format!("published and rebuilt should agree: {:?}", vm.map)
    })
}

/// The one VM of a snapshot, which names this host's map rules.
fn look(context: &Context) -> Result<Vm, CaseError> {
    let snapshot = snapshot(&[])?;
    let said = &snapshot.host.map_rules;
    require(said == context.rules.name(), || {
        format!(
            "this host's map rules should be {}, are said to be {said}",
            context.rules.name()
        )
    })?;
    only_vm(snapshot)
}

pub(super) fn disabled(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut kdump = boot(context, watch)?;

    kdump.crash(DeadCpus::Disabled)?;
    kdump.arm_timer()?;
    let ticks = kdump.await_timer()?;
    let left_over = Expected::rule(Rule::LdrStale).on(DEAD.collect::<Vec<_>>());
    match context.rules {
        MapRules::KeepDisabled => {
            require(ticks == 0, || {
                format!("the timer should never come, but came {ticks} times")
            })?;
            let pending = kdump.timer_pending_at()?;
            require(pending.is_empty(), || {
                format!("no disabled APIC should take the timer, but it is pending at {pending:?}")
            })?;
            settles_at(watch, None, &[left_over.at(Severity::Critical)])?;
        }
        MapRules::Overwrite | MapRules::ConflictDisables => {
            require(ticks >= 3, || {
                format!("the timer should come, but came {ticks} times")
            })?;
            settles_at(watch, None, &[left_over.at(Severity::Notice)])?;
        }
    }
    let vm = look(context)?;
    require(vm.map.agrees == Some(true), || {
        format!("published and rebuilt should agree: {:?}", vm.map)
    })?;
    if context.rules == MapRules::KeepDisabled {
        lost_as_in_2019(&vm, &deliver(&[])?)?;
    }
    Ok(())
}

/// Boots the first kernel under `watch` and holds its findings, none of which may be an emergency.
fn boot(context: &Context, watch: &mut Watch) -> Result<Kdump, CaseError> {
    let kdump = Kdump::boot_bigsmp()?;
    let severity = match context.rules {
        MapRules::KeepDisabled | MapRules::Overwrite => Severity::Warning,
        MapRules::ConflictDisables => Severity::Notice,
    };
    let mut expected: Vec<_> = (0..4)
        .map(|bit| Expected::collision(0, bit, claimants(bit)).at(severity))
        .collect();
    expected.push(Expected::rule(Rule::LdrMultiBit).on(multi_bit()).at(severity));
    expected.push(Expected::rule(Rule::LdrUnset).on([0]).at_most(Severity::Warning));
    if context.rules == MapRules::ConflictDisables {
        expected.push(Expected::rule(Rule::MapDisabled).at_most(Severity::Notice));
    }
    settles_at(watch, None, &expected)?;
    watch.require(
        watch.worst() <= Some(Severity::Warning),
        "a healthy guest in physical mode should raise nothing above warning",
    )?;
    Ok(kdump)
}

fn armed_and_enabled(rules: MapRules) -> Vec<Expected> {
    let stolen = Expected::collision(0, 0, [vec![0], claimants(0)].concat());
    let mut expected: Vec<_> = (1..4)
        .map(|bit| Expected::collision(0, bit, claimants(bit)))
        .collect();
    expected.push(Expected::rule(Rule::LdrMultiBit).on(multi_bit()));
    expected.push(
        Expected::rule(Rule::LdrStale)
            .on(DEAD.collect::<Vec<_>>())
            .suspected(),
    );
    match rules {
        MapRules::KeepDisabled | MapRules::Overwrite => expected.push(stolen.at(Severity::Critical)),
        MapRules::ConflictDisables => {
            expected.push(stolen.at(Severity::Warning).slow(true));
            expected.push(Expected::rule(Rule::MapDisabled).at_most(Severity::Warning));
        }
    }
    expected
}

/// The vCPUs whose `LDR = APIC ID << 24` has `bit` set.
fn claimants(bit: u32) -> Vec<u32> {
    (0..VCPUS).filter(|id| id >> bit & 1 == 1).collect()
}

fn multi_bit() -> Vec<u32> {
    (0..VCPUS).filter(|id| id.count_ones() > 1).collect()
}

/// Holds what ldrscope says of the crashed guest to what happened in 2019: each dead CPU steals slots, so that the
/// kdump kernel's CPU, the only one enabled, gets nothing that is sent to its logical ID.
pub(super) fn lost_as_in_2019(vm: &Vm, delivered: &[Deliver]) -> CaseResult {
    /// Slot and owner: the highest vCPU whose LDR has its lowest bit there, the last to be entered.
    const OWNERS: [(u32, u32); 4] = [(0, 15), (1, 14), (2, 12), (3, 8)];
    /// Of destinations 0 to 254, those with bit 0: all that name the kdump kernel's CPU.
    const LOST: Effect = Effect {
        lost: 127,
        misrouted: 0,
        partial: 0,
        slow: false,
    };
    let told = |what: &str, holds: bool| require(holds, || format!("{what}\n{vm:#?}"));
    let [finding] = vm.findings.as_slice() else {
        return told("the stale LDRs should be the one finding", false);
    };
    told(
        "the finding should be the dead CPUs' stale LDRs",
        finding.rule == Rule::LdrStale && finding.vcpus.iter().copied().eq(DEAD),
    )?;
    let slots = (0..4).map(|bit| Slot { cluster: 0, bit });
    told(
        "it should be about slots 0 to 3",
        finding.slots.iter().copied().eq(slots),
    )?;
    told(
        "it should be critical and lose all that names the kdump kernel's CPU",
        finding.severity == Severity::Critical && finding.effect == LOST,
    )?;
    let rebuilt = vm.map.rebuilt.as_ref();
    let owners = rebuilt.map(|map| map.slots.iter().map(|slot| (slot.bit, slot.vcpu_id)));
    told(
        "dead CPUs should own slots 0 to 3",
        owners.is_some_and(|owners| owners.eq(OWNERS)),
    )?;

    let [delivered] = delivered else {
        return require(false, || {
            format!("deliver should print one document, not {}", delivered.len())
        });
    };
    let wrong = delivered.destinations.iter().find(|delivery| {
        // Broadcast is found by a scan, past all slots.
        let (named, reached) = (delivery.dest & 1 != 0, delivery.dest == 0xFF);
        let verdict = if named && !reached {
            Verdict::Lost
        } else {
            Verdict::Ok
        };
        let cpu = |it: bool| if it { &[0][..] } else { &[] };
        delivery.architecture != cpu(named) || delivery.kvm != cpu(reached) || delivery.verdict != verdict
    });
    require(delivered.destinations.len() == 256 && wrong.is_none(), || {
        format!("every odd destination but broadcast should be lost to vCPU 0, and no other: {wrong:?}")
    })
}

/// The one VM of `snapshot`.
pub(super) fn only_vm(mut snapshot: Snapshot) -> Result<Vm, CaseError> {
    let vm = snapshot.vms.pop();
    vm.filter(|_| snapshot.vms.is_empty())
        .ok_or_else(|| CaseError::Unmet("snapshot should hold one VM".to_owned()))
}
