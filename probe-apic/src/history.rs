//! What the vCPUs of one VM went through: who last changed each register, and whose LDR is older than it
//! should be.
//!
//! Fed by touches (the vCPU that ran, as it stood at that moment) and by samples. State is never taken from
//! here: findings come from samples, their causes and their suspicion from this module.

use crate::{
    cause::{Cause, Register, Route, RouteCounts, Task},
    id::{BootTime, VcpuId},
    lapic::Lapic,
    observation::{Origin, Touch, Touched, VmSample},
};

mod acquaintance;
mod ldr_life;
#[cfg(test)]
mod tests;
mod vcpu;

use acquaintance::Acquaintance;
use ldr_life::Renewal;
use vcpu::{Attribution, VcpuHistory};

/// The history of one VM, as far as it was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    origin: Origin,
    vcpus: Acquaintance,
    /// The count of recalculations in the last sample.
    sampled: Option<u64>,
    /// The last recalculation since that sample: the best guess for a change that no touch explains.
    recalculation: Option<Attribution>,
    /// When the present generation of LDRs began: the latest moment at which the life of a then current LDR
    /// ended whose vCPU has since written LDR again and is enabled. LDRs written before are suspected to be
    /// left over.
    generation: Option<BootTime>,
    /// Changes of LDRs.
    ldr_changes: RouteCounts,
    /// Touches were left out since the last sample.
    gap: bool,
    /// Touches told of something since then.
    told: bool,
}

/// When the VM is to be judged because of what a touch told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It told nothing new.
    None,
    /// With the next sample, even if that shows the state of the last: registers went and came back.
    WithNextSample,
    /// At once: it came after the sample that shows its effect, and told more than the sample did.
    Now,
}

impl History {
    /// The empty history of a VM that came to be known by `origin`.
    #[must_use]
    pub const fn new(origin: Origin) -> Self {
        Self {
            origin,
            vcpus: Acquaintance::new(),
            sampled: None,
            recalculation: None,
            generation: None,
            ldr_changes: RouteCounts::NONE,
            gap: false,
            told: false,
        }
    }

    /// Touches were left out: until a sample shows what came of them, nothing is certain.
    pub(crate) const fn skipped(&mut self) {
        self.gap = true;
    }

    /// Takes in a touch.
    pub fn touched(&mut self, touched: &Touched) -> News {
        self.told = true;
        let task = touched.task;
        if let (
            Some(id),
            Touch::Wrote {
                register,
                old,
                guest_rip,
                ..
            },
        ) = (touched.vcpu, touched.what)
        {
            // The recalculation that follows tells what came of it.
            if let Some(vcpu) = self.vcpus.get_mut(id) {
                vcpu.wrote(register, old, guest_rip);
            }
            return News::None;
        }
        let (Some(id), Some(lapic)) = (touched.vcpu, touched.lapic) else {
            if touched.what == Touch::Recalculated {
                self.recalculation = Some(Attribution::guest_write(touched.at, task));
            }
            return News::None;
        };
        let late = self.sampled.is_some_and(|sampled| match touched.what {
            Touch::Recalculated => touched.recalculations <= sampled,
            // What comes of it shows after the recalculation that follows.
            _ => touched.recalculations < sampled,
        });
        let found = self.origin == Origin::Scan && self.sampled.is_none();
        let gap = self.gap;
        let vcpu = self.vcpus.get_or_begin(id, || match found {
            true => VcpuHistory::found(id, touched.at, lapic),
            false => VcpuHistory::born(id),
        });
        match touched.what {
            Touch::VcpuBorn | Touch::Wrote { .. } => News::None,
            Touch::Entered(route) => {
                let by = Attribution {
                    at: touched.at,
                    route,
                    task: Some(task),
                    certain: false,
                };
                vcpu.entered(by, &lapic, late, &mut self.ldr_changes);
                News::None
            }
            Touch::Recalculated => {
                let seen = vcpu.attribute(touched.at, task, &lapic);
                let by = Attribution {
                    certain: seen.certain && !gap,
                    ..seen
                };
                let written_at = vcpu.ldr_written_at();
                let step = vcpu.recalculated(&by, &lapic, late, &mut self.ldr_changes);
                // A suspect that writes its LDR again, even the same value, is suspected no longer.
                let stands_by_it = vcpu.ldr_written_at() != written_at && self.generation.is_some();
                self.recalculation = Some(by);
                let new_generation = step.renewal.is_some_and(|renewal| self.renewed(renewal));
                match step.explained || new_generation || stands_by_it {
                    false => News::None,
                    true if late => News::Now,
                    true => News::WithNextSample,
                }
            }
        }
    }

