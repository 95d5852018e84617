//! Interrupts that went astray: real ones, counted as they were sent, that did not reach whom the architecture names.
//!
//! Here they are kept; whether one went astray is for [`crate::vm`] to say, which knows the state that it met, and what is told of
//! them is left to [`crate::rules`].

use std::collections::BTreeMap;

use crate::{
    delivery::Verdict,
    id::{BootTime, VcpuId},
    observation::Sent,
};

/// How long after the last interrupt of a kind that kind counts, in nanoseconds.
pub const FADES_AFTER: u64 = 10_000_000_000;

/// Kinds of interrupts that are kept of one VM. A guest may make up any number of them.
const MOST_KINDS: usize = 256;

/// What tells interrupts of a VM from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// The logical destination.
    pub dest: u32,
    /// The vector.
    pub vector: u8,
    /// Whether one of those named was to get it, and not all.
    pub lowest_priority: bool,
}

impl Kind {
    /// That of interrupts that were sent.
    #[must_use]
    pub const fn of(sent: &Sent) -> Self {
        Self {
            dest: sent.dest,
            vector: sent.vector,
            lowest_priority: sent.lowest_priority,
        }
    }
}

/// What became of interrupts of one kind in one state of their VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// How the two below compare.
    pub verdict: Verdict,
    /// Whom the architecture names, ascending.
    pub architecture: Vec<VcpuId>,
    /// Whom KVM reached, ascending.
    pub kvm: Vec<VcpuId>,
    /// KVM scanned all vCPUs for them. One that it may not scan for where it was sent from is tried again, and counted twice.
    pub scanned: bool,
}

/// Interrupts of one kind that went astray.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toll {
    /// Where they went.
    pub course: Course,
    /// How many.
    pub count: u64,
    /// When the first of them was sent, at the earliest.
    pub since: BootTime,
    /// When the last of them was, at the latest.
    pub last: BootTime,
}

/// The interrupts of one VM that went astray, as long as they count.
#[derive(Clone, Debug, Default)]
pub struct Astray {
    kinds: BTreeMap<Kind, Toll>,
    news_at: Option<BootTime>,
}

impl Astray {
    /// Takes in interrupts that went astray. True where that is news: it always is, but for a kind that there is no room for.
    pub(crate) fn add(&mut self, sent: &Sent, course: Course) -> bool {
        let kind = Kind::of(sent);
        if self.kinds.len() >= MOST_KINDS && !self.kinds.contains_key(&kind) {
            return false;
        }
        let news_at = &mut self.news_at;
        let toll = self.kinds.entry(kind).or_insert_with(|| {
            *news_at = (*news_at).max(Some(sent.until));
            Toll {
                course: course.clone(),
                count: 0,
                since: sent.from,
                last: sent.until,
            }
        });
        toll.count = toll.count.saturating_add(sent.count);
        toll.course = course;
        toll.since = toll.since.min(sent.from);
        toll.last = toll.last.max(sent.until);
        true
    }

    /// Forgets those that would not go the same way now.
    pub(crate) fn keep_those_that_go(&mut self, same_way: impl Fn(&Kind, &Course) -> bool) {
        self.kinds.retain(|kind, toll| same_way(kind, &toll.course));
    }

    /// Forgets the kinds of which none came lately. True where there were any.
    pub(crate) fn fade(&mut self, now: BootTime) -> bool {
        let before = self.kinds.len();
        self.kinds.retain(|_, toll| toll.last.plus(FADES_AFTER) > now);
        let faded = self.kinds.len() != before;
        if faded {
            self.news_at = self.news_at.max(Some(now));
        }
        faded
    }

    /// When the next kind will have faded.
    #[must_use]
    pub fn fades_at(&self) -> Option<BootTime> {
        let last = self.kinds.values().map(|toll| toll.last).min();
        last.map(|last| last.plus(FADES_AFTER))
    }

    /// When a kind came or went last, for want of its interrupts.
    #[must_use]
    pub const fn news_at(&self) -> Option<BootTime> {
        self.news_at
    }

    /// All of them, by kind.
    pub fn tolls(&self) -> impl Iterator<Item = (&Kind, &Toll)> {
        self.kinds.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::VmId;

    fn sent(dest: u32, until: u64, count: u64) -> Sent {
        Sent {
            vm: VmId(1),
            from: BootTime(until.saturating_sub(100)),
            until: BootTime(until),
            recalculations: 1,
            dest,
            vector: 0x31,
            lowest_priority: false,
            count,
        }
    }

    fn lost() -> Course {
        Course {
            verdict: Verdict::Lost,
            architecture: vec![VcpuId(1)],
            kvm: Vec::new(),
            scanned: false,
        }
    }

    #[test]
    fn interrupts_of_one_kind_add_up_and_fade_together() {
        let mut astray = Astray::default();
        assert!(astray.add(&sent(2, 1_000, 3), lost()));
        assert!(astray.add(&sent(2, 5_000, 4), lost()));
        let (_, toll) = astray.tolls().next().unwrap();
        assert_eq!(
            (toll.count, toll.since, toll.last),
            (7, BootTime(900), BootTime(5_000))
        );
        let fades_at = BootTime(5_000 + FADES_AFTER);
        assert_eq!(astray.fades_at(), Some(fades_at));
        assert!(!astray.fade(BootTime(fades_at.0 - 1)));
        assert!(astray.fade(fades_at));
        assert_eq!((astray.tolls().count(), astray.news_at()), (0, Some(fades_at)));
    }

    #[test]
    fn a_guest_that_makes_up_destinations_takes_no_memory_for_them() {
        let mut astray = Astray::default();
        let taken = (0..10_000)
            .filter(|&dest| astray.add(&sent(dest, 1, 1), lost()))
            .count();
        assert_eq!((taken, astray.tolls().count()), (MOST_KINDS, MOST_KINDS));
        assert!(astray.add(&sent(0, 2, 1), lost()));
    }
}
