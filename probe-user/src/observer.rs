//! The observer: a running host as a stream of reports, ready for the analysis.
//!
//! Hooks first, then the scan of VMs that exist already, then both are one stream. Events only say that a
//! VM changed; its state is read off the guest's path, once for all events that wait. After any loss every
//! VM is read again. Canaries, this copy's or another's, are kept out.

mod aims;
mod canary;
mod census;
mod ingest;
mod interrupts;
pub mod opening;
pub mod reading;
mod registry;
mod routes;
mod sample;

use std::{
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use probe_apic::{
    id::{BootTime, VmId},
    observation::Observation,
};
use probe_common::decode::Decoded;

use self::interrupts::Windows;
use self::opening::Purpose;
pub use self::opening::{HookSet, HostFacts, ObserverOptions};
use self::registry::Registry;
use crate::{
    bpf::{
        access::{Access, ProgramRuns},
        attachment::Attachment,
        window::{Adopt, Copies as _},
    },
    clock,
    kernel::{
        layout::Encoding,
        obstacle::{Obstacle, Source},
    },
};

/// What the observer reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// For the analysis.
    Observation(Observation),
    /// The process that owns a VM.
    Process {
        /// The VM.
        vm: VmId,
        /// The owner's process id.
        pid: u32,
        /// Tells apart the VMs of one process; goes into ids only, never shown.
        discriminator: String,
    },
    /// Ring records lost since the last report.
    Dropped {
        /// How many.
        records: u64,
    },
    /// Interrupts that were to be counted and were not, since the last report.
    Uncounted {
        /// How many.
        interrupts: u64,
    },
}

/// What is left to take in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// Nothing.
    None,
    /// More may wait already: drain again before sleeping.
    More,
    /// A VM was changing while it was read, or is still being created. An event will come; where it does not,
    /// drain again at this time.
    Retry(BootTime),
}

/// Events taken from the ring before the VMs they name are read.
const BATCH: usize = 2048;
/// Between two questions of how often programs did not run, in nanoseconds.
const ACCOUNT_EVERY: u64 = 250_000_000;
/// Walks of KVM's list before a list that changes all the time is taken as far as it was read.
const WALKS: u32 = 50;

/// A host being observed.
pub struct Observer {
    access: Access,
    /// Where it is this process that keeps the kernel side attached.
    attachment: Option<Attachment>,
    facts: HostFacts,
    registry: Registry,
    /// Kept for its capacity; in the beginning the events that arrived while the canary was being watched.
    events: Vec<Decoded>,
    /// The last drain stopped at its limit.
    more: bool,
    counts: Counts,
    /// When to ask next how often programs did not run.
    next_account: BootTime,
    /// Of the counts of interrupts.
    windows: Windows,
}

/// What an observer has done and missed since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records taken from the ring.
    pub records: u64,
    /// Records that found no room in it.
    pub dropped: u64,
    /// Runs that a hook's program missed, as far as the kernel counts them.
    pub missed: u64,
    /// Records that the kernel side left out, for a read of the VM was due anyway.
    pub skipped: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// VMs that the kernel side has no room for.
    pub untracked: u64,
    /// Walks of KVM's list of VMs.
    pub scans: u64,
    /// Reads of a VM.
    pub reads: u64,
}

impl Counts {
    /// Those of two observers, one after the other.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            dropped: self.dropped + other.dropped,
            missed: self.missed + other.missed,
            skipped: self.skipped + other.skipped,
            undecodable: self.undecodable + other.undecodable,
            untracked: self.untracked + other.untracked,
            scans: self.scans + other.scans,
            reads: self.reads + other.reads,
        }
    }
}

impl Observer {
    /// Opens the kernel side in this process and observes it; see [`opening::open`]. The VMs that exist are reported
    /// by the first [`Self::drain`].
    ///
    /// # Errors
    ///
    /// The [`Obstacle`] that stands in the way.
    pub fn open(options: &ObserverOptions) -> Result<Self, Obstacle> {
        let opened = opening::open(options, Purpose::Look)?;
        Ok(Self {
            events: opened.early,
            attachment: Some(opened.attachment),
            ..Self::over(opened.access, opened.facts, opened.encoding)
        })
    }

