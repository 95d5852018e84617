//! The canary: a VM of ldrscope's own that proves the whole pipeline, from KVM's functions to the decoder.
//!
//! A hook that attached may still be deaf (a split function, a module that was loaded again), so a known
//! change is made and expected at the far end. No guest code runs. Its LAPIC page carries a fixed signature
//! where no guest can write, by which every copy of ldrscope keeps every copy's canary out of its output.

use std::{process, thread, time::Duration};

use probe_apic::{map_rules::MapRules, observation::VmSample, rebuild::rebuild};
use probe_common::{
    decode::{Decoded, EnteredRoute, Kind},
    interrupts::{Tallied, what},
    window::{PINS, Route},
};

use self::vm::{Canary, INTERRUPT, MESSAGE, State};
use super::reading::{self, Reading};
use crate::{
    bpf::access::Access,
    clock,
    kernel::{
        layout::{Encoding, Resolved},
        obstacle::Obstacle,
    },
};

mod vm;

/// Flat slot 2, on an APIC that is software-disabled as after reset: entered by `keep-disabled` rules alone.
const DISABLED: State = State {
    ldr: 0x0400_0000,
    svr: 0xFF,
};
/// Flat slots 2 and 3 on an enabled APIC: entered under its lowest bit, or the end of the logical map.
const MULTI_BIT: State = State {
    ldr: 0x0C00_0000,
    svr: 0x1FF,
};
/// A pin of the IOAPIC after a reset (82093AA data sheet, "I/O Redirection Table Registers").
const MASKED_PIN: u64 = 1 << 16;
/// Events that one look at the ring takes.
const BATCH: usize = 4096;
/// How long an event of it may take to come, in nanoseconds, and between two looks for it.
const PATIENCE_NS: u64 = 500_000_000;
const PAUSE: Duration = Duration::from_millis(1);
/// Canaries made before one that is missed counts.
const ATTEMPTS: u32 = 5;
/// The programs whose functions the host may lack.
const SET_LAPIC: &str = "set_lapic";
const LAPIC_RESET: &str = "lapic_reset";

/// Makes the canary, expects each of its steps as an event and its registers in a read, and ends it. Events
/// of other VMs that arrive meanwhile are kept in `others`. Returns the map rules, of those that the kernel's
/// types allow, by which KVM's maps of the canary came about; none where they follow no rules known.
///
/// On a host where guests fill the ring at the same time the canary's events may be among those that find no
/// room: then it is tried again, and only a canary that is missed without any loss proves the hooks deaf.
///
/// # Errors
///
/// Where the canary cannot be made, or was not seen, or not as it was made.
pub(super) fn prove(
    access: &mut Access,
    resolved: &Resolved,
    precise: bool,
    others: &mut Vec<Decoded>,
) -> Result<Vec<MapRules>, Obstacle> {
    let mut attempt = 1;
    loop {
        let before = losses(access);
        match prove_once(access, resolved, precise, others) {
            Err(Obstacle::Deaf { .. }) if attempt < ATTEMPTS && losses(access) > before => {
                // After a loss every VM is looked for and read anyway.
                others.clear();
                attempt += 1;
            }
            proved => return proved,
        }
    }
}

