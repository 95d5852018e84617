//! All VMs of the observed host: the one place where observations become state.
//!
//! Routes each observation to its VM and says which VM is to be judged because of it. What a VM makes of an
//! observation is left to [`crate::vm`], the judging to the caller.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{BootTime, VmId},
    map_rules::MapRules,
    observation::{Observation, Origin, Sent, VmSample, VmSeen},
    vm::{Judging, Vm},
};

#[cfg(test)]
mod tests;

/// The state of the host's VMs.
#[derive(Clone, Debug)]
pub struct Host {
    judging: Judging,
    /// The rules that the host's KVM may follow, likeliest first.
    possible: Vec<MapRules>,
    /// Whether maps made for the purpose have shown KVM to follow them.
    proven: bool,
    vms: BTreeMap<VmId, Vm>,
    /// The VMs whose published map is not what the rules make of their registers.
    contradicting: BTreeSet<VmId>,
    /// Whether KVM is known to pick one of several lowest-priority targets by the vector.
    picks_by_vector: bool,
    interrupts: Interrupts,
}

/// Interrupts that were counted, of all VMs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupts {
    /// It is known what became of them.
    pub judged: u64,
    /// It is not, since their VM changed at about that time, or KVM picks its targets by what cannot be seen.
    pub unjudged: u64,
}

impl Host {
    /// A host without VMs, whose KVM may follow any of the `possible` rules, likeliest first. The VMs' published
    /// maps decide between them. Without any there is no rebuilt map and no finding that rests on one.
    #[must_use]
    pub fn new(possible: impl IntoIterator<Item = MapRules>) -> Self {
        let possible: Vec<_> = possible.into_iter().collect();
        Self {
            judging: Judging::Host(possible.first().copied()),
            possible,
            proven: false,
            vms: BTreeMap::new(),
            contradicting: BTreeSet::new(),
            picks_by_vector: false,
            interrupts: Interrupts::default(),
        }
    }

    /// The same host, of whose KVM it is known whether it picks one of several lowest-priority targets by the vector.
    #[must_use]
    pub fn picking_by_vector(self, picks_by_vector: bool) -> Self {
        Self {
            picks_by_vector,
            ..self
        }
    }

    /// The same host; a canary's published maps, too, came about by the possible rules.
    #[must_use]
    pub fn proven(self) -> Self {
        Self { proven: true, ..self }
    }

    /// The same host, but its VMs are judged as if its KVM followed `rules`: published maps are set aside.
    #[must_use]
    pub fn as_if(self, rules: MapRules) -> Self {
        Self {
            judging: Judging::AsIf(rules),
            ..self
        }
    }

    /// The rules that VMs are judged by.
    #[must_use]
    pub const fn rules(&self) -> Option<MapRules> {
        self.judging.rules()
    }

    /// The rules that the host's KVM follows, as far as its published maps confirm them; `None` where they are not
    /// known, or where more maps fit none than tell these rules from others. A single map that fits none is no proof: up
    /// to 6.2 KVM leaves a stale one behind when userspace takes a vCPU from x2APIC straight to xAPIC
    /// (`kvm_lapic_set_base`, arch/x86/kvm/lapic.c).
    #[must_use]
    pub fn map_rules(&self) -> Option<MapRules> {
        match self.judging {
            Judging::Host(rules) => rules.filter(|_| !self.is_contradicted()),
            Judging::AsIf(_) => self.possible.first().copied(),
        }
    }

    fn is_contradicted(&self) -> bool {
        let against = self.contradicting.len();
        let canary = usize::from(self.proven);
        against > canary && against > canary + self.vms.values().filter(|vm| vm.tells_rules_apart()).count()
    }

    /// The rules of another KVM that VMs are judged by in place of the host's own.
    #[must_use]
    pub const fn judged_as_if(&self) -> Option<MapRules> {
        self.judging.as_if()
    }

    /// Takes in an observation. Returns the VM that has to be judged (again), where there is one; a VM that is
    /// gone is named a last time, and [`Host::vm`] does not find it any more. Where [`Host::rules`] are others than
    /// before, every VM has to be judged again.
    pub fn apply(&mut self, observation: &Observation) -> Option<VmId> {
        match observation {
            Observation::VmSeen(seen) => {
                self.vms.insert(seen.vm, Vm::new(seen, self.judging));
                None
            }
            Observation::VmGone(gone) => {
                self.contradicting.remove(&gone.vm);
                self.vms.remove(&gone.vm).map(|_| gone.vm)
            }
            Observation::Touched(touched) => {
                let vm = self.vms.get_mut(&touched.vm)?;
                vm.touched(touched).then_some(touched.vm)
            }
            Observation::Sample(sample) => {
                let news = self.vm_of(sample).sampled(sample);
                self.weigh(sample.vm);
                news.then_some(sample.vm)
            }
            Observation::Lost(lost) => self.vms.get_mut(&lost.vm)?.lost(lost.at).then_some(lost.vm),
            Observation::Skipped(vm) => {
                self.vms.get_mut(vm)?.skipped();
                None
            }
            Observation::Sent(sent) => self.sent(sent),
        }
    }

    fn sent(&mut self, sent: &Sent) -> Option<VmId> {
        let vm = self.vms.get_mut(&sent.vm)?;
        let told = self.picks_by_vector || !sent.lowest_priority;
        let judged = if told { vm.sent(sent) } else { None };
        let count = match judged {
            Some(_) => &mut self.interrupts.judged,
            None => &mut self.interrupts.unjudged,
        };
        *count = count.saturating_add(sent.count);
        judged?.then_some(sent.vm)
    }

    /// Forgets what went astray too long ago to count, of one VM. True where there was any.
    pub fn fade(&mut self, vm: VmId, now: BootTime) -> bool {
        self.vms.get_mut(&vm).is_some_and(|vm| vm.fade(now))
    }

    /// The interrupts that were counted so far.
    #[must_use]
    pub const fn interrupts(&self) -> Interrupts {
        self.interrupts
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

    /// Takes a VM's published map as evidence for the rules or against them.
    fn weigh(&mut self, vm: VmId) {
        if self.vms.get(&vm).and_then(Vm::agrees) != Some(false) {
            self.contradicting.remove(&vm);
        } else if self.contradicting.insert(vm) {
            let fits_all = |rules: &MapRules| self.vms.values().all(|vm| vm.fits(*rules));
            if let Some(rules) = self.possible.iter().copied().find(fits_all) {
                self.follow(rules);
            }
        }
    }

    /// Judges by other rules of the host's own from now on.
    fn follow(&mut self, rules: MapRules) {
        self.judging = Judging::Host(Some(rules));
        self.contradicting.clear();
        for vm in self.vms.values_mut() {
            vm.judge_by(self.judging);
        }
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
