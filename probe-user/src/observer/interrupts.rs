//! Counts of interrupts, window by window, as observations.

use std::collections::BTreeMap;

use probe_apic::{
    id::{BootTime, VmId},
    observation::{Observation, Sent},
};
use probe_common::interrupts::{Tallied, what};

use super::Report;
use crate::bpf::access::Access;

/// How long a window is, in nanoseconds. What was counted in one is taken at the end of the next.
const WINDOW: u64 = 100_000_000;

/// Between two reports of what was not counted, in nanoseconds.
const UNCOUNTED_EVERY: u64 = 1_000_000_000;

/// Windows that were begun when nobody was watching yet.
const BEFORE_OURS: u32 = 2;

/// When windows began, and what was taken of them.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Turns so far, up to those of windows before ours.
    turns: u32,
    /// The one before the present one.
    before: BootTime,
    present: BootTime,
    /// Kept for its capacity.
    tallied: Vec<Tallied>,
    /// Taken and not reported yet: not all events of that time may have been taken in.
    sent: Vec<Sent>,
    uncounted: u64,
    /// Interrupts that the program was not run for, as far as is known.
    missed: u64,
    /// When to ask for that next.
    next_account: BootTime,
    said_at: BootTime,
}

impl Windows {
    pub(super) const fn next_due(&self) -> BootTime {
        self.present.plus(WINDOW)
    }

    /// Begins the next window, where it is time, and takes what was counted in the one before the present one.
    pub(super) fn turn_if_due(&mut self, access: &mut Access, now: BootTime) {
        if now < self.next_due() {
            return;
        }
        let Some(counter) = &mut access.interrupts else {
            return;
        };
        let uncounted = counter.turn(&mut self.tallied);
        if self.turns < BEFORE_OURS {
            self.turns += 1;
            self.tallied.clear();
        } else {
            self.uncounted += uncounted.beyond + uncounted.full;
        }
        let (from, until) = (self.before, self.present);
        (self.before, self.present) = (self.present, now);
        // Each CPU counted for itself.
        let mut counts: BTreeMap<(u64, u64, u64), u64> = BTreeMap::new();
        for tallied in self.tallied.drain(..) {
            let count = counts
                .entry((tallied.vm, tallied.recalculations, tallied.what))
                .or_default();
            *count += u64::from(tallied.count);
        }
        self.sent
            .extend(counts.into_iter().map(|((vm, recalculations, packed), count)| {
                let (dest, vector, lowest_priority) = what::unpack(packed);
                Sent {
                    vm: VmId(vm),
                    from,
                    until,
                    recalculations,
                    dest,
                    vector,
                    lowest_priority,
                    count,
                }
            }));
        if now >= self.next_account {
            self.next_account = now.plus(UNCOUNTED_EVERY);
            let missed = access.missed_interrupts();
            self.uncounted += missed.saturating_sub(self.missed);
            self.missed = missed;
        }
    }

    /// Reports what was taken of the VMs that are known, and, at most once a second, what was not counted.
    pub(super) fn report(&mut self, known: impl Fn(VmId) -> bool, out: &mut Vec<Report>) {
        let sent = self.sent.drain(..).filter(|sent| known(sent.vm));
        out.extend(sent.map(|sent| Report::Observation(Observation::Sent(sent))));
        if self.uncounted > 0 && self.present.since(self.said_at) >= UNCOUNTED_EVERY {
            self.said_at = self.present;
            out.push(Report::Uncounted {
                interrupts: std::mem::take(&mut self.uncounted),
            });
        }
    }
}