fn prove_once(
    access: &mut Access,
    resolved: &Resolved,
    precise: bool,
    others: &mut Vec<Decoded>,
) -> Result<Vec<MapRules>, Obstacle> {
    let mut seen = Vec::new();
    // What guests sent before leaves its room to the canary.
    drain(access, &mut seen);
    let canary = Canary::create()?;
    canary.set(&DISABLED)?;
    let made = await_seen(access, &mut seen, |access, seen| seen_made(access, precise, seen));
    let map_rules = made.and_then(|kvm| {
        let mut fitting = resolved.encoding.map_mode.possible_rules().to_vec();
        keep_fitting(&mut fitting, &read_back(access, kvm, resolved, &DISABLED)?);
        counts(access, kvm, &canary)?;
        canary.set(&MULTI_BIT)?;
        keep_fitting(&mut fitting, &read_back(access, kvm, resolved, &MULTI_BIT)?);
        Ok(fitting)
    });
    drop(canary);
    let generation = birth(&seen).and_then(|born| born.generation);
    let of_canary = |event: &Decoded| event.generation.is_some() && event.generation == generation;
    let ended = await_seen(access, &mut seen, |_, seen| {
        let gone = |event: &Decoded| of_canary(event) && event.kind == Kind::VmGone;
        seen.iter()
            .any(gone)
            .then_some(())
            .ok_or_else(|| deaf("the test VM's end was not seen"))
    });
    others.extend(seen.into_iter().filter(|event| !of_canary(event)));
    let map_rules = map_rules?;
    ended.map(|()| map_rules)
}

/// Takes in events until `judge` has seen what it must, or time is up. A record that another CPU has begun and not sent yet
/// holds up all behind it, and that CPU may be held up itself.
fn await_seen<T>(
    access: &mut Access,
    seen: &mut Vec<Decoded>,
    judge: impl Fn(&Access, &[Decoded]) -> Result<T, Obstacle>,
) -> Result<T, Obstacle> {
    let deadline = clock::now().plus(PATIENCE_NS);
    loop {
        drain(access, seen);
        match judge(access, seen) {
            Err(Obstacle::Deaf { .. }) if clock::now() < deadline => thread::sleep(PAUSE),
            judged => return judged,
        }
    }
}

/// What of the canary must have been seen while it lives. Returns its address and birth number.
fn seen_made(access: &Access, precise: bool, seen: &[Decoded]) -> Result<(u64, u64), Obstacle> {
    let born = birth(seen).ok_or_else(|| deaf("the test VM's creation was not seen"))?;
    let of_canary = |event: &&Decoded| event.generation == born.generation;
    let expect = |what: &str, is: fn(Kind) -> bool| {
        let came = seen.iter().filter(of_canary).any(|event| is(event.kind));
        came.then_some(())
            .ok_or_else(|| deaf(&format!("the test VM was made, but {what} was not seen")))
    };
    expect("its vCPU's creation", |kind| matches!(kind, Kind::VcpuBorn))?;
    if access.has(LAPIC_RESET) {
        expect("its vCPU's reset", |kind| {
            matches!(kind, Kind::Entered(EnteredRoute::Reset))
        })?;
    }
    if access.has(SET_LAPIC) {
        expect("its KVM_SET_LAPIC", |kind| {
            matches!(kind, Kind::Entered(EnteredRoute::SetLapic))
        })?;
    }
    expect("the recalculation of its map", |kind| {
        matches!(kind, Kind::Recalculated { .. })
    })?;
    if precise {
        expect("the beginning of that recalculation", |kind| {
            matches!(kind, Kind::Recalculated { spent_ns: Some(_) })
        })?;
    }
    born.generation
        .map(|generation| (born.kvm, generation))
        .ok_or_else(|| deaf("the test VM's birth number is not known"))
}

/// Where interrupts are counted: one to the canary must be, and nobody else's is meanwhile.
fn counts(access: &mut Access, (kvm, generation): (u64, u64), canary: &Canary) -> Result<(), Obstacle> {
    let Some(counter) = &mut access.interrupts else {
        return Ok(());
    };
    let mut counted = Vec::new();
    counter.count_only(kvm);
    counter.turn(&mut counted);
    let sent = canary.interrupt();
    counter.turn(&mut counted);
    counter.turn(&mut counted);
    counter.count_only(0);
    sent?;
    let (dest, vector) = INTERRUPT;
    let kind = what::pack(dest.into(), vector, false);
    let is_it = |tallied: &Tallied| (tallied.vm, tallied.what, tallied.count) == (generation, kind, 1);
    let came = counted.iter().any(is_it);
    came.then_some(())
        .ok_or_else(|| deaf("an interrupt to the test VM was not counted"))
}

