//! One VM read whole: as many copies as its size takes, checked against each other.
//!
//! What the copies hold in the analysis' terms is [`super::sample`]'s business.

use probe_common::window::{PHYSICAL, Route, VCPUS, Vcpu, VmCopy};

use super::routes;
use crate::bpf::window::{Adopt, Copies};

/// Reads of a VM that changes underfoot in one go.
const ATTEMPTS: usize = 4;
/// More vCPUs, or APIC IDs, than any kernel allows (`KVM_MAX_VCPU_IDS` is 16,384 at most): a torn read.
const IMPOSSIBLE: usize = 1 << 16;

/// A VM as read: its copies put together.
#[derive(Debug)]
pub struct Reading {
    /// The first copy: everything but the vCPUs and the physical map, which may take several.
    pub(super) copy: Box<VmCopy>,
    /// All vCPUs, in order of creation.
    pub(super) vcpus: Vec<Vcpu>,
    /// The physical map, from APIC ID 0 on.
    pub(super) physical: Vec<u64>,
    /// What the GSIs that lead somewhere lead to, by ascending GSI.
    pub(super) routes: Vec<Route>,
    /// Whether everything was read and nothing changed meanwhile.
    pub(super) steady: bool,
}

/// Reads the VM of that birth number, again while it changes underfoot. `None` where the address is no
/// longer that VM's.
///
/// # Errors
///
/// The first copy that could not be made.
pub fn read<C: Copies>(copies: &mut C, kvm: u64, generation: u64) -> Result<Option<Reading>, C::Error> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let first = copies.vm(kvm, 0, 0, Adopt::No)?;
        let Some(reading) = read_on(copies, kvm, first)? else {
            return Ok(None);
        };
        if reading.copy.before.generation != generation {
            return Ok(None);
        }
        let steady = reading.steady;
        last = Some(reading);
        if steady {
            break;
        }
    }
    Ok(last)
}

/// Reads what the first copy of a VM leaves to be read. `None` where that was not made.
///
/// # Errors
///
/// The first copy that could not be made.
pub(super) fn read_on<C: Copies>(
    copies: &mut C,
    kvm: u64,
    copy: Box<VmCopy>,
) -> Result<Option<Reading>, C::Error> {
    if copy.made == 0 {
        return Ok(None);
    }
    let online = copy.before.online_vcpus as usize;
    let entries = if copy.before.apic_map == 0 {
        0
    } else {
        (copy.max_apic_id as usize).saturating_add(1)
    };
    let mut whole = copy.failed == 0 && online < IMPOSSIBLE && entries < IMPOSSIBLE;
    // Of a copy that failed the window may still hold another VM's vCPUs.
    let in_first = if whole { online.min(VCPUS) } else { 0 };
    let mut vcpus = copy.vcpus[..in_first].to_vec();
    let mut physical = copy.physical[..entries.min(PHYSICAL)].to_vec();
    let mut last_stamp = copy.after;
    while whole && (vcpus.len() < online || physical.len() < entries) {
        // Both stretches grow by whole windows until they are complete.
        let (first_vcpu, first_physical) = (vcpus.len().next_multiple_of(VCPUS), physical.len());
        let more = copies.vm(kvm, first_vcpu as u32, first_physical as u32, Adopt::No)?;
        last_stamp = more.after;
        whole = more.made == 1 && more.failed == 0 && more.before == copy.before;
        if !whole {
            // The window may still hold what another copy left there.
            break;
        }
        vcpus.extend_from_slice(&more.vcpus[..online.saturating_sub(first_vcpu).min(VCPUS)]);
        physical.extend_from_slice(&more.physical[..entries.saturating_sub(first_physical).min(PHYSICAL)]);
    }
    // Without an in-kernel LAPIC there is nothing to read of a vCPU, and no route leads anywhere.
    let userspace = copy.irqchip_mode == 0;
    let routes = if userspace {
        Some(Vec::new())
    } else {
        routes::read(copies, kvm, copy.before.generation)?
    };
    let sound = userspace || vcpus.iter().all(Vcpu::is_sound);
    // Clean: no register changed without a recalculation after it.
    let clean = copy.before.dirty == 0;
    let steady = whole && sound && clean && routes.is_some() && copy.before == last_stamp;
    Ok(Some(Reading {
        copy,
        vcpus,
        physical,
        routes: routes.unwrap_or_default(),
        steady,
    }))
}

impl Reading {
    /// Events of it that the kernel side has left out.
    pub(super) const fn skipped(&self) -> u64 {
        self.copy.skipped
    }

    /// Whether the VM is on KVM's list.
    pub(super) const fn linked(&self) -> bool {
        self.copy.before.linked == 1
    }

    /// Whether it is a canary, this copy's or another's. A canary has one vCPU: a larger VM cannot hide.
    pub(super) fn canary(&self) -> bool {
        matches!(self.vcpus.as_slice(), [only] if only.is_canary())
    }

    /// Its name in debugfs, empty if not known.
    pub(super) fn debugfs_name(&self) -> String {
        let name = self.copy.name.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}
