//! What entries led to: the least that a player needs to begin where they end.

use std::collections::BTreeMap;

use probe_apic::{
    id::{BootTime, VmId},
    observation::{Lost, Observation, Origin, VmSample, VmSeen},
};
use recording::{Entry, Host, Identity, Packer};

/// The state after some entries.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    now: BootTime,
    host: Option<Host>,
    clock: Option<i64>,
    vms: BTreeMap<VmId, Known>,
}

/// A VM.
#[derive(Debug)]
struct Known {
    seen: VmSeen,
    identity: Option<Box<Identity>>,
    sample: Option<VmSample>,
    /// Records were lost since the sample.
    lost: bool,
    /// Something touched it since the sample: what the next one shows was brought about by nobody who is known.
    touched: bool,
}

impl Known {
    fn new(seen: VmSeen) -> Self {
        Self {
            // What it went through before is forgotten.
            seen: VmSeen {
                origin: Origin::Scan,
                ..seen
            },
            identity: None,
            sample: None,
            lost: false,
            touched: false,
        }
    }
}

impl Checkpoint {
    /// Goes on by an entry.
    pub(super) fn take(&mut self, now: BootTime, entry: Entry) {
        self.now = now;
        match entry {
            Entry::Host(host) => {
                self.host = Some(host);
                self.vms.clear();
            }
            Entry::Clock(boot) => self.clock = Some(boot),
            Entry::Observed(observation) => self.observe(observation),
            Entry::Identified(vm, identity) => {
                if let Some(known) = self.vms.get_mut(&vm) {
                    known.identity = Some(identity);
                }
            }
            Entry::Dropped(_) => self.vms.values_mut().for_each(|known| known.lost = true),
            Entry::Unloaded => self.vms.clear(),
            // What is forgotten was counted, or was not, long ago.
            Entry::Uncounted(_) | Entry::Polled | Entry::End => {}
        }
    }

    fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::VmSeen(seen) => {
                self.vms.insert(seen.vm, Known::new(seen));
            }
            Observation::VmGone(gone) => {
                self.vms.remove(&gone.vm);
            }
            Observation::Touched(touched) => self.mark(touched.vm, |known| known.touched = true),
            Observation::Skipped(vm) => self.mark(vm, |known| known.touched = true),
            Observation::Lost(lost) => self.mark(lost.vm, |known| known.lost = true),
            Observation::Sample(sample) => {
                let found = VmSeen {
                    vm: sample.vm,
                    at: sample.at,
                    origin: Origin::Scan,
                };
                let known = self.vms.entry(sample.vm).or_insert_with(|| Known::new(found));
                known.sample = Some(sample);
                (known.lost, known.touched) = (false, false);
            }
            // Of interrupts only those that came lately count.
            Observation::Sent(_) => {}
        }
    }

    fn mark(&mut self, vm: VmId, mark: impl FnOnce(&mut Known)) {
        if let Some(known) = self.vms.get_mut(&vm) {
            mark(known);
        }
    }

    /// The state as entries, in frames of their own; nothing where nothing happened yet.
    pub(super) fn frames(&self) -> Vec<u8> {
        let mut packer = Packer::new();
        if let Some(host) = &self.host {
            packer.host(self.now, host);
        }
        if let Some(clock) = self.clock {
            packer.clock(self.now, clock);
        }
        for (vm, known) in &self.vms {
            self.pack(*vm, known, &mut packer);
        }
        let mut frames = Vec::new();
        if let Err(error) = packer.take_frames(&mut frames) {
            log::error!("the flight recorder lost something: {error}");
        }
        frames
    }

    fn pack(&self, vm: VmId, known: &Known, packer: &mut Packer) {
        let now = self.now;
        packer.observed(now, &Observation::VmSeen(known.seen.clone()));
        if let Some(identity) = &known.identity {
            packer.identified(now, vm, identity);
        }
        if let Some(sample) = &known.sample {
            let sample = VmSample {
                // Nobody waited for an answer to it.
                trigger: now,
                ..sample.clone()
            };
            packer.observed(now, &Observation::Sample(sample));
        }
        if known.lost {
            packer.observed(now, &Observation::Lost(Lost { vm, at: now }));
        }
        if known.touched {
            packer.observed(now, &Observation::Skipped(vm));
        }
    }
}