    /// Observes a kernel side that another process keeps attached.
    #[must_use]
    pub fn over(access: Access, facts: HostFacts, encoding: Encoding) -> Self {
        Self {
            access,
            attachment: None,
            facts,
            registry: Registry::new(encoding),
            events: Vec::new(),
            more: false,
            counts: Counts::default(),
            next_account: BootTime(0),
            windows: Windows::default(),
        }
    }

    /// What was found out about the host.
    #[must_use]
    pub const fn facts(&self) -> &HostFacts {
        &self.facts
    }

    /// What was done and missed so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether any VM is there, in this or another process, a canary included.
    #[must_use]
    pub fn has_vms(&self) -> bool {
        self.registry.has_vms()
    }

    /// The programs that now stand in for the hooks' own.
    pub fn stand_in(&mut self, programs: Vec<(&'static str, OwnedFd)>) {
        self.access.stand_in(programs);
    }

    /// What the kernel's statistics say of each hook's program.
    #[must_use]
    pub fn program_runs(&self) -> Vec<ProgramRuns> {
        self.access.runs()
    }

    /// Readable when events wait.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.access.ring.as_fd()
    }

    /// Everything that waits, and the reads it makes necessary. Never blocks.
    ///
    /// # Errors
    ///
    /// Where the kernel no longer lets itself be read.
    pub fn drain(&mut self, out: &mut Vec<Report>) -> Result<(), Obstacle> {
        // Before the ring: what is taken is older than all that waits there by now.
        self.windows.turn_if_due(&mut self.access, clock::now());
        let mut events = std::mem::take(&mut self.events);
        self.more = self.access.ring.drain(BATCH, &mut events);
        self.counts.records += events.len() as u64;
        if let Some(attachment) = &mut self.attachment {
            attachment.flush_log();
        }
        self.note_losses(out);
        for event in events.drain(..) {
            ingest::log_detail(&event);
            self.registry.take_event(&event, out);
        }
        self.events = events;
        if self.registry.needs_scan() && self.scan(out)? {
            self.registry.scanned();
        }
        for (kvm, vm) in self.registry.stale(clock::now()) {
            self.read_again(kvm, vm, out)?;
        }
        if !self.more {
            let known = |vm| self.registry.address(vm).is_some();
            self.windows.report(known, out);
        }
        Ok(())
    }

    /// Whether interrupts are counted.
    #[must_use]
    pub const fn counts_interrupts(&self) -> bool {
        self.access.interrupts.is_some()
    }

    /// When to [drain](Self::drain) next for the counts of interrupts alone, where there are VMs that may have sent any.
    #[must_use]
    pub fn next_window(&self) -> Option<BootTime> {
        let counts = self.counts_interrupts() && self.has_vms();
        counts.then(|| self.windows.next_due())
    }

    /// Counts the interrupts of this VM alone; of all without one.
    pub fn count_only(&mut self, vm: Option<VmId>) {
        let kvm = vm.and_then(|vm| self.registry.address(vm)).unwrap_or(0);
        if let Some(counter) = &mut self.access.interrupts {
            counter.count_only(kvm);
        }
    }

