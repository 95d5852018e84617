//! How much a finding matters on this host: computed from who gets what, never fixed per rule.
//!
//! The tables of deliveries that this needs (here, under other map rules, with disabled APICs enabled) are
//! computed at most once for all findings of a VM, and not at all for a VM without findings.

use std::cell::OnceCell;

use crate::{
    aim::Aim,
    delivery::{Deliveries, DeliveryMode, Destination, DestinationMode, Fabric, Verdict},
    finding::{Effect, Severity},
    id::Slot,
    lapic::Lapic,
    logical_id::{LogicalId, Model},
    map_rules::MapRules,
    observation::VcpuSample,
    rebuild::rebuild,
    reg::ApicBase,
    vcpu_set::VcpuSet,
    vm::Vm,
};

#[cfg(test)]
mod tests;

/// The destinations that count: 255 is broadcast.
const DESTINATIONS: std::ops::RangeInclusive<u8> = 0..=254;

/// What a finding is about, as far as its consequences go.
///
/// A destination touches a finding if it names one of its slots, or if one of its vCPUs gets (or should get) what is sent
/// there. A finding without vCPUs and slots is about the VM as a whole: every destination touches it.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Of which mode the destinations are.
    mode: DestinationMode,
    vcpus: VcpuSet,
    /// Destinations 0-255 that name one of the slots.
    naming: [bool; 256],
    whole_vm: bool,
    /// Whether every destination that is slow counts, touched or not.
    slow_everywhere: bool,
    /// Whether the VM lost APICv or AVIC for it.
    loses_apicv: bool,
    /// Whether one of the vCPUs is disabled.
    has_disabled: bool,
}

impl Scope {
    /// For a finding about logical destinations.
    pub(crate) fn logical<'a>(vcpus: impl Iterator<Item = &'a VcpuSample>, slots: &[(Model, Slot)]) -> Self {
        let names = |dest: u8| {
            slots
                .iter()
                .any(|&(model, slot)| LogicalId(dest).named_under(model).contains(slot))
        };
        Self::new(DestinationMode::Logical, vcpus, names)
    }

    /// For a finding about physical destinations.
    pub(crate) fn physical<'a>(vcpus: impl Iterator<Item = &'a VcpuSample>) -> Self {
        Self::new(DestinationMode::Physical, vcpus, |_| false)
    }

    fn new<'a>(
        mode: DestinationMode,
        vcpus: impl Iterator<Item = &'a VcpuSample>,
        names: impl Fn(u8) -> bool,
    ) -> Self {
        let mut scope = Self {
            mode,
            vcpus: VcpuSet::new(),
            naming: [false; 256],
            whole_vm: false,
            slow_everywhere: false,
            loses_apicv: false,
            has_disabled: false,
        };
        for vcpu in vcpus {
            scope.vcpus.insert(vcpu.idx);
            scope.has_disabled |= !vcpu.lapic.enabled();
        }
        for dest in 0..=u8::MAX {
            scope.naming[usize::from(dest)] = names(dest);
        }
        scope.whole_vm = scope.vcpus.is_empty() && !scope.naming.contains(&true);
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

    /// What it amounts to at least, whoever gets what.
    const fn at_least(&self) -> Severity {
        if self.loses_apicv {
            Severity::Warning
        } else {
            Severity::Info
        }
    }

    fn touches(&self, deliveries: &Deliveries, dest: u8) -> bool {
        self.whole_vm
            || self.naming[usize::from(dest)]
            || deliveries.to(dest).architecture.intersects(&self.vcpus)
            || deliveries.to(dest).kvm.intersects(&self.vcpus)
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
    under_other_rules: OnceCell<Vec<Deliveries>>,
    once_enabled: OnceCell<Option<Deliveries>>,
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
        let effect = effect(here, scope);
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
        let is_broken = |aim: &&Aim| {
            u8::try_from(aim.dest).is_ok_and(|dest| {
                DESTINATIONS.contains(&dest)
                    && scope.touches(here, dest)
                    && self.fails(here, scope.mode, aim, dest)
            })
        };
        self.aims(scope.mode).find(is_broken).copied()
    }

    /// Whether what `aim` sends to `dest` does not arrive as it should. For lowest priority one of the vCPUs named
    /// is enough: it depends on the vCPU picked.
    fn fails(&self, here: &Deliveries, mode: DestinationMode, aim: &Aim, dest: u8) -> bool {
        let verdict = here.verdict(dest);
        if !verdict.is_broken() || !aim.lowest_priority {
            return verdict.is_broken();
        }
        let dest = Destination {
            mode,
            id: u32::from(dest),
        };
        let pick = DeliveryMode::LowestPriority { vector: aim.vector };
        let delivery = self.vm.fabric().map(|fabric| fabric.deliver(dest, pick));
        delivery.is_some_and(|delivery| delivery.verdict.is_broken())
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
            .any(|deliveries| effect(deliveries, scope).broken() > 0)
        {
            return true;
        }
        scope.has_disabled
            && tables
                .once_enabled
                .get_or_init(|| self.compute_once_enabled(scope.mode))
                .as_ref()
                .is_some_and(|deliveries| {
                    let effect = effect(deliveries, scope);
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

fn effect(deliveries: &Deliveries, scope: &Scope) -> Effect {
    let mut effect = Effect::default();
    for dest in DESTINATIONS {
        let verdict = deliveries.verdict(dest);
        let counts = (verdict == Verdict::Slow && scope.slow_everywhere) || scope.touches(deliveries, dest);
        if verdict == Verdict::Ok || !counts {
            continue;
        }
        match verdict {
            Verdict::Ok => {}
            Verdict::Slow => effect.slow = true,
            Verdict::Lost => effect.lost += 1,
            Verdict::Misrouted => effect.misrouted += 1,
            Verdict::Partial => effect.partial += 1,
        }
    }
    effect
}
