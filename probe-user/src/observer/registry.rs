//! What is said of the VMs on a host: births, ends, touches and samples in an order that holds.
//!
//! Takes events and readings in and puts reports out; reads nothing itself. A VM is reported before anything
//! about it is, and never again after its end. Canaries are never reported.

use probe_apic::{
    comm::Comm,
    id::{BootTime, VmId},
    observation::{Observation, Origin, VmGone, VmSeen},
};
use probe_common::{
    decode::{Decoded, Kind},
    window::VmCopy,
};

use super::{
    Report,
    census::{Census, LISTING_GRACE_NS, Resident, Standing},
    ingest,
    reading::Reading,
};
use crate::kernel::layout::Encoding;

#[cfg(test)]
mod tests;

/// How long a VM may keep changing while it is read before it is reported as torn, in nanoseconds.
const TORN_GRACE_NS: u64 = 20_000_000;

/// The VMs on a host, and what was said of them.
pub(super) struct Registry {
    census: Census,
    encoding: Encoding,
    /// KVM's list of VMs must be walked: something names a VM that is not known.
    list_is_stale: bool,
}

impl Registry {
    /// A host of which nothing is known yet.
    pub(super) fn new(encoding: Encoding) -> Self {
        Self {
            census: Census::default(),
            encoding,
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
    pub(super) fn knows(&self, kvm: u64, vm: VmId) -> bool {
        self.census.knows(kvm, vm)
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
    pub(super) fn stale(&mut self, now: BootTime) -> Vec<(u64, VmId)> {
        self.census.stale(now)
    }

    /// The process that owns a VM; see [`owner`].
    pub(super) fn owner(&self, copy: &VmCopy) -> Option<u32> {
        owner(copy, &self.encoding)
    }

    /// When to read again even if no event comes.
    pub(super) fn retry_at(&self, now: BootTime) -> Option<BootTime> {
        self.census.retry_at(now)
    }

    /// Whether any VM is known.
    pub(super) fn has_vms(&self) -> bool {
        !self.census.is_empty()
    }

    /// The address of a VM.
    pub(super) fn address(&self, vm: VmId) -> Option<u64> {
        self.census.address(vm)
    }

    /// Events were lost: every VM must be read again, and births and ends looked for.
    pub(super) fn doubt_all(&mut self, at: BootTime) {
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
        if !self.census.knows(event.kvm, vm) {
            if event.kind != Kind::VmBorn {
                // Its birth was lost, or came before an end that was reported: reading it will tell.
                self.list_is_stale = true;
                return;
            }
            let standing = Standing::of_owner(&Comm::new(event.comm).text());
            let owner = (standing == Standing::Reported).then_some(event.tgid);
            let resident = Resident {
                owner,
                ..Resident::new(vm, at, Origin::Birth, standing)
            };
            self.enter(event.kvm, resident, out);
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
        let said: Vec<Report> = match (resident.standing, resident.owner) {
            (Standing::Reported, Some(owner)) => vec![seen(&resident), process(&resident, owner)],
            (Standing::Reported, None) => vec![seen(&resident)],
            _ => Vec::new(),
        };
        let at = resident.at;
        if let Some(before) = self.census.enter(kvm, resident) {
            report_end(&before, at, out);
        }
        out.extend(said);
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
        let Some(resident) = self.census.get(kvm, vm) else {
            return;
        };
        if reading.linked() {
            resident.listed = true;
        } else if resident.listed || now.since(resident.at) > LISTING_GRACE_NS {
            // It ended, or its creation failed: the event of its end may never come.
            self.end(kvm, vm, now, out);
            return;
        } else {
            // Still being created: it has no vCPU yet.
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
        if reading.canary() && resident.standing != Standing::Canary {
            report_end(resident, now, out);
            resident.standing = Standing::Canary;
        }
        if resident.standing == Standing::HeldBack && (reading.vcpus.len() > 1 || resident.held_long(now)) {
            resident.standing = Standing::Reported;
            out.push(seen(resident));
        }
        if resident.standing != Standing::Reported {
            return;
        }
        // A VM that is being torn down loses its name and its owner: what was known of it stays.
        let owner = owner(&reading.copy, &self.encoding).or(resident.owner);
        let name = reading.debugfs_name();
        let named_now = resident.name.is_empty() && !name.is_empty();
        if named_now {
            resident.name = name;
        }
        if let Some(owner) = owner
            && (named_now || resident.owner != Some(owner))
        {
            resident.owner = Some(owner);
            out.push(process(resident, owner));
        }
        if resident.skipped != reading.skipped() {
            resident.skipped = reading.skipped();
            out.push(Report::Observation(Observation::Skipped(vm)));
        }
        out.push(Report::Observation(Observation::Sample(reading.into_sample(
            now,
            trigger,
            &self.encoding,
        ))));
    }
}

/// The process that owns a VM's memory. The thread that created it stands in only where this kernel does not tell the
/// owner: of a process that is gone, the thread's id may be another's by now.
fn owner(copy: &VmCopy, encoding: &Encoding) -> Option<u32> {
    if encoding.tells_owner {
        (copy.owner_tgid != 0).then_some(copy.owner_tgid)
    } else {
        Some(copy.creator_tid)
    }
}

/// What identifies a VM. One without a name in debugfs (yet, or because there is no debugfs) is told apart by its
/// birth number.
fn process(resident: &Resident, pid: u32) -> Report {
    let vm = resident.vm;
    let discriminator = if resident.name.is_empty() {
        format!("#{}", vm.0)
    } else {
        resident.name.clone()
    };
    Report::Process {
        vm,
        pid,
        discriminator,
    }
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