/// The birth of the latest VM that this process made.
fn birth(seen: &[Decoded]) -> Option<&Decoded> {
    let own = |event: &&Decoded| {
        event.kind == Kind::VmBorn && event.tgid == process::id() && event.generation.is_some()
    };
    seen.iter().rev().find(own)
}

/// Everything that waits; of guests that never pause, as much as comes in this many batches.
fn drain(access: &mut Access, seen: &mut Vec<Decoded>) {
    const BATCHES: usize = 16;
    for _ in 0..BATCHES {
        if !access.ring.drain(BATCH, seen) {
            break;
        }
    }
}

fn losses(access: &Access) -> u64 {
    access.counters.read().dropped
}

fn deaf(what: &str) -> Obstacle {
    Obstacle::Deaf {
        what: what.to_owned(),
    }
}

fn disproved(what: &str) -> Obstacle {
    Obstacle::LayoutDisproved {
        what: what.to_owned(),
    }
}

/// Reads the canary, which must be as it was made and set.
fn read_back(
    access: &mut Access,
    (kvm, generation): (u64, u64),
    resolved: &Resolved,
    state: &State,
) -> Result<VmSample, Obstacle> {
    let reading = reading::read(&mut access.copier, kvm, generation)
        .map_err(|error| Obstacle::Internal {
            doing: "reading the test VM",
            source: error.into(),
        })?
        .filter(|reading| reading.steady && reading.linked() && reading.canary())
        .ok_or_else(|| disproved("the test VM could not be read back"))?;
    check_wiring(&reading, resolved)?;
    check_lapic(reading, &resolved.encoding, state)
}

/// The pins and routes of a canary.
fn check_wiring(reading: &Reading, resolved: &Resolved) -> Result<(), Obstacle> {
    if reading.copy.has_pins == 1 && reading.copy.pins != [MASKED_PIN; PINS] {
        return Err(disproved("the test VM's IOAPIC is not as after a reset"));
    }
    let is_message = |route: &Route| {
        let words = [route.address_lo, route.address_hi, route.data];
        (route.gsi, route.kind, words) == (MESSAGE.gsi, MESSAGE.kind, MESSAGE.words)
    };
    if resolved.tells_routes() && !matches!(reading.routes.as_slice(), [only] if is_message(only)) {
        return Err(disproved("the test VM's one interrupt route reads back wrong"));
    }
    Ok(())
}

/// The registers of a canary, and its place in KVM's map.
fn check_lapic(reading: Reading, encoding: &Encoding, state: &State) -> Result<VmSample, Obstacle> {
    let now = clock::now();
    let sample = reading.into_sample(now, now, encoding);
    let [vcpu] = sample.vcpus.as_slice() else {
        return Err(disproved("the test VM does not have its one vCPU"));
    };
    let lapic = &vcpu.lapic;
    if (vcpu.id.0, lapic.ldr.0, lapic.svr.0, lapic.sw_enabled) != (0, state.ldr, state.svr, state.enabled()) {
        return Err(disproved(&format!(
            "the test VM's registers read back wrong: LDR {} and SVR {} where {:#010x} and {:#010x} were set",
            lapic.ldr, lapic.svr, state.ldr, state.svr
        )));
    }
    let holds_it = |map: &probe_apic::map::PublishedMap| {
        map.physical.iter().any(|&(id, idx)| id.0 == 0 && idx == vcpu.idx)
    };
    if !sample.published.as_ref().is_some_and(holds_it) {
        return Err(disproved("the test VM's map does not hold its only vCPU"));
    }
    Ok(sample)
}

/// Leaves the rules by which the published map of `sample` can have come about.
fn keep_fitting(rules: &mut Vec<MapRules>, sample: &VmSample) {
    rules.retain(|&rules| {
        sample.consistent && rebuild(&sample.vcpus, sample.x2apic_format, rules).map == sample.published
    });
}
