//! What `ldrscope deliver` says beyond fixed logical interrupts to 8-bit destinations, which the oracle holds: physical
//! and 32-bit destinations and lowest priority, against the IRRs of real vCPUs. What another KVM would make of a guest is
//! for `as_kvm`.

use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{Deliver, Verdict};
use crate::guest::lapic::{
    APIC_BASE_ENABLED, APIC_BASE_X2APIC, ApicReg, DFR_CLUSTER, DFR_FLAT, SVR_DISABLED, SVR_ENABLED,
    cluster_id, ldr,
};
use crate::guest::{Delivery, Guest, GuestError, Irqchip, Msi, layout};
use crate::tool::{command, deliver, run_to_end};

/// `KVM_X2APIC_API_USE_32BIT_IDS` and `KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK`.
const WIDE: u32 = 1 << 0;
const NO_QUIRK: u32 = 1 << 1;

/// Every 8-bit destination, and what 32 bits can say beside: clusters and IDs that exist or do not, broadcast, and
/// numbers whose low bits would name somebody.
const ALL: &str =
    "0-255,256,257,300,301,0x10001,0x10003,0x1000f,0x1ffff,0x20001,0xf0001,0xffff0001,0xffffff2c,0xffffffff";
/// Those for which one look at the IRRs each has to do.
const SOME: &str =
    "1-3,5-7,9,0x0c,0x0f,0x11,0x13,0x21,0x80,0x81,0xf0,0xff,300,0x10003,0x1000f,0x1ffff,0xffffffff";

/// A question to ldrscope, and the interrupts that answer it.
struct Question {
    physical: bool,
    /// The vector where it is lowest priority; else fixed.
    lowest_priority: Option<u8>,
    destinations: &'static str,
}

const QUESTIONS: [Question; 5] = [
    Question {
        physical: false,
        lowest_priority: None,
        destinations: ALL,
    },
    Question {
        physical: true,
        lowest_priority: None,
        destinations: ALL,
    },
    Question {
        physical: false,
        lowest_priority: Some(0x31),
        destinations: SOME,
    },
    Question {
        physical: false,
        lowest_priority: Some(0x3e),
        destinations: SOME,
    },
    Question {
        physical: true,
        lowest_priority: Some(0x31),
        destinations: SOME,
    },
];

/// Guests in the states that matter here, asked about side by side.
pub(super) fn against_irrs(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let guests = guests()?;
    let mut broken = 0;
    for question in &QUESTIONS {
        let mut said = question.ask()?;
        // VMs are listed as KVM lists them: newest first.
        said.reverse();
        require(said.len() == guests.len(), || {
            format!(
                "deliver should tell of {} VMs, tells of {}",
                guests.len(),
                said.len()
            )
        })?;
        for (number, (guest, said)) in guests.iter().zip(&said).enumerate() {
            question.hold(number, guest, said)?;
            broken += said
                .destinations
                .iter()
                .filter(|one| one.verdict != Verdict::Ok)
                .count();
        }
    }
    require(broken > 0, || {
        "no state has a destination that is not ok".to_owned()
    })
}

impl Question {
    fn ask(&self) -> Result<Vec<Deliver>, CaseError> {
        let vector = self.lowest_priority.map(|vector| vector.to_string());
        let mut args = vec!["--dest", self.destinations];
        if self.physical {
            args.push("--physical");
        }
        if let Some(vector) = &vector {
            args.extend(["--lowest-priority", vector]);
        }
        Ok(deliver(&args)?)
    }

    /// Sends what was asked about, and compares who has it.
    fn hold(&self, number: usize, guest: &Guest, said: &Deliver) -> CaseResult {
        let lowest = self.lowest_priority.is_some();
        for round in said
            .destinations
            .chunks(if lowest { 1 } else { usize::from(u8::MAX) })
        {
            let vectors = (1..).map(|vector| self.lowest_priority.unwrap_or(vector));
            let sent: Vec<_> = round.iter().zip(vectors).collect();
            for (asked, vector) in &sent {
                guest.signal(&Msi {
                    dest: asked.dest,
                    logical: !self.physical,
                    delivery: if lowest {
                        Delivery::LowestPriority
                    } else {
                        Delivery::Fixed
                    },
                    vector: *vector,
                })?;
            }
            let mut reached = vec![Vec::new(); sent.len()];
            for id in sorted_ids(guest) {
                let mut page = guest.lapic(id)?;
                let pending = page.requests();
                for ((_, vector), reached) in sent.iter().zip(&mut reached) {
                    if pending.contains(*vector) {
                        reached.push(id);
                    }
                }
                if !pending.is_empty() {
                    guest.set_lapic(id, page.clear_requests())?;
                }
            }
            for ((asked, _), reached) in sent.iter().zip(&reached) {
                require(asked.kvm == *reached, || {
                    format!(
                        "guest {number}, {} destination {:#x}, lowest priority {:?}: {reached:?} got it; deliver says \
                         {asked:?}, map {:?}",
                        if self.physical { "physical" } else { "logical" },
                        asked.dest,
                        self.lowest_priority,
                        said.mode
                    )
                })?;
            }
        }
        Ok(())
    }
}

