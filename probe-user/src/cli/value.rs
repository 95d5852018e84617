//! Values of the command line that clap does not know: each parser takes a word and names what would do instead.

use std::{collections::BTreeSet, time::Duration};

use jiff::SignedDuration;

/// A value of the command line that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadValue {
    #[error("not a duration; write for example 0, 200ms, 1s or 5m")]
    Duration,
    #[error("not a power of two from 64KiB to 256MiB; write for example 512KiB or 1MiB")]
    RingSize,
    #[error("not a destination; write for example 3, 0x10-0x1f or 1,2,0x40, each from 0 to 255")]
    Destination,
}

/// What `--dest` names, ascending, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations(pub Vec<u32>);

pub(super) fn duration(text: &str) -> Result<Duration, BadValue> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration: SignedDuration = text.parse().map_err(|_| BadValue::Duration)?;
    duration.try_into().map_err(|_| BadValue::Duration)
}

pub(super) fn ring_bytes(text: &str) -> Result<u32, BadValue> {
    const SMALLEST: u32 = 64 << 10;
    const LARGEST: u32 = 256 << 20;
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit: u32 = match &text[digits.len()..] {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        _ => return Err(BadValue::RingSize),
    };
    let bytes = digits
        .parse::<u32>()
        .ok()
        .and_then(|count| count.checked_mul(unit));
    bytes
        .filter(|bytes| bytes.is_power_of_two() && (SMALLEST..=LARGEST).contains(bytes))
        .ok_or(BadValue::RingSize)
}

/// A comma-separated list of numbers and ranges.
pub(super) fn destinations(text: &str) -> Result<Destinations, BadValue> {
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(BadValue::Destination);
        }
        all.extend(first..=last);
    }
    Ok(Destinations(all.into_iter().collect()))
}

/// A decimal number, or a hexadecimal one behind `0x`.
fn number(text: &str) -> Result<u32, BadValue> {
    let digits = |text: &str, radix| {
        // The parser of the standard library takes a sign.
        let plain = text.starts_with(|first: char| first.is_ascii_hexdigit());
        plain.then(|| u32::from_str_radix(text, radix).ok()).flatten()
    };
    let text = text.trim();
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hexadecimal) => digits(hexadecimal, 16),
        None => digits(text, 10),
    };
    number
        .filter(|&number| number <= u32::from(u8::MAX))
        .ok_or(BadValue::Destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_any_usual_unit() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        for odd in ["", "5", "-1s", "fast", "1 parsec", "99999999999999999999h"] {
            assert_eq!(duration(odd), Err(BadValue::Duration), "{odd}");
        }
    }

    #[test]
    fn ring_sizes_are_powers_of_two_within_bounds() {
        assert_eq!(ring_bytes("65536"), Ok(65536));
        assert_eq!(ring_bytes("64KiB"), Ok(65536));
        assert_eq!(ring_bytes("1M"), Ok(1 << 20));
        for odd in [
            "",
            "KiB",
            "32KiB",
            "3MiB",
            "512MiB",
            "1GiB",
            "4294967296",
            "-1MiB",
            "1é",
        ] {
            assert_eq!(ring_bytes(odd), Err(BadValue::RingSize), "{odd}");
        }
    }

    #[test]
    fn destinations_are_numbers_ranges_and_lists() {
        let read = |text| destinations(text).map(|destinations| destinations.0);
        assert_eq!(read("3"), Ok(vec![3]));
        assert_eq!(read("0x1F"), Ok(vec![0x1f]));
        assert_eq!(read("0x40, 1-3,2"), Ok(vec![1, 2, 3, 0x40]));
        assert_eq!(read("0-255").map(|all| all.len()), Ok(256));
        for odd in [
            "", "-1", "+1", "1-", "3-1", "1,,2", "256", "0x", "0x-1", "0x+1", "ff", "1.5",
        ] {
            assert_eq!(read(odd), Err(BadValue::Destination), "{odd}");
        }
    }
}
