//! A condition that keeps coming and going: when that is so, how often, and when it is over.
//!
//! Counts goings only, for each vCPU that they concern: eight vCPUs that each pass through a state once, as in an SMP
//! boot, are not one condition that came and went eight times. What is told of a flapping condition is left to
//! [`super::entry`].

use std::collections::BTreeMap;

use crate::id::{BootTime, VcpuId};

/// How often a condition goes from one vCPU within [`WINDOW_NANOS`] before it counts as flapping.
const GOINGS: usize = 5;

/// The time within which, and the quiet time after which it is over: one second.
const WINDOW_NANOS: u64 = 1_000_000_000;

/// Whether a condition that held for `before` and now holds for `now` (both ascending) can be one and the
/// same: some vCPU is in both, or it is not about vCPUs at all.
pub(super) fn is_same_condition(before: &[VcpuId], now: &[VcpuId]) -> bool {
    now.iter().any(|vcpu| before.binary_search(vcpu).is_ok()) || (before.is_empty() && now.is_empty())
}

#[derive(Debug, Default)]
pub(super) struct Flapping {
    /// When it went last.
    last: Option<BootTime>,
    /// By vCPU; `None` for a condition that is not about vCPUs.
    goings: BTreeMap<Option<VcpuId>, Goings>,
    /// How often it went since it began to flap.
    held_for: Option<u32>,
}

/// The last goings from one vCPU, oldest first.
#[derive(Debug, Default)]
struct Goings {
    at: [BootTime; GOINGS],
    known: usize,
}

impl Goings {
    /// Adds one. True where that makes too many within the window.
    fn add(&mut self, at: BootTime) -> bool {
        self.at.rotate_left(1);
        self.at[GOINGS - 1] = at;
        self.known = (self.known + 1).min(GOINGS);
        self.known == GOINGS && at.since(self.at[0]) <= WINDOW_NANOS
    }
}

impl Flapping {
    /// The condition went from `vcpus`.
    pub(super) fn went(&mut self, at: BootTime, vcpus: &[VcpuId]) {
        if self.last.is_some_and(|last| at.since(last) > WINDOW_NANOS) {
            *self = Self::default();
        }
        self.last = Some(at);
        let concerned: Vec<Option<VcpuId>> = if vcpus.is_empty() {
            vec![None]
        } else {
            vcpus.iter().copied().map(Some).collect()
        };
        let mut too_often = false;
        for vcpu in concerned {
            too_often |= self.goings.entry(vcpu).or_default().add(at);
        }
        self.held_for = match self.held_for {
            Some(times) => Some(times.saturating_add(1)),
            None => too_often.then_some(GOINGS as u32),
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
        self.last.map_or(BootTime(0), |last| last.plus(WINDOW_NANOS))
    }
}
