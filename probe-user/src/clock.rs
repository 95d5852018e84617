//! The boot clock, and how it maps to wall time.
//!
//! Everything is ordered by `CLOCK_BOOTTIME`, which no administrator can step and which counts through
//! suspend. Wall time exists for people and JSON only: it is computed with the offset of the moment of
//! output, so that a corrected wall clock corrects what is shown.

use std::time::Duration;

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use probe_apic::id::BootTime;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The present moment on the boot clock.
#[must_use]
pub fn now() -> BootTime {
    BootTime(u64::try_from(nanos(clock_gettime(ClockId::Boottime))).unwrap_or(0))
}

/// The offset from boot time to wall time, as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// Wall time minus boot time, in nanoseconds.
    offset: i128,
}

impl WallClock {
    /// Reads the present offset.
    #[must_use]
    pub fn read() -> Self {
        let boot = nanos(clock_gettime(ClockId::Boottime));
        let wall = nanos(clock_gettime(ClockId::Realtime));
        Self { offset: wall - boot }
    }

    /// A clock whose boot was `boot` (Unix time in nanoseconds): for output that must be reproducible.
    #[must_use]
    pub const fn booted_at(boot: i64) -> Self {
        Self { offset: boot as i128 }
    }

    /// When boot was: Unix time in nanoseconds, as far as that fits.
    #[must_use]
    pub fn boot(&self) -> i64 {
        i64::try_from(self.offset).unwrap_or(if self.offset < 0 { i64::MIN } else { i64::MAX })
    }

    /// The moment on the boot clock at which it shows `wall`; the beginning or the end of all moments where there is none.
    #[must_use]
    pub fn moment(&self, wall: Timestamp) -> BootTime {
        let since_boot = wall.as_nanosecond() - self.offset;
        BootTime(u64::try_from(since_boot.max(0)).unwrap_or(u64::MAX))
    }

    /// RFC 3339 in UTC with microseconds, as in the JSON contract.
    #[must_use]
    pub fn rfc3339(&self, at: BootTime) -> String {
        self.print(at, 6)
    }

    /// RFC 3339 in UTC with milliseconds, for people.
    #[must_use]
    pub fn human(&self, at: BootTime) -> String {
        self.print(at, 3)
    }

    /// ISO 8601 in UTC with seconds and without separators, for names of files.
    #[must_use]
    pub fn stamp(&self, at: BootTime) -> String {
        let mut stamp = self.print(at, 0);
        stamp.retain(|character| !"-:".contains(character));
        stamp
    }

    /// The time of day in UTC with milliseconds, for people who watch.
    #[must_use]
    pub fn time_of_day(&self, at: BootTime) -> String {
        let moment = self.human(at);
        moment
            .split_once('T')
            .map_or(moment.clone(), |(_, time)| time.to_owned())
    }

    /// When the host was booted, in seconds of Unix time.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds of this age are exact to a microsecond"
    )]
    pub fn unix_seconds_at_boot(&self) -> f64 {
        self.offset as f64 / 1e9
    }

    /// Saturates at the ends of what jiff can represent: a wall clock set to nonsense is no reason to fail.
    fn print(&self, at: BootTime, fraction_digits: u8) -> String {
        let wall = (i128::from(at.0) + self.offset)
            .clamp(Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
        let timestamp = Timestamp::from_nanosecond(wall).unwrap_or(Timestamp::UNIX_EPOCH);
        DateTimePrinter::new()
            .precision(Some(fraction_digits))
            .timestamp_to_string(&timestamp)
    }
}

/// Whole nanoseconds of `time`; of one that is longer than 584 years, as many as 64 bits hold.
#[must_use]
pub fn whole_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn nanos(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_becomes_utc_with_microseconds() {
        let clock = WallClock::booted_at(1_700_000_000_000_000_000);
        assert_eq!(
            clock.rfc3339(BootTime(1_234_567_890)),
            "2023-11-14T22:13:21.234567Z"
        );
        assert_eq!(clock.human(BootTime(1_234_567_890)), "2023-11-14T22:13:21.234Z");
        assert_eq!(clock.stamp(BootTime(1_234_567_890)), "20231114T221321Z");
        assert_eq!(clock.time_of_day(BootTime(1_234_567_890)), "22:13:21.234Z");
    }

    #[test]
    fn absurd_times_saturate_instead_of_failing() {
        let clock = WallClock::booted_at(i64::MAX);
        assert!(clock.rfc3339(BootTime(u64::MAX)).ends_with('Z'));
    }
}
