//! What `deliver` tells of a VM: destination by destination, who should get an interrupt and who does.
//!
//! The model is `probe-apic`'s; here it is asked, and its answer is turned into the VMM's vCPU numbers.

use probe_apic::{
    delivery::{DeliveryMode, Destination, DestinationMode, Verdict},
    finding::Confidence,
    map::MapMode,
    vcpu_set::VcpuSet,
    vm::Vm,
};

/// The deliveries of one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliveries {
    /// Mode of the map that KVM goes by; `None` where it has no map and scans.
    pub mode: Option<MapMode>,
    /// How many destinations were asked for.
    pub asked: usize,
    /// Those that are shown, ascending by destination.
    pub rows: Vec<Delivery>,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The destination field.
    pub dest: u32,
    /// Whom the architecture names: `vcpu_id`s, ascending.
    pub architecture: Vec<u32>,
    /// Whom KVM reaches: `vcpu_id`s, ascending.
    pub kvm: Vec<u32>,
    /// How the two compare.
    pub verdict: Verdict,
}

/// What is asked of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which destinations, ascending.
    pub destinations: Vec<u32>,
    /// How they are read.
    pub destination_mode: DestinationMode,
    /// What is sent there.
    pub delivery_mode: DeliveryMode,
    /// Whether to leave out those whose verdict is `ok`.
    pub only_bad: bool,
}

/// Who gets what is sent to each destination in `vm`; `None` where KVM has no LAPICs to look at, or the map
/// that it goes by is not known.
#[must_use]
pub fn deliveries(vm: &Vm, question: &Question) -> Option<Deliveries> {
    if vm.confidence() == Confidence::Unobservable {
        return None;
    }
    let fabric = vm.fabric()?;
    let mode = question.destination_mode;
    // One walk over the vCPUs serves all 8-bit destinations.
    let table = vm
        .deliveries(mode)
        .filter(|_| question.delivery_mode == DeliveryMode::Fixed);
    let rows = question.destinations.iter().map(|&id| {
        let delivery = match (&table, u8::try_from(id)) {
            (Some(table), Ok(id)) => table.to(id),
            _ => fabric.deliver(Destination { mode, id }, question.delivery_mode),
        };
        Delivery {
            dest: id,
            architecture: ids(vm, &delivery.architecture),
            kvm: ids(vm, &delivery.kvm),
            verdict: delivery.verdict,
        }
    });
    Some(Deliveries {
        mode: fabric.map.map(|map| map.mode),
        asked: question.destinations.len(),
        rows: rows
            .filter(|row| !question.only_bad || row.verdict != Verdict::Ok)
            .collect(),
    })
}

fn ids(vm: &Vm, vcpus: &VcpuSet) -> Vec<u32> {
    let mut ids: Vec<u32> = vcpus
        .iter()
        .filter_map(|idx| vm.vcpu_id(idx))
        .map(|id| id.0)
        .collect();
    ids.sort_unstable();
    ids
}
