//! A VM's local APICs as they were, and one interrupt to try in a fresh VM: what of a snapshot can be reproduced, and what
//! should come of it.
//!
//! Pure. A fresh VM's map is what its kernel's map rules make of the registers, and so is what it is held to here: a map that
//! was published and is another cannot be brought about by setting registers.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use probe_apic::{
    delivery::{Delivery, DeliveryMode, Destination, Fabric, Verdict},
    id::{VcpuId, VcpuIdx},
    map_rules::MapRules,
    observation::VcpuSample,
    rebuild::rebuild,
};

use crate::message::{Snapshot, Vm, meaning};

/// The vector of an interrupt that nothing in the snapshot sends.
const ANY_VECTOR: u8 = 0x30;

/// Destinations that are looked through for one that breaks; 255 is broadcast.
const CANDIDATES: std::ops::Range<u32> = 0..255;

/// What to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reproduction<'a> {
    /// Where it was seen.
    pub snapshot: &'a Snapshot,
    /// Which VM.
    pub vm: &'a Vm,
    /// Its vCPUs in the order of their creation, whether the architecture names each, and whether the observed host's
    /// KVM reaches it.
    pub vcpus: Vec<Member>,
    /// The interrupt's destination.
    pub dest: Destination,
    /// Its vector.
    pub vector: u8,
    /// How the two compare.
    pub verdict: Verdict,
    /// The VM has 32-bit APIC IDs.
    pub wide_ids: bool,
}

/// One vCPU and the interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its place in the snapshot.
    pub at: usize,
    /// The architecture names it.
    pub named: bool,
    /// KVM reaches it.
    pub reached: bool,
}

/// Why there is nothing to try. Names are not escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Irreproducible {
    /// No VM.
    #[error("there is no VM in it")]
    NoVm,
    /// More than one.
    #[error("there are {} VMs in it: {}", .0.len(), .0.join(", "))]
    ManyVms(Vec<String>),
    /// Its VMM emulates the local APICs.
    #[error("the local APICs of {0} live in its VMM; KVM has none to set")]
    Unobservable(String),
    /// A snapshot of a VM that was just being made.
    #[error("{0} has no vCPU")]
    NoVcpu(String),
    /// No KVM makes two vCPUs of one number.
    #[error("{vm} has two vCPUs of the number {vcpu}")]
    Twins {
        /// The VM.
        vm: String,
        /// The number.
        vcpu: u32,
    },
    /// KVM takes whether an APIC is enabled from the SVR that it is given.
    #[error(
        "KVM kept the APIC of vCPU {vcpu} software-{} against its SVR {svr:#010x}, and of registers that are set anew it \
         keeps what the SVR says", if *.enabled { "enabled" } else { "disabled" }
    )]
    AgainstSvr {
        /// Whose.
        vcpu: u32,
        /// What KVM kept.
        enabled: bool,
        /// What it should have followed.
        svr: u32,
    },
    /// What the observed KVM did is not known.
    #[error(
        "the map rules of the observed host are `{0}`: what its KVM made of these registers is not known"
    )]
    UnknownRules(String),
    /// Every interrupt arrives.
    #[error("every logical destination of {0} reaches those that it names")]
    NothingBroken(String),
}

impl Irreproducible {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoVm | Self::NoVcpu(_) => {
                "take the snapshot while the VM runs; of a recording name a moment at which it did with `--at`"
            }
            Self::ManyVms(_) => "name one with `--vm NAME`, `--vm UUID` or `--vm PID`",
            Self::Unobservable(_) => {
                "use a VM with local APICs in the kernel (QEMU: kernel-irqchip=on or split)"
            }
            Self::Twins { .. } => "give it what `ldrscope snapshot --format json` wrote, as it is",
            Self::AgainstSvr { .. } => "take a snapshot of another moment",
            Self::UnknownRules(_) => {
                "take the snapshot with an ldrscope that knows that kernel, or look with `deliver --as-kvm`"
            }
            Self::NothingBroken(_) => "name a destination with `--dest N`, for one that arrives",
        }
    }

    /// Whether another command line would do.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::ManyVms(_) | Self::NothingBroken(_))
    }
}

