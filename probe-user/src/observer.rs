//! The observer: a running host as a stream of reports, ready for the analysis.
//!
//! Hooks first, then the scan of VMs that exist already, then both are one stream. Events only say that a
//! VM changed; its state is read off the guest's path, once for all events that wait. After any loss every
//! VM is read again. Canaries, this copy's or another's, are kept out.

mod aims;
mod canary;
mod census;
mod ingest;
pub mod reading;
mod registry;
mod routes;
mod sample;

use std::{
    fs,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
};

use probe_apic::{
    id::{BootTime, VmId},
    map_rules::MapRules,
    observation::Observation,
};
use probe_common::decode::Decoded;

use self::registry::Registry;
use crate::{
    bpf::{
        probe::{Probe, ProbeOptions},
        window::{Adopt, Copies as _},
    },
    clock,
    kernel::{
        obstacle::{Obstacle, Source},
        preflight,
        support::KernelSupport,
        symbols::Symbols,
        types,
    },
};

/// Which functions of KVM are hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookSet {
    /// Completed recalculations and cold entry points only.
    Cold,
    /// Every single register write as well.
    Precise,
    /// `Precise` where APICv/AVIC keeps those functions quiet, else `Cold`.
    Auto,
}

impl HookSet {
    /// With APICv or AVIC the functions of the precise hooks are quiet: hardware handles EOI, TPR and most
    /// ICR writes.
    fn wants_precise(self, support: &KernelSupport) -> bool {
        match self {
            Self::Cold => false,
            Self::Precise => true,
            Self::Auto => support.apic_virtualization == Some(true),
        }
    }
}

/// How to observe.
#[derive(Clone, Debug)]
pub struct ObserverOptions {
    /// The hook set.
    pub hooks: HookSet,
    /// Whether to prove the hooks with a canary VM.
    pub canary: bool,
    /// Size of the ring buffer in bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Whether the kernel side logs.
    pub bpf_log: bool,
    /// A BTF file to use in place of the kvm module's own.
    pub btf: Option<PathBuf>,
}

/// What the observer found out about the host.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// The kernel's release string.
    pub kernel: String,
    /// `amd`, `intel` or `unknown`.
    pub kvm_vendor: String,
    /// The map rules that the kernel's types and the canary leave, likeliest first; the published maps of VMs may
    /// leave fewer ([`probe_apic::host::Host::map_rules`]).
    pub possible_rules: Vec<MapRules>,
    /// Whether the canary has shown them to hold.
    pub rules_proven: bool,
    /// The hook set as chosen: `cold` or `precise`.
    pub hooks: &'static str,
    /// Whether KVM picks one of several lowest-priority targets by the vector; `None` where it does not say.
    pub vector_hashing: Option<bool>,
}

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
const BATCH: usize = 16_384;
/// Walks of KVM's list before a list that changes all the time is taken as far as it was read.
const WALKS: u32 = 50;

/// A host being observed.
pub struct Observer {
    probe: Probe,
    facts: HostFacts,
    registry: Registry,
    /// Events that arrived while the canary was being watched.
    early: Vec<Decoded>,
    /// The last drain stopped at its limit.
    more: bool,
    dropped: u64,
    undecodable: u64,
    untracked: u64,
}

