//! How much a finding matters on this host: computed from who gets what, never fixed per rule.
//!
//! The tables of deliveries that this needs (here, under other map rules, with disabled APICs enabled) are
//! computed at most once for all findings of a VM, and not at all for a VM without findings.

use std::{cell::OnceCell, collections::BTreeMap};

use crate::{
    aim::Aim,
    delivery::{
        Deliveries, Destination, DestinationMode, Fabric, Picks, Verdict, destination_set::DestinationSet,
    },
    finding::{Effect, Severity},
    id::{Slot, VcpuIdx},
    lapic::Lapic,
    logical_id::{Model, NamedSlots},
    map_rules::MapRules,
    observation::VcpuSample,
    rebuild::rebuild,
    reg::ApicBase,
    vm::Vm,
};

#[cfg(test)]
mod tests;

/// The destinations that count: 255 is broadcast.
const DESTINATIONS: DestinationSet = DestinationSet::ALL.without(Destination::BROADCAST as u8);

/// What a finding is about, as far as its consequences go.
///
/// A destination touches a finding if it names one of its slots, or if one of its vCPUs gets (or should get) what is sent
/// there. A finding without vCPUs and slots is about the VM as a whole: every destination touches it.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Of which mode the destinations are.
    mode: DestinationMode,
    vcpus: Vec<VcpuIdx>,
    /// Destinations that name one of the slots.
    naming: DestinationSet,
    whole_vm: bool,
    /// Whether every destination that is slow counts, touched or not.
    slow_everywhere: bool,
    /// Whether the VM lost APICv or AVIC for it.
    loses_apicv: bool,
    /// Whether a real interrupt went astray.
    seen: bool,
    /// Whether one of the vCPUs is disabled.
    has_disabled: bool,
}

impl Scope {
    /// For a finding about logical destinations.
    pub(crate) fn logical<'a>(vcpus: impl Iterator<Item = &'a VcpuSample>, slots: &[(Model, Slot)]) -> Self {
        let naming = slots.iter().fold(DestinationSet::NONE, |naming, &(model, slot)| {
            naming | DestinationSet::naming(NamedSlots::only(model, slot))
        });
        Self::new(DestinationMode::Logical, vcpus, naming)
    }

    /// For a finding about physical destinations.
    pub(crate) fn physical<'a>(vcpus: impl Iterator<Item = &'a VcpuSample>) -> Self {
        Self::new(DestinationMode::Physical, vcpus, DestinationSet::NONE)
    }

    fn new<'a>(
        mode: DestinationMode,
        vcpus: impl Iterator<Item = &'a VcpuSample>,
        naming: DestinationSet,
    ) -> Self {
        let mut scope = Self {
            mode,
            vcpus: Vec::new(),
            naming,
            whole_vm: false,
            slow_everywhere: false,
            loses_apicv: false,
            seen: false,
            has_disabled: false,
        };
        for vcpu in vcpus {
            scope.vcpus.push(vcpu.idx);
            scope.has_disabled |= !vcpu.lapic.enabled();
        }
        scope.whole_vm = scope.vcpus.is_empty() && scope.naming.is_empty();
        scope
    }

    /// The same, but that any destination found by a scan counts.
    pub(crate) fn slow_everywhere(self) -> Self {
        Self {
            slow_everywhere: true,
            ..self
        }
    }

    /// The same, but that the VM lost APICv or AVIC for it. Where nobody is to blame any more, no destination touches it.
    pub(crate) fn losing_apicv(self) -> Self {
        Self {
            whole_vm: false,
            loses_apicv: true,
            ..self
        }
    }

    /// The same, but that a real interrupt went astray.
    pub(crate) fn seen(self) -> Self {
        Self {
            whole_vm: false,
            seen: true,
            ..self
        }
    }

    /// What it amounts to at least, whoever gets what.
    const fn at_least(&self) -> Severity {
        if self.seen {
            Severity::Critical
        } else if self.loses_apicv {
            Severity::Warning
        } else {
            Severity::Info
        }
    }

    /// The destinations that touch it.
    fn touched(&self, deliveries: &Deliveries) -> DestinationSet {
        if self.whole_vm {
            return DestinationSet::ALL;
        }
        self.vcpus
            .iter()
            .fold(self.naming, |touched, &idx| touched | deliveries.reaching(idx))
    }

    /// What of `deliveries` it breaks.
    fn effect(&self, deliveries: &Deliveries) -> Effect {
        let touched = self.touched(deliveries) & DESTINATIONS;
        let count = |verdict| (deliveries.with(verdict) & touched).len();
        let slow = deliveries.with(Verdict::Slow) & DESTINATIONS;
        Effect {
            lost: count(Verdict::Lost),
            misrouted: count(Verdict::Misrouted),
            partial: count(Verdict::Partial),
            slow: !slow.is_empty() && (self.slow_everywhere || count(Verdict::Slow) > 0),
        }
    }
}

/// What a finding amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assessment {
    pub(crate) severity: Severity,
    pub(crate) effect: Effect,
    /// A source that uses one of the broken destinations.
    pub(crate) aim: Option<Aim>,
}

/// The consequences of a VM's state, here and elsewhere.
pub(crate) struct Consequences<'a> {
    vm: &'a Vm,
    logical: Tables,
    physical: Tables,
}

/// Who gets what by destinations of one mode, as far as it was asked for.
#[derive(Default)]
struct Tables {
    here: OnceCell<Option<Deliveries>>,
    failing_aims: OnceCell<Vec<FailingAim>>,
    under_other_rules: OnceCell<Vec<Deliveries>>,
    once_enabled: OnceCell<Option<Deliveries>>,
}

