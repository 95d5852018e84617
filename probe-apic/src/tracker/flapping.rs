//! A condition that keeps coming and going: when that is so, how often, and when it is over.
//!
//! Counts goings only, and only while they concern the same vCPUs: eight vCPUs that each pass through a
//! state once, as in an SMP boot, are not one condition that came and went eight times. What is told of a
//! flapping condition is left to [`super::entry`].

use crate::id::{BootTime, VcpuId};

/// How often a condition goes within [`WINDOW_NANOS`] before it counts as flapping.
const GOINGS: usize = 5;

/// The time within which, and the quiet time after which it is over: one second.
const WINDOW_NANOS: u64 = 1_000_000_000;

/// Whether a condition that held for `before` and now holds for `now` (both ascending) can be one and the
/// same: some vCPU is in both, or it is not about vCPUs at all.
pub(super) fn is_same_condition(before: &[VcpuId], now: &[VcpuId]) -> bool {
    now.iter().any(|vcpu| before.binary_search(vcpu).is_ok()) || (before.is_empty() && now.is_empty())
}

#[derive(Debug)]
pub(super) struct Flapping {
    /// The last goings, oldest first.
    goings: [BootTime; GOINGS],
    /// How many of those there are.
    known: usize,
    /// The vCPUs that the last one concerned.
    vcpus: Vec<VcpuId>,
    /// How often it went since it began to flap.
    held_for: Option<u32>,
}

impl Flapping {
    pub(super) const fn new() -> Self {
        Self {
            goings: [BootTime(0); GOINGS],
            known: 0,
            vcpus: Vec::new(),
            held_for: None,
        }
    }

    /// The condition went from `vcpus` (ascending).
    pub(super) fn went(&mut self, at: BootTime, vcpus: &[VcpuId]) {
        let long_ago = self.last().is_some_and(|last| at.since(last) > WINDOW_NANOS);
        let of_others = !is_same_condition(&self.vcpus, vcpus);
        if long_ago || of_others {
            *self = Self::new();
        }
        self.vcpus.clear();
        self.vcpus.extend_from_slice(vcpus);
        self.goings.rotate_left(1);
        self.goings[GOINGS - 1] = at;
        self.known = (self.known + 1).min(GOINGS);
        self.held_for = match self.held_for {
            Some(times) => Some(times.saturating_add(1)),
            None if self.known == GOINGS && at.since(self.goings[0]) <= WINDOW_NANOS => Some(GOINGS as u32),
            None => None,
        };
    }

    /// It is over; what went on before does not count any more.
    pub(super) const fn calm(&mut self) {
        self.held_for = None;
    }

    /// Whether it flaps, and is therefore held.
    pub(super) const fn is_held(&self) -> bool {
        self.held_for.is_some()
    }

    /// How often it went, while it is held.
    pub(super) const fn held_for(&self) -> Option<u32> {
        self.held_for
    }

    /// When it will have been quiet long enough, if it does not go again.
    pub(super) fn quiet_at(&self) -> BootTime {
        self.last().map_or(BootTime(0), |last| last.plus(WINDOW_NANOS))
    }

    fn last(&self) -> Option<BootTime> {
        (self.known > 0).then_some(self.goings[GOINGS - 1])
    }
}