impl Observer {
    /// Checks the host, loads and attaches the kernel side, and proves it with a canary. The VMs that exist
    /// are reported by the first [`Self::drain`].
    ///
    /// # Errors
    ///
    /// The [`Obstacle`] that stands in the way.
    pub fn open(options: &ObserverOptions) -> Result<Self, Obstacle> {
        let support = KernelSupport::probe();
        preflight::check(&support, options.btf.is_some())?;
        let symbols = Symbols::read()
            .map_err(|error| Obstacle::internal("reading the kernel's list of symbols", error))?;
        let mut resolved = types::resolve(options.btf.as_deref(), &support.release)?;
        if let Some(build) = resolved.known_build.filter(|_| !options.canary) {
            return Err(Obstacle::Unproven { build: build.name });
        }
        symbols.locate(&mut resolved.layout)?;
        let precise = options.hooks.wants_precise(&support);
        let probe_options = ProbeOptions {
            ring_bytes: options.ring_bytes,
            precise,
            log: options.bpf_log,
        };
        let mut probe = Probe::load(probe_options, &resolved.layout, &symbols)
            .map_err(|obstacle| preflight::explain(obstacle, &support))?;
        let mut early = Vec::new();
        let possible_rules = if options.canary {
            canary::prove(&mut probe, &resolved, precise, &mut early)?
        } else {
            resolved.encoding.map_mode.possible_rules().to_vec()
        };
        if possible_rules.is_empty() {
            log::warn!(
                "KVM's maps of the test VM follow no map rules that ldrscope knows: it shows registers and published maps, and judges by \
                 those alone"
            );
        }
        let facts = HostFacts {
            kernel: support.release,
            kvm_vendor: support.vendor.name().to_owned(),
            possible_rules,
            rules_proven: options.canary,
            hooks: if precise { "precise" } else { "cold" },
            vector_hashing: support.vector_hashing,
        };
        Ok(Self {
            probe,
            facts,
            registry: Registry::new(resolved.encoding),
            early,
            more: false,
            dropped: 0,
            undecodable: 0,
            untracked: 0,
        })
    }

    /// What was found out about the host.
    #[must_use]
    pub const fn facts(&self) -> &HostFacts {
        &self.facts
    }

    /// Readable when events wait.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.probe.ring.as_fd()
    }

    /// Everything that waits, and the reads it makes necessary. Never blocks.
    ///
    /// # Errors
    ///
    /// Where the kernel no longer lets itself be read.
    pub fn drain(&mut self, out: &mut Vec<Report>) -> Result<(), Obstacle> {
        let mut events = std::mem::take(&mut self.early);
        self.more = self.probe.ring.drain(BATCH, &mut events);
        self.probe.flush_log();
        self.note_losses(out)?;
        for event in &events {
            ingest::log_detail(event);
            self.registry.take_event(event, out);
        }
        if self.registry.needs_scan() && self.scan(out)? {
            self.registry.scanned();
        }
        for (kvm, vm) in self.registry.stale() {
            self.read_again(kvm, vm, out)?;
        }
        Ok(())
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
    fn note_losses(&mut self, out: &mut Vec<Report>) -> Result<(), Obstacle> {
        let dropped = self.probe.counters.dropped().map_err(unreadable)?;
        let undecodable = self.probe.ring.undecodable();
        let lost = (dropped - self.dropped) + (undecodable - self.undecodable);
        (self.dropped, self.undecodable) = (dropped, undecodable);
        if lost > 0 {
            out.push(Report::Dropped { records: lost });
            self.registry.doubt_all(clock::now());
        }
        let untracked = self.probe.counters.untracked().map_err(unreadable)?;
        if untracked > self.untracked {
            log::error!(
                "{} VMs are not observed: there are more VMs than ldrscope keeps track of",
                untracked
            );
            self.untracked = untracked;
        }
        Ok(())
    }

    /// Walks KVM's list and enters every VM that is not known. False where the list would not hold still.
    fn scan(&mut self, out: &mut Vec<Report>) -> Result<bool, Obstacle> {
        for _ in 0..WALKS {
            let mut node = 0;
            let torn = loop {
                let list = self.probe.copier.list(node).map_err(unreadable)?;
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
        let copy = self.probe.copier.vm(kvm, 0, 0, Adopt::Yes).map_err(unreadable)?;
        if copy.made == 1 && !self.registry.knows(kvm, VmId(copy.before.generation)) {
            let vm = VmId(copy.before.generation);
            let owner = reading::owner(&copy).unwrap_or(copy.creator_tid);
            self.registry.found(kvm, vm, &comm_of(owner), clock::now(), out);
        }
        Ok(())
    }

    fn read_again(&mut self, kvm: u64, vm: VmId, out: &mut Vec<Report>) -> Result<(), Obstacle> {
        // Taken before the read: what happens while it runs may or may not be in it.
        let now = clock::now();
        let reading = reading::read(&mut self.probe.copier, kvm, vm.0);
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
