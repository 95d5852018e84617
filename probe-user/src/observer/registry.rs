//! What is said of the VMs on a host: births, ends, touches and samples in an order that holds.
//!
//! Takes events and readings in and puts reports out; reads nothing itself. A VM is reported before anything
//! about it is, and never again after its end. Canaries are never reported.

use probe_apic::{
    id::{BootTime, VmId},
    observation::{Lost, Observation, Origin, VmGone, VmSeen},
};
use probe_common::decode::{Decoded, Kind};

use super::{
    Report,
    census::{Census, Resident, Standing},
    ingest,
    reading::Reading,
};
use crate::kernel::layout::MapModeKind;

#[cfg(test)]
mod tests;

/// How long a VM may keep changing while it is read before it is reported as torn, in nanoseconds.
const TORN_GRACE_NS: u64 = 20_000_000;
/// How long a VM that was born may take to appear on KVM's list, in nanoseconds.
const LISTING_GRACE_NS: u64 = 1_000_000_000;

/// The VMs on a host, and what was said of them.
pub(super) struct Registry {
    census: Census,
    map_mode: MapModeKind,
    /// KVM's list of VMs must be walked: something names a VM that is not known.
    list_is_stale: bool,
}

impl Registry {
    /// A host of which nothing is known yet.
    pub(super) fn new(map_mode: MapModeKind) -> Self {
        Self {
            census: Census::default(),
            map_mode,
            list_is_stale: true,
        }
    }

    /// Whether KVM's list of VMs must be walked.
    pub(super) const fn needs_scan(&self) -> bool {
        self.list_is_stale
    }

    /// It was walked to its end.
    pub(super) const fn scanned(&mut self) {
        self.list_is_stale = false;
    }

    /// Whether that VM is known at that address.
    pub(super) fn knows(&mut self, kvm: u64, vm: VmId) -> bool {
        self.census.get(kvm, vm).is_some()
    }

    /// The scan found a VM that was not known, of a process of that name.
    pub(super) fn found(&mut self, kvm: u64, vm: VmId, comm: &str, at: BootTime, out: &mut Vec<Report>) {
        self.enter(
            kvm,
            Resident::new(vm, at, Origin::Scan, Standing::of_owner(comm)),
            out,
        );
    }

    /// VMs that must be read, by address.
    pub(super) fn stale(&self) -> Vec<(u64, VmId)> {
        self.census.stale()
    }

    /// Whether a VM waits for a read that is not torn.
    pub(super) fn any_torn(&self) -> bool {
        self.census.any_torn()
    }

    /// The address of a VM.
    pub(super) fn address(&self, vm: VmId) -> Option<u64> {
        self.census.address(vm)
    }

    /// Events were lost: nothing that is known can be trusted, births and ends included.
    pub(super) fn doubt_all(&mut self, at: BootTime, out: &mut Vec<Report>) {
        out.extend(
            self.census
                .reported()
                .map(|vm| Report::Observation(Observation::Lost(Lost { vm, at }))),
        );
        self.census.doubt_all(at);
        self.list_is_stale = true;
    }

    /// Takes an event in: births and ends at once, all else as a reason to read the VM.
    pub(super) fn take_event(&mut self, event: &Decoded, out: &mut Vec<Report>) {
        let at = BootTime(event.at);
        let Some(generation) = event.generation else {
            // The kernel side does not know this VM: the scan has not come by yet.
            self.list_is_stale = true;
            return;
        };
        let vm = VmId(generation);
        if event.kind == Kind::VmGone {
            self.end(event.kvm, vm, at, out);
            return;
        }
        if self.census.get(event.kvm, vm).is_none() {
            if event.kind != Kind::VmBorn {
                // Its birth was lost, or came before an end that was reported: reading it will tell.
                self.list_is_stale = true;
                return;
            }
            let standing = Standing::of_owner(&ingest::comm(event));
            let owner = (standing == Standing::Reported).then_some(event.tgid);
            self.enter(
                event.kvm,
                Resident {
                    owner,
                    ..Resident::new(vm, at, Origin::Birth, standing)
                },
                out,
            );
            if standing == Standing::Reported {
                out.push(process(vm, event.tgid, event.tid, unnamed(vm)));
            }
        }
        let Some(resident) = self.census.get(event.kvm, vm) else {
            return;
        };
        resident.stale_since.get_or_insert(at);
        if resident.standing == Standing::Reported
            && let Some(touched) = ingest::touched(event, vm)
        {
            out.push(Report::Observation(Observation::Touched(touched)));
        }
    }