    /// Takes in a sample: differences that no touch explained are noted without certainty. A torn sample may
    /// show a change whose recalculation, and touch, are yet to come: it is left to them.
    pub fn sampled(&mut self, sample: &VmSample) {
        if !sample.consistent {
            return;
        }
        let found = self.origin == Origin::Scan && self.sampled.is_none();
        let by = match self.recalculation.take() {
            Some(by) => Attribution { certain: false, ..by },
            None => Attribution {
                at: sample.trigger,
                route: Route::Scan,
                task: None,
                certain: false,
            },
        };
        let mut renewals = Vec::new();
        for seen in &sample.vcpus {
            let vcpu = self.vcpus.get_or_begin(seen.id, || match found {
                true => VcpuHistory::found(seen.id, sample.trigger, seen.lapic),
                false => VcpuHistory::born(seen.id),
            });
            renewals.extend(vcpu.sampled(&by, &seen.lapic, &mut self.ldr_changes));
            if self.gap {
                vcpu.begin_anew(&seen.lapic);
            }
        }
        (self.gap, self.told) = (false, false);
        for renewal in renewals {
            self.renewed(renewal);
        }
        self.sampled = Some(sample.recalculations);
    }

    /// Takes in a sample that shows the state of the last one: where nothing was told of in between, its vCPUs need not be
    /// looked at.
    pub(crate) fn sampled_again(&mut self, sample: &VmSample) {
        if self.told || self.gap {
            self.sampled(sample);
        } else if sample.consistent {
            self.sampled = Some(sample.recalculations);
        }
    }

    /// A vCPU began a new life. True where that begins a new generation; one that was itself left over only
    /// joins the present one.
    fn renewed(&mut self, renewal: Renewal) -> bool {
        let joins = self
            .generation
            .is_some_and(|generation| renewal.written_at.is_none_or(|at| at < generation));
        if joins {
            return false;
        }
        let generation = self.generation.max(Some(renewal.ended_at));
        std::mem::replace(&mut self.generation, generation) != generation
    }

    /// Whether the LDR of `vcpu` was written before another vCPU began a new life and wrote its own again.
    /// Meaningful for enabled xAPIC vCPUs with a logical ID.
    #[must_use]
    pub fn suspects(&self, vcpu: VcpuId) -> bool {
        let (Some(generation), Some(vcpu)) = (self.generation, self.vcpus.get(vcpu)) else {
            return false;
        };
        vcpu.ldr_written_at()
            .is_none_or(|written_at| written_at < generation)
    }

    /// Changes of the vCPUs' LDRs so far, each once and by the route known when it was first seen. What came and
    /// went between two looks is not among them.
    #[must_use]
    pub const fn ldr_changes(&self) -> RouteCounts {
        self.ldr_changes
    }

    /// The latest change of any of `registers` on any of `vcpus`. Among changes of the same moment the first
    /// register named wins.
    pub fn latest_cause(&self, vcpus: impl Iterator<Item = VcpuId>, registers: &[Register]) -> Option<Cause> {
        let mut latest: Option<(BootTime, &VcpuHistory, Register)> = None;
        for vcpu in vcpus.filter_map(|id| self.vcpus.get(id)) {
            for &register in registers {
                let Some(at) = vcpu.changed_at(register) else {
                    continue;
                };
                if latest.is_none_or(|(best, ..)| at > best) {
                    latest = Some((at, vcpu, register));
                }
            }
        }
        latest.and_then(|(_, vcpu, register)| vcpu.cause(register))
    }
}

/// What one step in a vCPU's registers told.
struct Step {
    /// A change got a certain cause that it did not have.
    explained: bool,
    /// The new life of an LDR that began with it.
    renewal: Option<Renewal>,
}

impl Attribution {
    const fn guest_write(at: BootTime, task: Task) -> Self {
        Self {
            at,
            route: Route::GuestWrite,
            task: Some(task),
            certain: true,
        }
    }
}

/// Whether `after` is what `route` leaves behind, entered with `before`. A recalculation that a thread runs
/// after entering a route may still be another's.
fn is_outcome_of(route: Route, before: &Lapic, after: &Lapic) -> bool {
    match route {
        Route::SetLapic => true,
        Route::ApicBase => after.apic_base != before.apic_base,
        // SDM vol. 3, "Local APIC State After an INIT Reset"; in x2APIC mode ID and LDR are kept.
        Route::Init | Route::Reset => {
            let fresh = after.svr == crate::reg::Svr::POWER_ON && !after.sw_enabled;
            fresh && (after.apic_base.x2apic() || (after.ldr.0 == 0 && after.dfr == crate::reg::Dfr::FLAT))
        }
        Route::GuestWrite | Route::Scan => false,
    }
}
