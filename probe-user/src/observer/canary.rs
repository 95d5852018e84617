//! The canary: a VM of ldrscope's own that proves the whole pipeline, from KVM's functions to the decoder.
//!
//! A hook that attached may still be deaf (a split function, a module that was loaded again), so a known
//! change is made and expected at the far end. No guest code runs. Its LAPIC page carries a fixed signature
//! where no guest can write, by which every copy of ldrscope keeps every copy's canary out of its output.

use std::process;

use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use probe_apic::map_rules::MapRules;
use probe_common::{
    decode::{Decoded, EnteredRoute, Kind},
    window::{CANARY_SIGNATURE, VmCopy},
};

use crate::{
    bpf::{probe::Probe, window::Adopt},
    kernel::{layout::MapModeKind, obstacle::Obstacle},
};

/// Flat slot 2, on a software-disabled APIC: entered by `keep-disabled` rules alone.
const LDR: u32 = 0x0400_0000;
/// Software-disabled, as after reset.
const SVR: u32 = 0xFF;
/// Events that one look at the ring takes.
const BATCH: usize = 4096;
/// Canaries made before one that is missed counts.
const ATTEMPTS: u32 = 5;
/// The programs whose functions the host may lack.
const SET_LAPIC: &str = "set_lapic";
const LAPIC_RESET: &str = "lapic_reset";

struct Canary {
    // In the order in which they are closed.
    _vcpu: VcpuFd,
    _vm: VmFd,
}

impl Canary {
    fn create() -> Result<Self, Obstacle> {
        let failed = |step: &'static str| {
            move |error: kvm_ioctls::Error| Obstacle::CanaryFailed {
                step,
                source: std::io::Error::from_raw_os_error(error.errno()).into(),
            }
        };
        let kvm = Kvm::new().map_err(failed("opening /dev/kvm"))?;
        let vm = kvm.create_vm().map_err(failed("creating a VM"))?;
        vm.create_irq_chip()
            .map_err(failed("creating its interrupt controllers"))?;
        let vcpu = vm.create_vcpu(0).map_err(failed("creating its vCPU"))?;
        let mut page = vcpu.get_lapic().map_err(failed("reading its LAPIC"))?;
        write(&mut page.regs, 0, &CANARY_SIGNATURE);
        write(
            &mut page.regs,
            probe_common::regs::APIC_LDR as usize,
            &LDR.to_le_bytes(),
        );
        write(
            &mut page.regs,
            probe_common::regs::APIC_SVR as usize,
            &SVR.to_le_bytes(),
        );
        vcpu.set_lapic(&page).map_err(failed("setting its LAPIC"))?;
        Ok(Self { _vcpu: vcpu, _vm: vm })
    }
}

fn write(page: &mut [std::ffi::c_char], at: usize, bytes: &[u8]) {
    for (to, &byte) in page[at..].iter_mut().zip(bytes) {
        *to = byte.cast_signed();
    }
}

/// Makes the canary, expects each of its steps as an event and its registers in a copy, and ends it. Events
/// of other VMs that arrive meanwhile are kept in `others`. Returns the map rules as shown by KVM's map for a
/// software-disabled APIC with an LDR.
///
/// On a host where guests fill the ring at the same time the canary's events may be among those that find no
/// room: then it is tried again, and only a canary that is missed without any loss proves the hooks deaf.
///
/// # Errors
///
/// Where the canary cannot be made, or was not seen, or not as it was made.
pub(super) fn prove(
    probe: &mut Probe,
    map_mode: MapModeKind,
    precise: bool,
    others: &mut Vec<Decoded>,
) -> Result<MapRules, Obstacle> {
    let mut attempt = 1;
    loop {
        let before = losses(probe)?;
        match prove_once(probe, map_mode, precise, others) {
            Err(Obstacle::Deaf { .. }) if attempt < ATTEMPTS && losses(probe)? > before => {
                // After a loss every VM is looked for and read anyway.
                others.clear();
                attempt += 1;
            }
            proved => return proved,
        }
    }
}