    fn enter(&mut self, kvm: u64, resident: Resident, out: &mut Vec<Report>) {
        if let Some(before) = self.census.enter(kvm, resident) {
            report_end(&before, resident.at, out);
        }
        if resident.standing == Standing::Reported {
            out.push(seen(&resident));
        }
    }

    /// A VM is there no more.
    pub(super) fn end(&mut self, kvm: u64, vm: VmId, at: BootTime, out: &mut Vec<Report>) {
        if let Some(resident) = self.census.leave(kvm, vm) {
            report_end(&resident, at, out);
        }
    }

    /// Takes in what was read of a VM.
    pub(super) fn take_reading(
        &mut self,
        kvm: u64,
        vm: VmId,
        reading: Reading,
        now: BootTime,
        out: &mut Vec<Report>,
    ) {
        let map_mode = self.map_mode;
        let Some(resident) = self.census.get(kvm, vm) else {
            return;
        };
        if reading.linked() {
            resident.listed = true;
        } else if resident.listed || now.since(resident.at) > LISTING_GRACE_NS {
            // It ended, or its creation failed: the event of its end may never come.
            self.end(kvm, vm, now, out);
            return;
        }
        if !reading.steady {
            let torn_since = *resident.torn_since.get_or_insert(now);
            if now.since(torn_since) < TORN_GRACE_NS {
                resident.stale_since.get_or_insert(now);
                return;
            }
        }
        resident.torn_since = None;
        let trigger = resident.stale_since.take().unwrap_or(now);
        if !reading.linked() {
            resident.stale_since = Some(trigger);
        }
        if reading.canary() && resident.standing != Standing::Canary {
            report_end(resident, now, out);
            resident.standing = Standing::Canary;
        }
        if resident.standing == Standing::HeldBack && reading.vcpus.len() > 1 {
            resident.standing = Standing::Reported;
            out.push(seen(resident));
        }
        if resident.standing != Standing::Reported {
            return;
        }
        let (owner, name) = (reading.owner(), reading.debugfs_name());
        let named = !name.is_empty();
        if resident.owner != Some(owner) || resident.named != named {
            (resident.owner, resident.named) = (Some(owner), named);
            let discriminator = if named { name } else { unnamed(vm) };
            out.push(process(vm, owner, reading.creator_tid(), discriminator));
        }
        out.push(Report::Observation(Observation::Sample(
            reading.into_sample(now, trigger, map_mode),
        )));
    }
}

fn process(vm: VmId, pid: u32, creator_tid: u32, discriminator: String) -> Report {
    Report::Process {
        vm,
        pid,
        creator_tid,
        discriminator,
    }
}

/// Tells VMs of one process apart that have no name in debugfs (yet, or because there is no debugfs).
fn unnamed(vm: VmId) -> String {
    format!("#{}", vm.0)
}

fn report_end(resident: &Resident, at: BootTime, out: &mut Vec<Report>) {
    if resident.standing == Standing::Reported {
        out.push(Report::Observation(Observation::VmGone(VmGone {
            vm: resident.vm,
            at,
        })));
    }
}

fn seen(resident: &Resident) -> Report {
    let Resident { vm, at, origin, .. } = *resident;
    Report::Observation(Observation::VmSeen(VmSeen { vm, at, origin }))
}