/// A source whose interrupts do not arrive as they should, and the destination that it uses.
struct FailingAim {
    aim: Aim,
    dest: u8,
}

impl<'a> Consequences<'a> {
    pub(crate) fn of(vm: &'a Vm) -> Self {
        Self {
            vm,
            logical: Tables::default(),
            physical: Tables::default(),
        }
    }

    const fn tables(&self, mode: DestinationMode) -> &Tables {
        match mode {
            DestinationMode::Logical => &self.logical,
            DestinationMode::Physical => &self.physical,
        }
    }

    /// Judges what `scope` amounts to.
    pub(crate) fn assess(&self, scope: &Scope) -> Assessment {
        let here = &self.tables(scope.mode).here;
        let Some(here) = here.get_or_init(|| self.vm.deliveries(scope.mode)) else {
            return Assessment {
                severity: scope.at_least(),
                effect: Effect::default(),
                aim: None,
            };
        };
        let effect = scope.effect(here);
        let aim = self.aim_at_broken(here, scope);
        let mode_in_use = || self.aims(scope.mode).next().is_some();
        let severity = if aim.is_some() {
            Severity::Critical
        } else if effect.broken() > 0 || (effect.slow && mode_in_use()) {
            Severity::Warning
        } else if self.is_latent(scope) {
            Severity::Notice
        } else {
            Severity::Info
        };
        Assessment {
            severity: severity.max(scope.at_least()),
            effect,
            aim,
        }
    }

    /// The sources known to use a destination of this mode.
    fn aims(&self, mode: DestinationMode) -> impl Iterator<Item = &'a Aim> {
        let logical = mode == DestinationMode::Logical;
        self.vm.aims().iter().filter(move |aim| aim.logical == logical)
    }

    fn aim_at_broken(&self, here: &Deliveries, scope: &Scope) -> Option<Aim> {
        let failing = &self.tables(scope.mode).failing_aims;
        let failing = failing.get_or_init(|| self.failing_aims(here, scope.mode));
        if failing.is_empty() {
            return None;
        }
        let touched = scope.touched(here);
        let aimed = failing.iter().find(|failing| touched.contains(failing.dest));
        aimed.map(|failing| failing.aim)
    }

    /// The sources whose interrupts do not arrive as they should. For lowest priority one of the vCPUs named is enough: it
    /// depends on the vCPU picked.
    fn failing_aims(&self, here: &Deliveries, mode: DestinationMode) -> Vec<FailingAim> {
        let Some(fabric) = self.vm.fabric() else {
            return Vec::new();
        };
        let mut picks: BTreeMap<u8, Picks<'_>> = BTreeMap::new();
        let mut failing = |aim: &Aim| {
            let dest = u8::try_from(aim.dest)
                .ok()
                .filter(|&dest| DESTINATIONS.contains(dest))?;
            let fails = here.verdict(dest).is_broken()
                && (!aim.lowest_priority
                    || picks
                        .entry(dest)
                        .or_insert_with(|| Picks::of(here, &fabric, dest))
                        .fails(aim.vector));
            fails.then_some(FailingAim { aim: *aim, dest })
        };
        self.aims(mode).filter_map(&mut failing).collect()
    }

    /// Whether it would break something under other map rules, or anything but run smoothly once its disabled
    /// vCPUs were enabled.
    fn is_latent(&self, scope: &Scope) -> bool {
        let tables = self.tables(scope.mode);
        let elsewhere = tables
            .under_other_rules
            .get_or_init(|| self.compute_under_other_rules(scope.mode));
        if elsewhere
            .iter()
            .any(|deliveries| scope.effect(deliveries).broken() > 0)
        {
            return true;
        }
        scope.has_disabled
            && tables
                .once_enabled
                .get_or_init(|| self.compute_once_enabled(scope.mode))
                .as_ref()
                .is_some_and(|deliveries| {
                    let effect = scope.effect(deliveries);
                    effect.broken() > 0 || effect.slow
                })
    }

    fn compute_under_other_rules(&self, mode: DestinationMode) -> Vec<Deliveries> {
        let others = MapRules::ALL
            .into_iter()
            .filter(|&rules| Some(rules) != self.vm.rules());
        others
            .map(|rules| self.compute(self.vm.vcpus(), rules, mode))
            .collect()
    }

    fn compute_once_enabled(&self, mode: DestinationMode) -> Option<Deliveries> {
        let rules = self.vm.rules()?;
        let mut vcpus = self.vm.vcpus().to_vec();
        for vcpu in &mut vcpus {
            enable_if_left_over(&mut vcpu.lapic);
        }
        Some(self.compute(&vcpus, rules, mode))
    }

    fn compute(&self, vcpus: &[VcpuSample], rules: MapRules, mode: DestinationMode) -> Deliveries {
        let x2apic_format = self.vm.x2apic_format();
        let rebuilt = rebuild(vcpus, x2apic_format, rules);
        let fabric = Fabric {
            vcpus,
            map: rebuilt.map.as_ref(),
            rules,
            x2apic_format,
            broadcast_quirk_disabled: self.vm.broadcast_quirk_disabled(),
        };
        Deliveries::compute(&fabric, mode)
    }
}

/// Enables a disabled xAPIC that has a logical ID, as the guest would by setting its enable bits.
fn enable_if_left_over(lapic: &mut Lapic) {
    if !lapic.enabled() && !lapic.apic_base.x2apic() && !lapic.xapic_logical_id().is_zero() {
        lapic.sw_enabled = true;
        lapic.apic_base = ApicBase(lapic.apic_base.0 | ApicBase::POWER_ON.mode_bits());
    }
}
