//! The number that names a run's random states. Written in hexadecimal, read in either notation, so that what one run
//! printed is what the next one takes.

use std::{fmt, str::FromStr};

/// Names a sequence of random states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

/// A text that is no [`Seed`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a seed is a number of up to 64 bits, such as 2019 or 0x1d20")]
pub struct UnknownSeed;

impl fmt::Display for Seed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

impl FromStr for Seed {
    type Err = UnknownSeed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map(Self).map_err(|_| UnknownSeed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Seed, UnknownSeed};

    #[test]
    fn a_seed_reads_back_in_either_notation() {
        for seed in [0, 2019, u64::MAX].map(Seed) {
            assert_eq!(seed.to_string().parse(), Ok(seed));
            assert_eq!(seed.0.to_string().parse(), Ok(seed));
        }
        for odd in ["", "0x", "-1", "seed", "0x10000000000000000"] {
            assert_eq!(odd.parse::<Seed>(), Err(UnknownSeed), "{odd}");
        }
    }
}
