//! How much a run of cases tries: what fits into a test before every commit, or all of it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How much a run tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// `cargo xtask test`: each case once, at a count that keeps a boot to some minutes.
    #[default]
    Test,
    /// `cargo xtask soak`: the cases that have more to try, at their whole count.
    Soak,
}

impl Scale {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Test, Self::Soak];

    /// Its word, on command lines and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Soak => "soak",
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A word that names no scale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such scale; there are {}", Scale::ALL.map(Scale::name).join(" and "))]
pub struct UnknownScale;

impl FromStr for Scale {
    type Err = UnknownScale;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scale| scale.name() == word)
            .ok_or(UnknownScale)
    }
}

#[cfg(test)]
mod tests {
    use super::{Scale, UnknownScale};

    #[test]
    fn every_scale_has_one_word_everywhere() {
        for scale in Scale::ALL {
            assert_eq!(scale.to_string().parse(), Ok(scale));
            assert_eq!(
                serde_json::to_string(&scale).unwrap(),
                format!("\"{}\"", scale.name())
            );
        }
        assert_eq!("week".parse::<Scale>(), Err(UnknownScale));
    }
}
