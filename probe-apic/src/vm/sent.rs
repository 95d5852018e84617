//! What became of interrupts that were sent: judged only by the very state that they met.
//!
//! The kernel side counts an interrupt together with the number of recalculations by then, and userspace takes a count in a while later,
//! after every event of that time. So a read with that same number, not outdated since, shows the map that the interrupt met, and the
//! registers, unless they changed without a recalculation, which two reads with one number tell.

use super::Vm;
use crate::{
    astray::{Astray, Course, Kind},
    delivery::{DeliveryMode, Destination, Fabric},
    finding::Confidence,
    id::{BootTime, VcpuId},
    observation::{Sent, VmSample},
    vcpu_set::VcpuSet,
};

impl Vm {
    /// A torn read proves nothing healed.
    pub(super) fn forget_what_healed(&mut self) {
        if self.confidence() == Confidence::Uncertain {
            return;
        }
        let mut astray = std::mem::take(&mut self.astray);
        astray.keep_those_that_go(|kind, course| self.course(kind).as_ref() == Some(course));
        self.astray = astray;
    }

    /// Takes in interrupts. Whether they went astray; `None` where that cannot be told.
    pub(crate) fn sent(&mut self, sent: &Sent) -> Option<bool> {
        let course = self.course_of(sent)?;
        Some(course.verdict.is_broken() && self.astray.add(sent, course))
    }

    /// Forgets the interrupts that went astray too long ago to count. True where there were any.
    pub(crate) fn fade(&mut self, now: BootTime) -> bool {
        self.astray.fade(now)
    }

    /// The interrupts that were seen to go astray.
    #[must_use]
    pub const fn astray(&self) -> &Astray {
        &self.astray
    }

    /// What became of interrupts; `None` where they may have met another state than the one that was read last.
    fn course_of(&self, sent: &Sent) -> Option<Course> {
        let sample = self.sample.as_ref()?;
        let met = self.judging.as_if().is_none()
            && self.confidence() == Confidence::Certain
            && !self.disputed()
            && !self.moved
            && sample.recalculations == sent.recalculations
            && self.recalculations <= sent.recalculations
            && !self.strayed.is_some_and(|stray| stray.may_have_met(sent));
        if met { self.course(&Kind::of(sent)) } else { None }
    }

    /// Where interrupts of a kind go now; `None` where that is not known.
    fn course(&self, kind: &Kind) -> Option<Course> {
        let mode = if kind.lowest_priority {
            DeliveryMode::LowestPriority { vector: kind.vector }
        } else {
            DeliveryMode::Fixed
        };
        // The destination is what KVM took from the message, however wide that was.
        let fabric = Fabric {
            x2apic_format: true,
            ..self.fabric()?
        };
        let delivery = fabric.deliver(Destination::logical(kind.dest), mode);
        Some(Course {
            verdict: delivery.verdict,
            architecture: self.ids(&delivery.architecture),
            kvm: self.ids(&delivery.kvm),
            scanned: delivery.scanned,
        })
    }

    fn ids(&self, vcpus: &VcpuSet) -> Vec<VcpuId> {
        let mut ids: Vec<VcpuId> = vcpus.iter().filter_map(|idx| self.vcpu_id(idx)).collect();
        ids.sort_unstable();
        ids
    }
}

/// Something that decides where interrupts go changed without a recalculation: mostly one that was on its way, and gave the new state a
/// number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stray {
    /// Seen by then.
    at: BootTime,
    /// The number that the states before and after it share.
    recalculations: u64,
}

impl Stray {
    /// The one between two samples, if there was any.
    pub(super) fn between(last: &VmSample, new: &VmSample) -> Option<Self> {
        let strayed = last.recalculations == new.recalculations
            && (last.vcpus != new.vcpus
                || last.published != new.published
                || last.broadcast_quirk_disabled != new.broadcast_quirk_disabled);
        strayed.then_some(Self {
            at: new.at,
            recalculations: new.recalculations,
        })
    }

    /// Whether interrupts may have met the state before it.
    fn may_have_met(self, sent: &Sent) -> bool {
        self.recalculations == sent.recalculations && self.at >= sent.from
    }
}

#[cfg(test)]
mod tests;