/// What is to be tried of the only VM in `snapshot`: an interrupt to `dest`, or else to the first destination that something
/// aims at and that breaks, or else to the first that breaks.
///
/// # Errors
/// [`Irreproducible`].
pub fn plan(snapshot: &Snapshot, dest: Option<Destination>) -> Result<Reproduction<'_>, Irreproducible> {
    let vm = match &snapshot.vms[..] {
        [vm] => vm,
        [] => return Err(Irreproducible::NoVm),
        vms => {
            let names = vms.iter().map(|vm| vm.vm.name.clone());
            return Err(Irreproducible::ManyVms(names.collect()));
        }
    };
    let rules = rules(snapshot)?;
    let samples = samples(vm)?;
    let wide_ids = vm
        .vcpus
        .iter()
        .any(|vcpu| vcpu.apic_id > 0xff || vcpu.vcpu_id > 0xff)
        || dest.is_some_and(|dest| dest.id > 0xff);
    let map = rebuild(&samples, wide_ids, rules).map;
    let fabric = Fabric {
        vcpus: &samples,
        map: map.as_ref(),
        rules,
        x2apic_format: wide_ids,
        broadcast_quirk_disabled: wide_ids,
    };
    let to = |dest| fabric.deliver(dest, DeliveryMode::Fixed);
    let (dest, vector) = match dest {
        Some(dest) => (dest, vector_to(vm, dest)),
        None => broken(vm, to).ok_or_else(|| Irreproducible::NothingBroken(vm.vm.name.clone()))?,
    };
    let delivery = to(dest);
    let members = samples.iter().enumerate().map(|(at, sample)| Member {
        at,
        named: delivery.architecture.contains(sample.idx),
        reached: delivery.kvm.contains(sample.idx),
    });
    Ok(Reproduction {
        snapshot,
        vm,
        vcpus: members.collect(),
        dest,
        vector,
        verdict: delivery.verdict,
        wide_ids,
    })
}

fn rules(snapshot: &Snapshot) -> Result<MapRules, Irreproducible> {
    let name = &snapshot.host.map_rules;
    let known = MapRules::ALL.into_iter().find(|rules| rules.name() == name);
    known.ok_or_else(|| Irreproducible::UnknownRules(name.to_string()))
}

/// The vCPUs as they were read; what no fresh VM can be like is refused.
fn samples(vm: &Vm) -> Result<Vec<VcpuSample>, Irreproducible> {
    let name = || vm.vm.name.clone();
    if vm.confidence == "unobservable" {
        return Err(Irreproducible::Unobservable(name()));
    }
    if vm.vcpus.is_empty() {
        return Err(Irreproducible::NoVcpu(name()));
    }
    let mut ids = BTreeSet::new();
    let mut samples = Vec::with_capacity(vm.vcpus.len());
    for (idx, vcpu) in (0..).zip(&vm.vcpus) {
        if !ids.insert(vcpu.vcpu_id) {
            return Err(Irreproducible::Twins {
                vm: name(),
                vcpu: vcpu.vcpu_id,
            });
        }
        let lapic = meaning::lapic(vcpu);
        if lapic.sw_enabled != lapic.svr.software_enable() {
            return Err(Irreproducible::AgainstSvr {
                vcpu: vcpu.vcpu_id,
                enabled: lapic.sw_enabled,
                svr: vcpu.svr,
            });
        }
        samples.push(VcpuSample {
            idx: VcpuIdx(idx),
            id: VcpuId(vcpu.vcpu_id),
            lapic,
        });
    }
    Ok(samples)
}

/// The first destination that breaks, of those that something aims at, else of all; and a vector for it.
fn broken(vm: &Vm, to: impl Fn(Destination) -> Delivery) -> Option<(Destination, u8)> {
    let breaks = |dest: &Destination| to(*dest).verdict.is_broken();
    let aimed = vm.aimed.iter().map(|aim| Destination::logical(aim.dest));
    let all = CANDIDATES.map(Destination::logical);
    let dest = aimed.chain(all).find(breaks)?;
    Some((dest, vector_to(vm, dest)))
}

/// The vector of what aims there, if that is one that an APIC takes.
fn vector_to(vm: &Vm, dest: Destination) -> u8 {
    let mut aims = vm.aimed.iter();
    let aim = aims.find(|aim| Destination::logical(aim.dest) == dest && aim.vector >= 16);
    aim.map_or(ANY_VECTOR, |aim| aim.vector)
}