    /// What the last [`Self::drain`] or [`Self::refresh`] left.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        match self.registry.retry_at(clock::now()) {
            _ if self.more || self.registry.needs_scan() => Backlog::More,
            Some(retry_at) => Backlog::Retry(retry_at),
            None => Backlog::None,
        }
    }

    /// Reads one VM again, now.
    ///
    /// # Errors
    ///
    /// Where the kernel no longer lets itself be read.
    pub fn refresh(&mut self, vm: VmId, out: &mut Vec<Report>) -> Result<(), Obstacle> {
        match self.registry.address(vm) {
            Some(kvm) => self.read_again(kvm, vm, out),
            None => Ok(()),
        }
    }

    /// After any loss nothing that is known can be trusted, births and ends included.
    fn note_losses(&mut self, out: &mut Vec<Report>) {
        let counts = self.access.counters.read();
        let undecodable = self.access.ring.undecodable();
        let missed = self.missed_runs();
        let lost = (counts.dropped - self.counts.dropped)
            + (undecodable - self.counts.undecodable)
            + missed.saturating_sub(self.counts.missed);
        self.counts.dropped = counts.dropped;
        self.counts.skipped = counts.skipped;
        self.counts.undecodable = undecodable;
        self.counts.missed = missed;
        if lost > 0 {
            out.push(Report::Dropped { records: lost });
            self.registry.doubt_all(clock::now());
        }
        if counts.untracked > self.counts.untracked {
            log::error!(
                "{} VMs are not observed: there are more VMs than ldrscope keeps track of",
                counts.untracked
            );
            self.counts.untracked = counts.untracked;
        }
    }

    /// Asked of the kernel program by program, and so now and then only.
    fn missed_runs(&mut self) -> u64 {
        let now = clock::now();
        if now < self.next_account {
            return self.counts.missed;
        }
        self.next_account = now.plus(ACCOUNT_EVERY);
        self.access.missed_runs()
    }

    /// Walks KVM's list and enters every VM that is not known. False where the list would not hold still.
    fn scan(&mut self, out: &mut Vec<Report>) -> Result<bool, Obstacle> {
        for _ in 0..WALKS {
            self.counts.scans += 1;
            let mut node = 0;
            let torn = loop {
                let list = self.access.copier.list(node).map_err(unreadable)?;
                for &kvm in &list.vms[..list.count as usize] {
                    self.adopt(kvm, out)?;
                }
                node = list.next;
                if list.torn != 0 || node == 0 {
                    break list.torn != 0;
                }
            };
            if !torn {
                return Ok(true);
            }
        }
        log::debug!("KVM's list of VMs changed during every one of {WALKS} walks; it is walked again");
        Ok(false)
    }

    fn adopt(&mut self, kvm: u64, out: &mut Vec<Report>) -> Result<(), Obstacle> {
        // Taken before the read: what happens while it runs may or may not be in it.
        let now = clock::now();
        let copy = self.access.copier.vm(kvm, 0, 0, Adopt::Yes).map_err(unreadable)?;
        let vm = VmId(copy.before.generation);
        if copy.made == 1 && !self.registry.knows(kvm, vm) {
            // Whose it is matters of a VM that may be a canary, and a canary has no more than its one vCPU.
            let owner = self
                .registry
                .owner(&copy)
                .filter(|_| copy.before.online_vcpus <= 1);
            let comm = owner.map(comm_of).unwrap_or_default();
            self.registry.found(kvm, vm, &comm, now, out);
            // The copy that gave it its number is the first half of reading it; what it shows torn is read again.
            self.counts.reads += 1;
            let reading = reading::read_on(&mut self.access.copier, kvm, copy).map_err(unreadable)?;
            if let Some(reading) = reading.filter(|reading| reading.steady) {
                self.registry.take_reading(kvm, vm, reading, now, out);
            }
        }
        Ok(())
    }

    fn read_again(&mut self, kvm: u64, vm: VmId, out: &mut Vec<Report>) -> Result<(), Obstacle> {
        // Taken before the read: what happens while it runs may or may not be in it.
        let now = clock::now();
        self.counts.reads += 1;
        let reading = reading::read(&mut self.access.copier, kvm, vm.0);
        match reading.map_err(unreadable)? {
            None => self.registry.end(kvm, vm, now, out),
            Some(reading) => self.registry.take_reading(kvm, vm, reading, now, out),
        }
        Ok(())
    }
}

/// The name of a process; empty where it is gone.
fn comm_of(pid: u32) -> String {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
    comm.map_or_else(|_| String::new(), |comm| comm.trim_end().to_owned())
}

/// The kernel no longer lets itself be read.
fn unreadable(source: impl Into<Source>) -> Obstacle {
    Obstacle::Internal {
        doing: "reading the kernel's state",
        source: source.into(),
    }
}
