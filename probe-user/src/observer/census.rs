//! Which VMs exist, what became known of each, and which of them must be read (again).
//!
//! Keyed by the address of `struct kvm`, always together with the birth number: kernels reuse addresses.

use std::collections::{BTreeMap, BTreeSet};

use probe_apic::{
    id::{BootTime, VmId},
    observation::Origin,
};

/// How soon a VM that was changing while it was read is read again, in nanoseconds.
const TORN_RETRY_NS: u64 = 2_000_000;
/// How long a VM that was born may take to appear on KVM's list, in nanoseconds.
pub(super) const LISTING_GRACE_NS: u64 = 1_000_000_000;

/// How long a VM whose maker is called as ldrscope is may go without a canary's signature, in nanoseconds: a canary gets its
/// own within milliseconds, on a busy emulated host within a second.
const HOLDING_NS: u64 = 10_000_000_000;

/// One VM on the host.
#[derive(Debug)]
pub(super) struct Resident {
    /// Its identity.
    pub(super) vm: VmId,
    /// When it was born or found.
    pub(super) at: BootTime,
    /// How it became known.
    pub(super) origin: Origin,
    /// Whether it was ever seen on KVM's list; a creation that failed never is.
    pub(super) listed: bool,
    /// What is to be said of it.
    pub(super) standing: Standing,
    /// The process last reported as its owner.
    pub(super) owner: Option<u32>,
    /// Its name in debugfs, empty while not known.
    pub(super) name: String,
    /// Since when every read of it was torn.
    pub(super) torn_since: Option<BootTime>,
    /// Events of it that the kernel side has left out.
    pub(super) skipped: u64,
    /// The event for which it must be read; `None` if what is known is up to date.
    pub(super) stale_since: Option<BootTime>,
}

impl Resident {
    /// A VM of which nothing was read yet.
    pub(super) const fn new(vm: VmId, at: BootTime, origin: Origin, standing: Standing) -> Self {
        Self {
            vm,
            at,
            origin,
            listed: false,
            standing,
            owner: None,
            name: String::new(),
            torn_since: None,
            skipped: 0,
            stale_since: Some(at),
        }
    }

    /// It was held back for so long that it is no canary.
    pub(super) fn held_long(&self, now: BootTime) -> bool {
        self.standing == Standing::HeldBack && now.since(self.at) > HOLDING_NS
    }

    /// Whether it must be read, or looked at again.
    fn is_waiting(&self) -> bool {
        self.stale_since.is_some() || self.torn_since.is_some() || self.standing == Standing::HeldBack
    }
}

/// The process name of every copy of ldrscope.
const OWN_NAME: &str = "ldrscope";

/// What is to be said of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Made by an ldrscope: held back until its LAPIC shows whether it is a canary.
    HeldBack,
    /// Reported.
    Reported,
    /// A canary: never reported.
    Canary,
}

impl Standing {
    /// What is to be said of a VM made by a process of that name, before its LAPIC was read.
    pub(super) fn of_owner(comm: &str) -> Self {
        if comm == OWN_NAME {
            Self::HeldBack
        } else {
            Self::Reported
        }
    }
}

/// All VMs on the host.
#[derive(Debug, Default)]
pub(super) struct Census {
    residents: BTreeMap<u64, Resident>,
    addresses: BTreeMap<VmId, u64>,
    /// The addresses of VMs that may be waiting: every one that is. A host's quiet VMs cost nothing.
    awake: BTreeSet<u64>,
}

impl Census {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.residents.is_empty()
    }

    /// The VM at that address, if it is still that VM.
    pub(super) fn get(&mut self, kvm: u64, vm: VmId) -> Option<&mut Resident> {
        let resident = self
            .residents
            .get_mut(&kvm)
            .filter(|resident| resident.vm == vm)?;
        self.awake.insert(kvm);
        Some(resident)
    }

    /// Whether that VM is at that address.
    pub(super) fn knows(&self, kvm: u64, vm: VmId) -> bool {
        self.residents.get(&kvm).is_some_and(|resident| resident.vm == vm)
    }

    /// Enters a VM; returns another one that had the address before and whose end was not seen.
    pub(super) fn enter(&mut self, kvm: u64, resident: Resident) -> Option<Resident> {
        self.awake.insert(kvm);
        let vm = resident.vm;
        let before = self.residents.insert(kvm, resident);
        if let Some(before) = &before {
            self.addresses.remove(&before.vm);
        }
        self.addresses.insert(vm, kvm);
        before
    }

    /// Takes a VM out, if it is still that VM.
    pub(super) fn leave(&mut self, kvm: u64, vm: VmId) -> Option<Resident> {
        if !self.knows(kvm, vm) {
            return None;
        }
        self.addresses.remove(&vm);
        self.awake.remove(&kvm);
        self.residents.remove(&kvm)
    }

    /// The address of a VM.
    pub(super) fn address(&self, vm: VmId) -> Option<u64> {
        self.addresses.get(&vm).copied()
    }

    /// Marks every VM as to be read.
    pub(super) fn doubt_all(&mut self, at: BootTime) {
        for (&kvm, resident) in &mut self.residents {
            resident.stale_since.get_or_insert(at);
            self.awake.insert(kvm);
        }
    }

    /// When to read again even if no event comes: soon where a read was torn, and where a VM that was born is
    /// still not listed, when it can be given up. `now` is the present.
    pub(super) fn retry_at(&self, now: BootTime) -> Option<BootTime> {
        let retry_at = |resident: &Resident| match resident {
            Resident {
                torn_since: Some(_), ..
            } => Some(now.plus(TORN_RETRY_NS)),
            Resident {
                listed: false,
                stale_since: Some(_),
                at,
                ..
            } => Some(at.plus(LISTING_GRACE_NS + 1)),
            Resident {
                standing: Standing::HeldBack,
                at,
                ..
            } => Some(at.plus(HOLDING_NS + 1)),
            _ => None,
        };
        self.awake()
            .map(|(_, resident)| resident)
            .filter_map(retry_at)
            .min()
    }

    /// VMs that must be read.
    pub(super) fn stale(&mut self, now: BootTime) -> Vec<(u64, VmId)> {
        let residents = &self.residents;
        self.awake
            .retain(|kvm| residents.get(kvm).is_some_and(Resident::is_waiting));
        let is_stale = |resident: &Resident| resident.stale_since.is_some() || resident.held_long(now);
        let stale = self.awake().filter(|(_, resident)| is_stale(resident));
        stale.map(|(kvm, resident)| (kvm, resident.vm)).collect()
    }

    fn awake(&self) -> impl Iterator<Item = (u64, &Resident)> {
        let awake = self.awake.iter();
        awake.filter_map(|&kvm| Some((kvm, self.residents.get(&kvm)?)))
    }
}
