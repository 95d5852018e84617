//! From reports to outputs: the host's state, its judgement, and the VMs' identities.
//!
//! Pure but for the process table, which is behind a trait: no clock (time comes in), no kernel, no
//! output. The analysis itself is `probe-apic`'s; what is said, and when, is decided by its tracker and
//! by [`trust`]; which VMs need another read, by [`pace`].

mod agenda;
pub mod deliveries;
pub mod health;
mod identities;
pub mod output;
mod pace;
pub mod tally;
mod trust;
pub mod view;

use std::collections::BTreeSet;

use probe_apic::{
    cause::Route,
    finding::{Confidence, Finding},
    host::{Host, Interrupts},
    id::{BootTime, VmId},
    map_rules::MapRules,
    observation::{Lost, Observation, Touch, VmGone},
    rules::judge,
    tracker::Tracker,
    vm::Vm,
};

use self::{
    agenda::Agenda,
    identities::Identities,
    output::{Event, Output, Status, StatusKind},
    pace::Pace,
    tally::{Ledger, Tally},
    trust::Trust,
    view::{HostView, VmView},
};
use crate::{
    identity::{
        VmIdentity,
        filter::{NoSuchVm, VmFilter},
        finding_id::same_ids,
        process::ProcessSource,
    },
    observer::{HostFacts, Report},
};

/// The state of one observed host.
pub struct Engine {
    facts: HostFacts,
    host: Host,
    tracker: Tracker,
    filter: VmFilter,
    processes: Box<dyn ProcessSource>,
    identities: Identities,
    pace: Pace,
    trust: Trust,
    /// When interrupts of a VM went astray too long ago to count.
    fading: Agenda,
    /// VMs to judge at the next poll: a storm's events may each tell something new, and a judgement is dear.
    retold: BTreeSet<VmId>,
    ledger: Ledger,
    /// What is ready to be told.
    ready: Vec<Output>,
}

impl Engine {
    /// An engine that knows no VM yet. `settle_nanos` is how long a condition must hold to be told.
    #[must_use]
    pub fn new(
        facts: HostFacts,
        settle_nanos: u64,
        filter: VmFilter,
        processes: Box<dyn ProcessSource>,
    ) -> Self {
        let host = Host::new(facts.possible_rules.iter().copied())
            .picking_by_vector(facts.vector_hashing == Some(true));
        let ledger = Ledger::new(facts.precise);
        Self {
            host: if facts.rules_proven { host.proven() } else { host },
            facts,
            tracker: Tracker::new(settle_nanos),
            filter,
            processes,
            identities: Identities::default(),
            pace: Pace::default(),
            trust: Trust::default(),
            fading: Agenda::default(),
            retold: BTreeSet::new(),
            ledger,
            ready: Vec::new(),
        }
    }

    /// The same engine, but VMs are judged as if the host's KVM followed `rules`, where there are any.
    #[must_use]
    pub fn as_kvm(self, rules: Option<MapRules>) -> Self {
        match rules {
            Some(rules) => Self {
                host: self.host.as_if(rules),
                ..self
            },
            None => self,
        }
    }

    /// The same engine, but it counts on from `tally`: what an engine before it had counted, whose kvm module was
    /// unloaded.
    #[must_use]
    pub fn with_tally(self, tally: Tally) -> Self {
        Self {
            ledger: self.ledger.counting_on(tally),
            ..self
        }
    }