fn prove_once(
    probe: &mut Probe,
    map_mode: MapModeKind,
    precise: bool,
    others: &mut Vec<Decoded>,
) -> Result<MapRules, Obstacle> {
    let mut seen = Vec::new();
    // What guests sent before leaves its room to the canary.
    drain(probe, &mut seen);
    let canary = Canary::create()?;
    drain(probe, &mut seen);
    let map_rules = seen_made(probe, map_mode, precise, &seen);
    drop(canary);
    drain(probe, &mut seen);
    let generation = birth(&seen).and_then(|born| born.generation);
    let of_canary = |event: &Decoded| event.generation.is_some() && event.generation == generation;
    let ended = seen
        .iter()
        .any(|event| of_canary(event) && event.kind == Kind::VmGone);
    others.extend(seen.into_iter().filter(|event| !of_canary(event)));
    let map_rules = map_rules?;
    if ended {
        Ok(map_rules)
    } else {
        Err(deaf("the test VM's end was not seen"))
    }
}

/// What of the canary must have been seen while it lives.
fn seen_made(
    probe: &mut Probe,
    map_mode: MapModeKind,
    precise: bool,
    seen: &[Decoded],
) -> Result<MapRules, Obstacle> {
    let born = birth(seen).ok_or_else(|| deaf("the test VM's creation was not seen"))?;
    let of_canary = |event: &&Decoded| event.generation == born.generation;
    let expect = |what: &str, is: fn(Kind) -> bool| {
        let came = seen.iter().filter(of_canary).any(|event| is(event.kind));
        came.then_some(())
            .ok_or_else(|| deaf(&format!("the test VM was made, but {what} was not seen")))
    };
    expect("its vCPU's creation", |kind| matches!(kind, Kind::VcpuBorn))?;
    if probe.has(LAPIC_RESET) {
        expect("its vCPU's reset", |kind| {
            matches!(kind, Kind::Entered(EnteredRoute::Reset))
        })?;
    }
    if probe.has(SET_LAPIC) {
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
    let copy = probe
        .copier
        .vm(born.kvm, 0, 0, Adopt::No)
        .map_err(|error| Obstacle::Internal {
            doing: "copying the test VM",
            source: error.into(),
        })?;
    check(&copy, map_mode)
}

/// The birth of the latest VM that this process made.
fn birth(seen: &[Decoded]) -> Option<&Decoded> {
    let own = |event: &&Decoded| {
        event.kind == Kind::VmBorn && event.tgid == process::id() && event.generation.is_some()
    };
    seen.iter().rev().find(own)
}

/// Everything that waits; of guests that never pause, as much as comes in this many batches.
fn drain(probe: &mut Probe, seen: &mut Vec<Decoded>) {
    const BATCHES: usize = 16;
    for _ in 0..BATCHES {
        if !probe.ring.drain(BATCH, seen) {
            break;
        }
    }
}

fn losses(probe: &Probe) -> Result<u64, Obstacle> {
    probe.counters.dropped().map_err(|error| Obstacle::Internal {
        doing: "reading the count of lost events",
        source: error.into(),
    })
}

fn deaf(what: &str) -> Obstacle {
    Obstacle::Deaf {
        what: what.to_owned(),
    }
}

/// Compares the copy with what was made, and reads the map rules off KVM's map.
fn check(copy: &VmCopy, map_mode: MapModeKind) -> Result<MapRules, Obstacle> {
    let vcpu = &copy.vcpus[0];
    let whole =
        copy.made == 1 && copy.failed == 0 && copy.before.online_vcpus == 1 && copy.before.linked == 1;
    if !whole || !vcpu.is_sound() || !vcpu.is_canary() {
        return Err(deaf("the test VM could not be read back"));
    }
    let read = (vcpu.vcpu_id, vcpu.regs.ldr, vcpu.regs.svr, vcpu.regs.sw_enabled);
    if read != (0, LDR, SVR, 0) {
        return Err(deaf(&format!(
            "the test VM's registers read back wrong: LDR {:#010x} and SVR {:#x} where {LDR:#010x} and {SVR:#x} were set",
            read.1, read.2
        )));
    }
    if copy.physical[0] != vcpu.lapic {
        return Err(deaf("the test VM's map does not hold its only vCPU"));
    }
    let entered = copy.slots[2] == vcpu.lapic;
    match (map_mode, entered) {
        (MapModeKind::Enum, false) => Ok(MapRules::ConflictDisables),
        (MapModeKind::Bits, false) => Ok(MapRules::Overwrite),
        (MapModeKind::Bits, true) => Ok(MapRules::KeepDisabled),
        (MapModeKind::Enum, true) => Err(deaf("the test VM's map follows no rules that ldrscope knows")),
    }
}
