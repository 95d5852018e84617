//! What became of the VMs' registers, change by change, as far as it was seen, bounded for each VM.
//!
//! The analysis keeps the last change of each register; the timeline remembers those that it has seen there. What came and
//! went between two looks is not among them.

use std::collections::{BTreeMap, VecDeque};

use probe_apic::{
    cause::{Cause, Register, Route},
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
    known: BTreeMap<(VcpuId, Register), Cause>,
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
        if cause.old.is_none() || cause.new.is_none() {
            return;
        }
        let key = (vcpu, register);
        let known = self.known.get(&key);
        if known == Some(&cause) {
            return;
        }
        let same = known.filter(|known| (known.old, known.new) == (cause.old, cause.new));
        match same {
            // First seen, and then explained by its event: it stays one change.
            Some(known) if cause.at < known.at => {
                let mut changes = self.changes.iter_mut().rev();
                match changes.find(|change| *change == known) {
                    Some(change) => *change = cause.clone(),
                    None => self.changes.push_back(cause.clone()),
                }
            }
            // Read once more, as after a loss: it was told already, by whom as well.
            Some(_) if cause.route == Route::Scan => return,
            _ => self.changes.push_back(cause.clone()),
        }
        self.known.insert(key, cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LDR: Register = Register::Ldr;
    const VCPU: VcpuId = VcpuId(3);

    fn change(at: u64, route: Route, old: u64, new: u64) -> Cause {
        Cause {
            at: BootTime(at),
            route,
            vcpu_id: Some(VCPU),
            task: None,
            register: Some(LDR),
            old: Some(old),
            new: Some(new),
            guest_rip: None,
            certain: route != Route::Scan,
        }
    }

    fn told(causes: &[Cause]) -> Vec<Cause> {
        let mut timeline = Timeline::default();
        for cause in causes {
            timeline.take_one(VCPU, LDR, cause.clone());
        }
        timeline.changes.into()
    }

    #[test]
    fn a_change_that_is_explained_later_stays_one() {
        let (found, explained) = (change(20, Route::Scan, 1, 2), change(10, Route::GuestWrite, 1, 2));
        assert_eq!(told(&[found, explained.clone()]), [explained]);
    }

    #[test]
    fn a_change_that_is_read_again_stays_explained() {
        let (explained, found) = (change(10, Route::GuestWrite, 1, 2), change(20, Route::Scan, 1, 2));
        assert_eq!(told(&[explained.clone(), found, explained.clone()]), [explained]);
    }

    #[test]
    fn the_same_change_made_twice_is_two() {
        let changes = [
            change(10, Route::GuestWrite, 1, 2),
            change(20, Route::GuestWrite, 2, 1),
            change(30, Route::Scan, 1, 2),
        ];
        assert_eq!(told(&changes), changes);
    }
}
