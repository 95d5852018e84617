//! All VMs of the observed host: the one place where observations become state.
//!
//! Routes each observation to its VM and says which VM is to be judged because of it. What a VM makes of an
//! observation is left to [`crate::vm`], the judging to the caller.

use std::collections::BTreeMap;

use crate::{
    id::VmId,
    map_rules::MapRules,
    observation::{Observation, Origin, VmSample, VmSeen},
    vm::{Judging, Vm},
};

#[cfg(test)]
mod tests;

/// The state of the host's VMs.
#[derive(Clone, Debug)]
pub struct Host {
    judging: Judging,
    vms: BTreeMap<VmId, Vm>,
}

impl Host {
    /// A host without VMs, whose KVM follows `rules`; `None` while they are not known. Without rules there is
    /// no rebuilt map and no finding that rests on one.
    #[must_use]
    pub const fn new(rules: Option<MapRules>) -> Self {
        Self {
            judging: Judging::Host(rules),
            vms: BTreeMap::new(),
        }
    }

    /// A host whose VMs are judged as if its KVM followed `rules`: published maps are set aside.
    #[must_use]
    pub const fn as_if(rules: MapRules) -> Self {
        Self {
            judging: Judging::AsIf(rules),
            vms: BTreeMap::new(),
        }
    }

    /// The rules that VMs are judged by.
    #[must_use]
    pub const fn rules(&self) -> Option<MapRules> {
        self.judging.rules()
    }

    /// Follows other rules from now on. Every VM has to be judged again. A host that judges as if by another
    /// KVM's rules is not moved by what its own KVM turns out to follow.
    pub fn set_rules(&mut self, rules: Option<MapRules>) {
        let judging = Judging::Host(rules);
        if matches!(self.judging, Judging::AsIf(_)) || judging == self.judging {
            return;
        }
        self.judging = judging;
        for vm in self.vms.values_mut() {
            vm.judge_by(judging);
        }
    }

    /// Takes in an observation. Returns the VM that has to be judged (again), where there is one; a VM that is
    /// gone is named a last time, and [`Host::vm`] does not find it any more.
    pub fn apply(&mut self, observation: &Observation) -> Option<VmId> {
        match observation {
            Observation::VmSeen(seen) => {
                self.vms.insert(seen.vm, Vm::new(seen, self.judging));
                None
            }
            Observation::VmGone(gone) => self.vms.remove(&gone.vm).map(|_| gone.vm),
            Observation::Touched(touched) => {
                let vm = self.vms.get_mut(&touched.vm)?;
                vm.touched(touched).then_some(touched.vm)
            }
            Observation::Sample(sample) => self.vm_of(sample).sampled(sample).then_some(sample.vm),
            Observation::Lost(lost) => self.vms.get_mut(&lost.vm)?.lost(lost.at).then_some(lost.vm),
        }
    }

    /// The VM of a sample. One whose `VmSeen` was lost is taken as found running.
    fn vm_of(&mut self, sample: &VmSample) -> &mut Vm {
        let found = VmSeen {
            vm: sample.vm,
            at: sample.at,
            origin: Origin::Scan,
        };
        self.vms
            .entry(sample.vm)
            .or_insert_with(|| Vm::new(&found, self.judging))
    }

    /// One VM.
    #[must_use]
    pub fn vm(&self, vm: &VmId) -> Option<&Vm> {
        self.vms.get(vm)
    }

    /// All VMs, ascending.
    pub fn vms(&self) -> impl Iterator<Item = &Vm> {
        self.vms.values()
    }
}