    /// What was counted since the start.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        self.ledger.tally()
    }

    /// What was counted, for the engine that comes after this one.
    #[must_use]
    pub fn into_tally(self) -> Tally {
        *self.ledger.tally()
    }

    /// Takes one report in.
    pub fn feed(&mut self, report: Report, now: BootTime) {
        match report {
            Report::Observation(observation) => self.observe(&observation, now),
            Report::Process {
                vm,
                pid,
                discriminator,
            } => {
                self.identify(vm, pid, discriminator, now);
            }
            Report::Dropped { records } => self.lose(records, now),
            Report::Uncounted { interrupts } => {
                self.say(None, StatusKind::Uncounted { interrupts }, now);
            }
        }
    }

    /// Takes a VM to be this one from now on. [`Self::feed`] finds out by itself; this is for whoever knows already.
    pub fn identified(&mut self, id: VmId, identity: VmIdentity, now: BootTime) {
        let Some(known) = self.identities.get(id) else {
            return;
        };
        if !same_ids(known, &identity) || !self.filter.matches(&identity) {
            self.retract(id, now);
        }
        self.identities.insert(id, identity);
        self.judge(id, now);
    }

    /// Who a VM is taken to be.
    #[must_use]
    pub fn identity(&self, vm: VmId) -> Option<&VmIdentity> {
        self.identities.get(vm)
    }

    /// What is to be told by now, in order.
    pub fn poll(&mut self, now: BootTime) -> Vec<Output> {
        while let Some(vm) = self.fading.take_due(now) {
            if self.host.fade(vm, now) {
                self.retold.insert(vm);
            }
            self.await_fading(vm);
        }
        while let Some(vm) = self.retold.pop_first() {
            self.judge(vm, now);
        }
        self.tell_trust(now);
        self.collect_events(now);
        std::mem::take(&mut self.ready)
    }

    /// The VMs to be read again now.
    pub fn take_refresh_due(&mut self, now: BootTime) -> Vec<VmId> {
        self.pace.take_due(now)
    }

    /// When to call [`Self::poll`] and [`Self::take_refresh_due`] next, even if nothing is fed.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        let due = [self.next_to_tell(), self.pace.next_due()];
        due.into_iter().flatten().min()
    }

    /// When there may be something to tell next, even if nothing is fed.
    #[must_use]
    pub fn next_to_tell(&self) -> Option<BootTime> {
        let due = [
            self.tracker.next_due(),
            self.trust.next_due(),
            self.fading.first(),
        ];
        due.into_iter().flatten().min()
    }

    /// The VMs that the filter lets pass, judged as they are at this moment.
    #[must_use]
    pub fn view(&self, now: BootTime) -> HostView<'_> {
        self.view_with(now, judge)
    }

    /// The same VMs, each with the findings that have been told and not cleared: a VM that is being restored has none
    /// that its events do not have.
    #[must_use]
    pub fn standing(&self, now: BootTime) -> HostView<'_> {
        self.view_with(now, |vm| self.tracker.held(vm.id()).cloned().collect())
    }

    /// One VM as [`Self::standing`] has it.
    #[must_use]
    pub fn standing_vm(&self, id: VmId) -> Option<VmView<'_>> {
        let vm = self.host.vm(&id).filter(|vm| vm.sampled_yet())?;
        let identity = self.identities.get(id)?;
        self.filter.matches(identity).then(|| VmView {
            identity,
            vm,
            findings: self.tracker.held(id).cloned().collect(),
        })
    }

    fn view_with(&self, now: BootTime, findings: impl Fn(&Vm) -> Vec<Finding>) -> HostView<'_> {
        let vms = self.vms().map(|(identity, vm)| VmView {
            identity,
            vm,
            findings: findings(vm),
        });
        HostView {
            taken_at: now,
            facts: &self.facts,
            map_rules: self.host.map_rules(),
            as_kvm: self.host.judged_as_if(),
            vms: vms.collect(),
        }
    }

    /// The VMs that the filter lets pass and that have been read, not judged.
    pub fn vms(&self) -> impl Iterator<Item = (&VmIdentity, &Vm)> {
        self.host.vms().filter_map(|vm| {
            let identity = self.identities.get(vm.id()).filter(|_| vm.sampled_yet())?;
            self.filter.matches(identity).then_some((identity, vm))
        })
    }

    /// The VMs whose state is not known for certain yet.
    #[must_use]
    pub fn unsettled(&self) -> Vec<VmId> {
        let unsettled =
            |vm: &&Vm| !vm.sampled_yet() || vm.disputed() || vm.confidence() == Confidence::Uncertain;
        self.host.vms().filter(unsettled).map(Vm::id).collect()
    }

    /// Refuses a filter that no VM passes.
    ///
    /// # Errors
    /// [`NoSuchVm`], with the VMs there are.
    pub fn check_filter(&self) -> Result<(), NoSuchVm> {
        self.filter.check(self.identities.iter().map(|(_, vm)| vm))
    }

    /// The map rules that the host's KVM follows; `None` where they are unknown.
    #[must_use]
    pub fn map_rules(&self) -> Option<MapRules> {
        self.host.map_rules()
    }

    /// The interrupts that were counted so far, of all VMs.
    #[must_use]
    pub const fn interrupts(&self) -> Interrupts {
        self.host.interrupts()
    }

    /// The VM that the filter means, where it means one.
    #[must_use]
    pub fn only_watched(&self) -> Option<VmId> {
        let mut watched = self.identities.iter().filter(|(_, vm)| self.filter.matches(vm));
        let (only, _) = watched.next()?;
        (self.filter.is_set() && watched.next().is_none()).then_some(only)
    }

    /// How many VMs the filter lets pass.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.identities
            .iter()
            .filter(|(_, vm)| self.filter.matches(vm))
            .count()
    }

    /// No VM is there any more, whether or not its end was seen: what was raised is cleared.
    pub fn end(&mut self, now: BootTime) {
        let vms: Vec<VmId> = self.identities.iter().map(|(vm, _)| vm).collect();
        for vm in vms {
            self.observe(&Observation::VmGone(VmGone { vm, at: now }), now);
        }
    }

    fn observe(&mut self, observation: &Observation, now: BootTime) {
        if let Observation::VmSeen(seen) = observation
            && self.identities.get(seen.vm).is_none()
        {
            self.identities.insert(seen.vm, VmIdentity::seen(seen.at));
        }
        // A VM whose creation failed was seen but never read: nobody is to hear of its end.
        let ended_unread = matches!(observation, Observation::VmGone(gone)
            if self.host.vm(&gone.vm).is_some_and(|vm| !vm.sampled_yet()));
        let rules = self.host.rules();
        let news = self.host.apply(observation);
        self.ledger.observed(observation, &self.host);
        if self.host.rules() != rules {
            self.judge_all(now);
        }
        if let Some(vm) = news {
            if matches!(observation, Observation::Touched(_) | Observation::Sent(_)) {
                self.retold.insert(vm);
                self.await_fading(vm);
            } else if self.host.vm(&vm).is_some() {
                self.judge(vm, now);
            } else if ended_unread {
                self.identities.remove(vm);
            } else {
                self.bury(vm, now);
            }
        }
        if let Observation::Touched(touched) = observation
            && touched.what == Touch::Entered(Route::ApicBase)
        {
            self.pace.announced(touched.vm, now);
        }
        if let Observation::Sample(sample) = observation {
            let disputed = self.host.vm(&sample.vm).is_some_and(Vm::disputed);
            self.pace.recheck(sample.vm, disputed, now);
        }
    }

    fn await_fading(&mut self, id: VmId) {
        match self.host.vm(&id).and_then(|vm| vm.astray().fades_at()) {
            Some(at) => self.fading.put(id, at),
            None => self.fading.strike(id),
        }
    }

    fn judge_all(&mut self, now: BootTime) {
        let vms: Vec<VmId> = self.host.vms().map(Vm::id).collect();
        for vm in vms {
            self.judge(vm, now);
        }
    }

    fn judge(&mut self, id: VmId, now: BootTime) {
        let watched = self.identities.get(id).is_some_and(|vm| self.filter.matches(vm));
        let Some(vm) = self.host.vm(&id).filter(|vm| watched && vm.sampled_yet()) else {
            return;
        };
        let findings = judge(vm);
        self.trust.note(id, vm.confidence());
        self.pace.judged(id, now, vm.confidence(), &findings);
        self.tracker
            .update(id, now, vm.trigger().unwrap_or(now), findings);
    }

    /// Clears what was raised of a VM, then says that it is gone.
    fn bury(&mut self, id: VmId, now: BootTime) {
        self.retract(id, now);
        if self.identities.get(id).is_some_and(|vm| self.filter.matches(vm)) {
            self.say(Some(id), StatusKind::VmGone, now);
        }
        self.identities.remove(id);
        self.fading.strike(id);
    }

    /// Clears what was raised of a VM under its present identity.
    fn retract(&mut self, id: VmId, now: BootTime) {
        self.pace.forget(id);
        self.trust.forget(id);
        self.tracker.vm_gone(id, now);
        self.collect_events(now);
    }

    /// A finding keeps its id from raised to cleared: where a new owner would change it, what was raised is
    /// cleared under the old identity first.
    fn identify(&mut self, id: VmId, pid: u32, discriminator: String, now: BootTime) {
        let Some(known) = self.identities.get(id) else {
            return;
        };
        let found = known.resolved(pid, discriminator, self.processes.as_ref());
        let uuid = found.uuid.as_ref();
        let twin = uuid.is_some_and(|uuid| self.identities.has_other_with(uuid, id));
        self.identified(id, VmIdentity { twin, ..found }, now);
    }

    /// Nobody knows whose records were lost: every VM is uncertain until it has been read again.
    fn lose(&mut self, records: u64, now: BootTime) {
        self.say(None, StatusKind::Lost { records }, now);
        let vms: Vec<VmId> = self.host.vms().map(|vm| vm.id()).collect();
        for vm in vms {
            self.observe(&Observation::Lost(Lost { vm, at: now }), now);
        }
        // Said at once: the reads that make them certain again may come in the same breath.
        self.tell_trust(now);
    }

    fn tell_trust(&mut self, now: BootTime) {
        for (vm, kind) in self.trust.poll(now) {
            self.say(Some(vm), kind, now);
        }
    }

    fn collect_events(&mut self, now: BootTime) {
        for change in self.tracker.poll(now) {
            let vm = self.identities.told(change.vm);
            self.ledger.told(change.kind);
            self.ready.push(Output::Event(Box::new(Event { vm, change })));
        }
    }

    fn say(&mut self, vm: Option<VmId>, kind: StatusKind, at: BootTime) {
        let vm = vm.map(|id| self.identities.told(id));
        self.ready.push(Output::Status(Status { at, vm, kind }));
    }
}
