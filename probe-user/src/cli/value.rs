//! Values of the command line that clap does not know: each parser takes a word and names what would do instead.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use jiff::SignedDuration;

/// A value of the command line that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadValue {
    #[error("not a duration; write for example 0, 200ms, 1s or 5m")]
    Duration,
    #[error("not a power of two from 64KiB to 256MiB; write for example 512KiB or 1MiB")]
    RingSize,
    #[error(
        "not a list of destinations; write for example 3, 0x10-0x1f or 1,2,0x40, each of at most 32 bits"
    )]
    Destination,
    #[error("not a destination; write for example 3 or 0x10, of at most 32 bits")]
    OneDestination,
    #[error("more than {MAX_DESTINATIONS} destinations; ask for a smaller range")]
    TooManyDestinations,
    #[error("not a vector; write for example 48 or 0x30, from 0 to 255")]
    Vector,
    #[error("the standard output is for findings; name a file")]
    NotAFile,
}

/// More than these would only exhaust memory.
const MAX_DESTINATIONS: usize = 1 << 16;

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

/// A file that something goes into beside the standard output.
pub(super) fn file(text: &str) -> Result<PathBuf, BadValue> {
    match text {
        "-" => Err(BadValue::NotAFile),
        path => Ok(PathBuf::from(path)),
    }
}

/// A comma-separated list of numbers and ranges.
pub(super) fn destinations(text: &str) -> Result<Destinations, BadValue> {
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let bound = |text| number(text).ok_or(BadValue::Destination);
        let (first, last) = (bound(first)?, bound(last)?);
        if first > last {
            return Err(BadValue::Destination);
        }
        let room = MAX_DESTINATIONS.saturating_sub(all.len());
        if usize::try_from(last - first).is_ok_and(|more| more >= room) {
            return Err(BadValue::TooManyDestinations);
        }
        all.extend(first..=last);
    }
    Ok(Destinations(all.into_iter().collect()))
}

/// One destination.
pub(super) fn destination(text: &str) -> Result<u32, BadValue> {
    number(text).ok_or(BadValue::OneDestination)
}

/// A decimal number, or a hexadecimal one behind `0x`.
fn number(text: &str) -> Option<u32> {
    let digits = |text: &str, radix| {
        // The parser of the standard library takes a sign.
        let plain = text.starts_with(|first: char| first.is_ascii_hexdigit());
        plain.then(|| u32::from_str_radix(text, radix).ok()).flatten()
    };
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hexadecimal) => digits(hexadecimal, 16),
        None => digits(text, 10),
    }
}

pub(super) fn vector(text: &str) -> Result<u8, BadValue> {
    number(text)
        .and_then(|number| number.try_into().ok())
        .ok_or(BadValue::Vector)
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
    fn vectors_have_8_bits() {
        assert_eq!(vector("0x30"), Ok(48));
        assert_eq!(vector("255"), Ok(255));
        for odd in ["", "256", "-1", "x"] {
            assert_eq!(vector(odd), Err(BadValue::Vector), "{odd}");
        }
    }

    #[test]
    fn destinations_are_numbers_ranges_and_lists() {
        let read = |text| destinations(text).map(|destinations| destinations.0);
        assert_eq!(read("3"), Ok(vec![3]));
        assert_eq!(read("0x1F"), Ok(vec![0x1f]));
        assert_eq!(read("0x40, 1-3,2"), Ok(vec![1, 2, 3, 0x40]));
        assert_eq!(read("0xffffffff,256"), Ok(vec![256, u32::MAX]));
        assert_eq!(read("0-65535").map(|all| all.len()), Ok(MAX_DESTINATIONS));
        let odd = [
            "",
            "-1",
            "+1",
            "1-",
            "3-1",
            "1,,2",
            "4294967296",
            "0x",
            "0x-1",
            "0x+1",
            "ff",
            "1.5",
        ];
        for odd in odd {
            assert_eq!(read(odd), Err(BadValue::Destination), "{odd}");
        }
        for many in ["0-65536", "0-65535,65536", "0-4294967295"] {
            assert_eq!(read(many), Err(BadValue::TooManyDestinations), "{many}");
        }
    }
}
