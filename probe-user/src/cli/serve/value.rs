//! The words that options of `serve` take, beside those that other verbs know.

use std::{
    fmt,
    net::{AddrParseError, SocketAddr},
    time::Duration,
};

use clap::ValueEnum;

use crate::{cli::value, daemon::limiter::Rate};

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadValue {
    #[error("not an address; write for example 127.0.0.1:9761, [::1]:9761 or none")]
    Address(#[from] AddrParseError),
    #[error("not a duration from 1s to 1h; write for example 15s or 1m")]
    Interval,
    #[error("not a number from 1 to {LARGEST_COUNT}")]
    Count,
    #[error("not a size from 64KiB to 1TiB; write for example 512KiB, 64MiB or 1GiB")]
    Size,
    #[error("not a rate; write for example 1/s, 10/m, 60/h or off")]
    Rate,
}

const LARGEST_COUNT: u32 = 10_000;

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("none"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// How much is told of each VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// Everything.
    Off,
    /// So much.
    To(Rate),
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::To(rate) => rate.fmt(f),
        }
    }
}

/// Whether events go to the systemd journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JournalMode {
    /// Where there is one at the start
    Auto,
    /// In any case, also where it is not there yet
    On,
    /// No
    Off,
}

pub(super) fn listen(text: &str) -> Result<Listen, BadValue> {
    match text {
        "none" => Ok(Listen::Off),
        address => Ok(Listen::At(address.parse()?)),
    }
}

pub(super) fn rate_limit(text: &str) -> Result<RateLimit, BadValue> {
    if text == "off" {
        return Ok(RateLimit::Off);
    }
    let rate = || {
        let (lines, unit) = text.split_once('/')?;
        let period = match unit {
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        Rate::new(digits(lines)?, period)
    };
    rate().map(RateLimit::To).ok_or(BadValue::Rate)
}

pub(super) fn interval(text: &str) -> Result<Duration, BadValue> {
    let bounds = Duration::from_secs(1)..=Duration::from_hours(1);
    value::duration(text)
        .ok()
        .filter(|interval| bounds.contains(interval))
        .ok_or(BadValue::Interval)
}

pub(super) fn count(text: &str) -> Result<u32, BadValue> {
    digits(text)
        .and_then(|count| u32::try_from(count).ok())
        .filter(|count| (1..=LARGEST_COUNT).contains(count))
        .ok_or(BadValue::Count)
}

pub(super) fn size(text: &str) -> Result<u64, BadValue> {
    let number = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit = match &text[number.len()..] {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        _ => return Err(BadValue::Size),
    };
    digits(number)
        .and_then(|count| count.checked_mul(unit))
        .filter(|bytes| (64 << 10..=1 << 40).contains(bytes))
        .ok_or(BadValue::Size)
}

/// The parser of the standard library takes a sign.
fn digits(text: &str) -> Option<u64> {
    text.starts_with(|first: char| first.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port_and_none_is_one() {
        assert_eq!(listen("none"), Ok(Listen::Off));
        for address in ["127.0.0.1:9761", "[::1]:0"] {
            assert_eq!(listen(address).unwrap().to_string(), address);
        }
        for odd in ["", "localhost:9761", "127.0.0.1", ":9761", "127.0.0.1:65536"] {
            assert!(listen(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn rates_are_lines_in_a_time() {
        for rate in ["1/s", "10/m", "60/h", "off"] {
            assert_eq!(rate_limit(rate).unwrap().to_string(), rate);
        }
        for odd in ["", "0/s", "1", "1/d", "-1/s", "+1/s", "/s", "2000000000/s"] {
            assert_eq!(rate_limit(odd), Err(BadValue::Rate), "{odd}");
        }
    }

    #[test]
    fn sizes_counts_and_intervals_have_bounds() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("65536"), Ok(1 << 16));
        assert_eq!(size("1TiB"), Ok(1 << 40));
        for odd in [
            "",
            "1KiB",
            "2TiB",
            "-1MiB",
            "64 MiB",
            "64MB",
            "18446744073709551615TiB",
        ] {
            assert_eq!(size(odd), Err(BadValue::Size), "{odd}");
        }
        assert_eq!((count("1"), count("10000")), (Ok(1), Ok(10_000)));
        for odd in ["", "0", "10001", "+1", "1.5"] {
            assert_eq!(count(odd), Err(BadValue::Count), "{odd}");
        }
        assert_eq!(interval("15s"), Ok(Duration::from_secs(15)));
        for odd in ["", "0", "999ms", "61m", "15"] {
            assert_eq!(interval(odd), Err(BadValue::Interval), "{odd}");
        }
    }
}
