//! What the rules on real interrupts share: those of a VM that went astray, and the sentence about them.

use super::{CLAIM_REGISTERS, Draft, Lookup, View, places, wording::VcpuList};
use crate::{
    astray::{Course, Kind, Toll},
    delivery::Verdict,
    id::{BootTime, Slot, VcpuId},
    logical_id::{LogicalId, Model},
    vm::Vm,
};

/// Kinds of interrupts that a sentence tells of before it says how many more there are.
const SHOWN: usize = 3;

/// The finding on those with such a verdict, if there are any.
pub(super) fn find<'a>(view: &View<'a>, is_meant: fn(Verdict) -> bool) -> Vec<Draft<'a>> {
    let mut meant: Vec<(&Kind, &Toll)> = of(view.vm, is_meant).collect();
    if meant.is_empty() {
        return Vec::new();
    }
    // The most first; those of one number by kind.
    meant.sort_by_key(|(_, toll)| std::cmp::Reverse(toll.count));
    let concerned = |id: VcpuId| {
        let courses = meant.iter().map(|(_, toll)| &toll.course);
        courses
            .into_iter()
            .any(|course| course.architecture.contains(&id) || course.kvm.contains(&id))
    };
    vec![Draft {
        slot: None,
        vcpus: view.vcpus.iter().filter(|vcpu| concerned(vcpu.id)).collect(),
        slots: slots(view, &meant),
        suspected: false,
        registers: CLAIM_REGISTERS,
        summary: sentence(&meant),
    }]
}

/// When the first of them was sent.
pub(super) fn since(vm: &Vm, is_meant: fn(Verdict) -> bool) -> Option<BootTime> {
    of(vm, is_meant).map(|(_, toll)| toll.since).min()
}

fn of(vm: &Vm, is_meant: fn(Verdict) -> bool) -> impl Iterator<Item = (&Kind, &Toll)> {
    vm.astray()
        .tolls()
        .filter(move |(_, toll)| is_meant(toll.course.verdict))
}

/// The slots that their destinations name, where KVM looks them up by slots.
fn slots(view: &View<'_>, meant: &[(&Kind, &Toll)]) -> Vec<(Model, Slot)> {
    let Lookup::Slots(model, _) = view.lookup() else {
        return Vec::new();
    };
    let destinations = meant.iter().filter_map(|(kind, _)| u8::try_from(kind.dest).ok());
    places::each_once(destinations.map(|dest| LogicalId(dest).named_under(model)))
}

fn sentence(meant: &[(&Kind, &Toll)]) -> String {
    let mut told: Vec<String> = meant
        .iter()
        .take(SHOWN)
        .map(|(kind, toll)| clause(kind, toll))
        .collect();
    let rest = &meant[told.len()..];
    if !rest.is_empty() {
        let count = rest
            .iter()
            .fold(0, |sum: u64, (_, toll)| sum.saturating_add(toll.count));
        let kinds = if rest.len() == 1 { "kind" } else { "kinds" };
        told.push(format!("and {count} more of {} other {kinds}", rest.len()));
    }
    told.join("; ")
}

/// `14 interrupts with vector 0x31 to logical destination 0x02 went to vCPU 2 instead of vCPU 1`.
fn clause(kind: &Kind, toll: &Toll) -> String {
    let at_most = if toll.course.scanned { "up to " } else { "" };
    let (count, priority) = (
        toll.count,
        if kind.lowest_priority {
            " of lowest priority"
        } else {
            ""
        },
    );
    let noun = if count == 1 { "interrupt" } else { "interrupts" };
    format!(
        "{at_most}{count} {noun}{priority} with vector 0x{:02x} to logical destination 0x{:02x} {}",
        kind.vector,
        kind.dest,
        course(kind, &toll.course)
    )
}

fn course(kind: &Kind, course: &Course) -> String {
    let list = |ids: Vec<VcpuId>| VcpuList::new(ids);
    let without = |ids: &[VcpuId], others: &[VcpuId]| -> Vec<VcpuId> {
        ids.iter().copied().filter(|id| !others.contains(id)).collect()
    };
    let Course {
        architecture, kvm, ..
    } = course;
    let (foreign, left_out) = (without(kvm, architecture), without(architecture, kvm));
    let one_of = if kind.lowest_priority && left_out.len() > 1 {
        "one of "
    } else {
        ""
    };
    match (kvm.is_empty(), foreign.is_empty(), left_out.is_empty()) {
        (true, ..) => format!("reached nobody instead of {one_of}{}", list(left_out)),
        (_, true, _) => format!(
            "went to {} alone, and not to {} as well",
            list(kvm.clone()),
            list(left_out)
        ),
        (_, false, false) => format!(
            "went to {} instead of {one_of}{}",
            list(kvm.clone()),
            list(left_out)
        ),
        (_, false, true) if architecture.is_empty() => {
            format!("went to {}, though they name nobody", list(kvm.clone()))
        }
        (_, false, true) => format!(
            "went to {} as well as to {}",
            list(foreign),
            list(architecture.clone())
        ),
    }
}
