//! A rate with a burst, kept as one moment: when a VM that is silent from now on has its whole burst again.

use std::fmt;

use probe_apic::id::BootTime;

/// Lines that may be told of one VM before the rate counts.
const BURST: u64 = 5;

/// At most so many lines in a time, and a burst before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    lines: u64,
    period: u64,
}

impl Rate {
    /// `lines` in `period` nanoseconds, with a burst of five; `None` where one of them is 0 or a line would come every
    /// nanosecond.
    #[must_use]
    pub const fn new(lines: u64, period: u64) -> Option<Self> {
        if lines == 0 || period / lines == 0 {
            return None;
        }
        Some(Self { lines, period })
    }

    /// Lines that may come at once after a silence.
    #[must_use]
    pub const fn burst(self) -> u64 {
        BURST
    }

    /// Nanoseconds that one line costs.
    const fn price(self) -> u64 {
        self.period / self.lines
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = match self.period {
            1_000_000_000 => "s",
            60_000_000_000 => "m",
            3_600_000_000_000 => "h",
            nanos => return write!(f, "{}/{nanos}ns", self.lines),
        };
        write!(f, "{}/{period}", self.lines)
    }
}

/// What one VM has spent of its rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    full_at: BootTime,
}

impl Bucket {
    pub(super) const fn full(rate: Rate) -> Self {
        Self {
            rate,
            full_at: BootTime(0),
        }
    }

    pub(super) fn room(&self, now: BootTime) -> u64 {
        let owed = self.full_at.since(now).div_ceil(self.rate.price());
        BURST.saturating_sub(owed)
    }

    pub(super) fn spend(&mut self, now: BootTime) {
        self.full_at = self.full_at.max(now).plus(self.rate.price());
    }

    /// When the next line may come.
    pub(super) const fn next(&self) -> BootTime {
        BootTime(self.full_at.0.saturating_sub((BURST - 1) * self.rate.price()))
    }

    pub(super) const fn full_at(&self) -> BootTime {
        self.full_at
    }
}
