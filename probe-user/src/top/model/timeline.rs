//! What became of the VMs' registers, change by change, as far as it was seen, bounded for each VM.
//!
//! The analysis keeps the last change of each register; the timeline remembers those that it has seen there. What came and
//! went between two looks is not among them.

use std::collections::{BTreeMap, VecDeque};

use probe_apic::{
    cause::{Cause, Register},
    finding::Confidence,
    id::{BootTime, VcpuId, VmId},
    vm::Vm,
};

use crate::engine::Engine;

/// Changes that are remembered of a VM.
pub const BOUND: usize = 200;

/// The timelines of all VMs.
#[derive(Debug, Default)]
pub struct Timelines {
    vms: BTreeMap<VmId, Timeline>,
}

#[derive(Debug, Default)]
struct Timeline {
    /// The VM as it was when it was looked at last.
    looked_at: Option<Look>,
    /// The last change that was taken over, of each register.
    known: BTreeMap<(VcpuId, Register), (u64, u64, BootTime)>,
    /// Ascending by time.
    changes: VecDeque<Cause>,
}

/// By what a VM is known to show nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    news_at: Option<BootTime>,
    confidence: Confidence,
    agrees: Option<bool>,
}

impl Look {
    fn at(vm: &Vm) -> Self {
        Self {
            news_at: vm.trigger(),
            confidence: vm.confidence(),
            agrees: vm.agrees(),
        }
    }
}

impl Timelines {
    /// Looks at all VMs. True where any of them is not as it was.
    pub fn look(&mut self, engine: Option<&Engine>) -> bool {
        let Some(engine) = engine else {
            let news = !self.vms.is_empty();
            self.vms.clear();
            return news;
        };
        let mut news = false;
        let mut present = 0;
        for (_, vm) in engine.vms() {
            present += 1;
            let timeline = self.vms.entry(vm.id()).or_default();
            let look = Some(Look::at(vm));
            if timeline.looked_at != look {
                timeline.looked_at = look;
                timeline.take(vm);
                news = true;
            }
        }
        if self.vms.len() > present {
            self.vms
                .retain(|&id, _| engine.vms().any(|(_, vm)| vm.id() == id));
            news = true;
        }
        news
    }

    /// The changes of a VM, the latest first.
    pub fn of(&self, vm: VmId) -> impl Iterator<Item = &Cause> {
        self.vms
            .get(&vm)
            .into_iter()
            .flat_map(|timeline| timeline.changes.iter().rev())
    }
}

impl Timeline {
    fn take(&mut self, vm: &Vm) {
        for vcpu in vm.vcpus() {
            for register in Register::ALL {
                if let Some(cause) = vm.history().latest_cause([vcpu.id].into_iter(), &[register]) {
                    self.take_one(vcpu.id, register, cause);
                }
            }
        }
        self.changes.make_contiguous().sort_by_key(|change| change.at);
        while self.changes.len() > BOUND {
            self.changes.pop_front();
        }
    }

    fn take_one(&mut self, vcpu: VcpuId, register: Register, cause: Cause) {
        // What a vCPU was found with is no change.
        let (Some(old), Some(new)) = (cause.old, cause.new) else {
            return;
        };
        let known = self.known.insert((vcpu, register), (old, new, cause.at));
        if known == Some((old, new, cause.at)) {
            return;
        }
        // A change may first be seen, and then be explained by its event: it stays one.
        let explained = known.and_then(|(known_old, known_new, at)| {
            let same = (known_old, known_new) == (old, new) && cause.at < at;
            let mut changes = self.changes.iter_mut().rev();
            same.then(|| {
                changes.find(|change| {
                    (change.at, change.vcpu_id, change.register) == (at, Some(vcpu), Some(register))
                })
            })
            .flatten()
        });
        match explained {
            Some(change) => *change = cause,
            None => self.changes.push_back(cause),
        }
    }
}
