//! The lives of one vCPU's LDR: from its first write to the moment its owner stops using it.
//!
//! A life ends when the guest software-disables the APIC, or when INIT, a reset or a restore clears a logical
//! ID that was set. A vCPU that then writes LDR again and is enabled has been taken over by a new kernel (or
//! brought back by the old one), which knows nothing of LDRs that are older than that end. Bringing up a vCPU
//! for the first time, through however many INITs, ends no life.

use crate::{cause::Route, id::BootTime, lapic::Lapic};

/// A new life of an LDR whose vCPU is enabled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    /// When the life before ended.
    pub(super) ended_at: BootTime,
    /// When LDR was last written in it, where that was seen.
    pub(super) written_at: Option<BootTime>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LdrLife {
    /// When LDR was last written, where that was seen.
    written_at: Option<BootTime>,
    /// When the last life ended, until LDR is written again.
    ended_at: Option<BootTime>,
    /// The new life, once LDR is written again, until the APIC is enabled.
    renewing: Option<Renewal>,
}

impl LdrLife {
    pub(super) const fn written_at(&self) -> Option<BootTime> {
        self.written_at
    }

    /// The vCPU's registers after a recalculation that it ran itself.
    ///
    /// KVM also recalculates when the same value is written. On a disabled APIC whose life has ended that is how a
    /// new kernel that happens to use the same logical ID shows; on an enabled one it shows that whoever owns the
    /// LDR is alive, and stands by it.
    pub(super) fn recalculated(
        &mut self,
        at: BootTime,
        route: Route,
        before: &Lapic,
        after: &Lapic,
    ) -> Option<Renewal> {
        let same_again = !after.differs_from(before) && route == Route::GuestWrite && has_logical_id(after);
        if same_again && after.enabled() {
            self.written_at = Some(at);
        } else if same_again && !after.sw_enabled && self.ended_at.is_some() {
            self.write(at, route);
        }
        self.changed(at, route, before, after)
    }

    /// The vCPU's registers changed. Returns the new life that this began, if any.
    pub(super) fn changed(
        &mut self,
        at: BootTime,
        route: Route,
        before: &Lapic,
        after: &Lapic,
    ) -> Option<Renewal> {
        if after.apic_base.x2apic() {
            return None;
        }
        let stopped = before.sw_enabled && !after.sw_enabled;
        let cleared = has_logical_id(before) && !has_logical_id(after);
        if cleared || stopped && (has_logical_id(before) || route == Route::GuestWrite) {
            self.ended_at.get_or_insert(at);
        }
        if after.ldr != before.ldr && has_logical_id(after) {
            self.write(at, route);
        }
        if after.enabled() {
            self.renewing.take()
        } else {
            None
        }
    }

    fn write(&mut self, at: BootTime, route: Route) {
        let written_at = self.written_at.replace(at);
        let ended = self
            .ended_at
            .take()
            .map(|ended_at| Renewal { ended_at, written_at });
        // What a VMM restores says nothing about the guest's kernels.
        self.renewing = match route {
            Route::GuestWrite | Route::Scan => ended.or(self.renewing),
            Route::SetLapic | Route::Reset | Route::Init | Route::ApicBase => None,
        };
    }
}

fn has_logical_id(lapic: &Lapic) -> bool {
    !lapic.apic_base.x2apic() && !lapic.xapic_logical_id().is_zero()
}
