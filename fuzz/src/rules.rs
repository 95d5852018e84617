//! Any sequence of observations of a few VMs, through host, judgement and tracker, as the engine wires them.
//!
//! [`story`] is what happens, [`machine`] the VMs it happens to, [`told`] what may be told of it and in which order,
//! [`judged`] what must hold for every judgement.

mod judged;
mod machine;
mod seed;
mod story;
mod told;

use std::collections::BTreeMap;

use probe_apic::{
    host::Host,
    id::{BootTime, VmId},
    observation::{Lost, Observation, Origin, VmGone, VmSeen},
    rules::judge,
    tracker::Tracker,
};

use self::{
    machine::Machine,
    story::{Step, Story, What},
    told::Told,
};
use crate::Target;

/// The target.
pub const TARGET: Target = Target {
    name: "rules",
    check,
    seeds: seed::stories,
    show,
};

/// Longer than anything settles or flaps.
const QUIET_NANOS: u64 = 60_000_000_000;

fn show(input: &[u8]) -> String {
    Story::of(input).map_or_else(|| "too few bytes".to_owned(), |story| format!("{story:#?}"))
}

fn check(input: &[u8]) {
    if let Some(story) = Story::of(input) {
        let mut stage = Stage::new(&story);
        for step in &story.steps {
            stage.play(step);
        }
        if !story.ends_abruptly {
            stage.fall_quiet();
        }
        stage.close();
    }
}

/// Everything that a story touches.
struct Stage {
    host: Host,
    tracker: Tracker,
    told: Told,
    machines: BTreeMap<VmId, Machine>,
    now: BootTime,
}

impl Stage {
    fn new(story: &Story) -> Self {
        let host = Host::new(story.possible.iter().copied());
        Self {
            host: match story.as_if {
                None => host,
                Some(rules) => host.as_if(rules),
            },
            tracker: Tracker::new(u64::from(story.settle_millis) * 1_000_000),
            told: Told::default(),
            machines: BTreeMap::new(),
            now: BootTime(1),
        }
    }

    fn play(&mut self, step: &Step) {
        let (vm, at) = (VmId(step.vm), self.now);
        match &step.what {
            What::Appear { scanned } => {
                // The observer gives every VM a birth number of its own.
                if self.host.vm(&vm).is_none() {
                    let origin = if *scanned { Origin::Scan } else { Origin::Birth };
                    self.observe(&Observation::VmSeen(VmSeen { vm, at, origin }));
                }
            }
            What::Vanish => {
                self.machines.remove(&vm);
                self.observe(&Observation::VmGone(VmGone { vm, at }));
            }
            What::Lose => self.observe(&Observation::Lost(Lost { vm, at })),
            What::Wait { millis } => {
                self.now = self.now.plus(u64::from(*millis) * 1_000_000);
                self.poll();
            }
            What::Change(change) => self.machines.entry(vm).or_default().change(change),
            What::Touch(touch) => {
                let touched = self.machines.entry(vm).or_default().touched(touch, vm, at);
                self.observe(&Observation::Touched(touched));
            }
            What::Read(read) => {
                let sample = self.machines.entry(vm).or_default().sample(read, vm, at);
                self.observe(&Observation::Sample(sample));
            }
        }
    }

    /// As the engine does it.
    fn observe(&mut self, observation: &Observation) {
        let rules = self.host.rules();
        let news = self.host.apply(observation);
        if self.host.rules() != rules {
            let all: Vec<VmId> = self.host.vms().map(|vm| vm.id()).collect();
            all.into_iter().for_each(|vm| self.judge(vm));
        }
        let Some(vm) = news else { return };
        if self.host.vm(&vm).is_some() {
            self.judge(vm);
        } else {
            self.tracker.vm_gone(vm, self.now);
            self.poll();
            assert_eq!(self.tracker.held(vm).count(), 0, "findings outlive their VM");
        }
    }

    fn judge(&mut self, id: VmId) {
        let Some(vm) = self.host.vm(&id) else { return };
        let findings = judge(vm);
        judged::check(vm, &findings);
        assert_eq!(findings, judge(vm), "judged twice, judged otherwise");
        let trigger = vm.trigger().unwrap_or(self.now);
        self.tracker.update(id, self.now, trigger, findings);
    }

    fn poll(&mut self) {
        for change in self.tracker.poll(self.now) {
            self.told.hear(&change, self.now);
        }
        assert!(self.tracker.poll(self.now).is_empty(), "told twice at one time");
        assert!(
            self.tracker.next_due().is_none_or(|due| due > self.now),
            "due and not told"
        );
        for vm in self.told.vms() {
            self.told.compare(vm, self.tracker.held(vm));
        }
    }

    /// In the end what is told is what is.
    fn fall_quiet(&mut self) {
        self.now = self.now.plus(QUIET_NANOS);
        self.poll();
        for vm in self.host.vms() {
            let mut held: Vec<_> = self.tracker.held(vm.id()).map(|finding| finding.key).collect();
            held.sort_unstable();
            let present: Vec<_> = judge(vm).into_iter().map(|finding| finding.key).collect();
            assert_eq!(
                held, present,
                "what is told and what is differ after a minute of quiet"
            );
        }
    }

    /// Of VMs that are gone nothing is left.
    fn close(mut self) {
        let all: Vec<VmId> = self.host.vms().map(|vm| vm.id()).collect();
        for vm in all {
            self.observe(&Observation::VmGone(VmGone { vm, at: self.now }));
        }
        self.told.assert_all_cleared();
        assert_eq!(self.tracker.next_due(), None);
    }
}