fn sorted_ids(guest: &Guest) -> Vec<u32> {
    let mut ids = guest.vcpu_ids();
    ids.sort_unstable();
    ids
}

fn guests() -> Result<Vec<Guest>, GuestError> {
    let flat = |logical_id| {
        [
            (ApicReg::Dfr, DFR_FLAT),
            (ApicReg::Ldr, ldr(logical_id)),
            (ApicReg::Svr, SVR_ENABLED),
        ]
    };
    let cluster = |index| {
        [
            (ApicReg::Dfr, DFR_CLUSTER),
            (ApicReg::Ldr, ldr(cluster_id(index))),
            (ApicReg::Svr, SVR_ENABLED),
        ]
    };
    // What bigsmp left: multi-bit and colliding LDRs.
    let bigsmp = Guest::with_vcpus(8)?;
    for id in 0..8_u8 {
        bigsmp.edit_lapic(u32::from(id), &flat(id))?;
    }
    // A hole in the slots, a disabled APIC with an LDR, and an APIC ID that was changed.
    let holes = Guest::with_vcpus(4)?;
    for (id, logical_id) in [(0, 1), (1, 2), (2, 8), (3, 1)] {
        holes.edit_lapic(id, &flat(logical_id))?;
    }
    holes.edit_lapic(1, &[(ApicReg::Id, 9 << 24)])?;
    holes.edit_lapic(3, &[(ApicReg::Svr, SVR_DISABLED)])?;
    // Two vCPUs of one APIC ID.
    let aliased = Guest::with_vcpus(3)?;
    for id in 0..3 {
        aliased.edit_lapic(id, &flat(1 << id))?;
    }
    aliased.edit_lapic(2, &[(ApicReg::Id, 0)])?;
    let clusters = Guest::with_vcpus(6)?;
    for id in 0..6 {
        clusters.edit_lapic(id, &cluster(id))?;
    }
    // x2APICs, with 32-bit destinations and without.
    let wide = x2apics(20)?;
    wide.enable_x2apic_api(WIDE | NO_QUIRK)?;
    let narrow = x2apics(20)?;
    // Both modes at once, with 32-bit destinations and with the broadcast quirk.
    let mixed = x2apics(6)?;
    mixed.enable_x2apic_api(WIDE)?;
    for id in 0..3 {
        mixed.set_apic_base(id, u64::from(layout::LAPIC))?;
        mixed.set_apic_base(id, u64::from(layout::LAPIC) | APIC_BASE_ENABLED)?;
        mixed.edit_lapic(id, &flat(1 << id))?;
    }
    // vCPUs whose number no xAPIC ID holds, in xAPIC mode.
    let mut hot_plugged = Guest::empty(Irqchip::Full)?;
    hot_plugged.enable_x2apic_api(WIDE | NO_QUIRK)?;
    for (id, logical_id) in [(0, 1), (300, 2), (1, 4)] {
        hot_plugged.add_vcpu(id)?;
        hot_plugged.edit_lapic(id, &flat(logical_id))?;
    }
    Ok(vec![
        bigsmp,
        holes,
        aliased,
        clusters,
        wide,
        narrow,
        mixed,
        hot_plugged,
    ])
}

fn x2apics(count: u32) -> Result<Guest, GuestError> {
    let guest = Guest::with_vcpus(count)?;
    for id in 0..count {
        guest.set_apic_base(
            id,
            u64::from(layout::LAPIC) | APIC_BASE_ENABLED | APIC_BASE_X2APIC,
        )?;
        guest.edit_lapic(id, &[(ApicReg::Svr, SVR_ENABLED)])?;
    }
    Ok(guest)
}

/// A VM whose local APICs the VMM emulates is named on stderr and left out; with nothing else there is no answer.
pub(super) fn unobservable(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut hidden = Guest::empty(Irqchip::Vmm)?;
    hidden.add_vcpu(0)?;
    let outcome = run_to_end(command(&["deliver", "--format", "json"]))?;
    require(
        outcome.status.code() == Some(3)
            && outcome.stdout.is_empty()
            && outcome.stderr.contains("error[unobservable]: ")
            && outcome.stderr.contains("emulates the local APICs itself"),
        || format!("deliver of an unobservable VM alone: {outcome:?}"),
    )?;
    let _seen = Guest::with_vcpus(1)?;
    let said = deliver(&["--only-bad"])?;
    require(matches!(&said[..], [one] if one.destinations.is_empty()), || {
        format!("deliver should tell of the other VM alone, with nothing bad: {said:?}")
    })
}
