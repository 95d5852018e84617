//! A kernel series of the matrix, and where Debian keeps it.

use std::{fmt, str::FromStr};

/// One series of the matrix: a mainline version `x.y` that a Debian suite ships.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    /// bullseye: the oldest kernel that ldrscope observes; its kvm module has no BTF.
    V5_10,
    /// bookworm: map rules `overwrite`.
    V6_1,
    /// bookworm's second kernel: map rules `conflict-disables`.
    V6_12,
    /// backports to trixie.
    V6_18,
    /// backports to trixie; packaged as binary and modules apart.
    V7_3,
}

/// Every series, oldest first.
pub(crate) const MATRIX: [Series; 5] = [
    Series::V5_10,
    Series::V6_1,
    Series::V6_12,
    Series::V6_18,
    Series::V7_3,
];

impl Series {
    /// `x.y`, as it is written on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V6_18 => "6.18",
            Self::V7_3 => "7.3",
        }
    }

    /// The suites to look in; the newest package of all of them is taken.
    pub(crate) const fn suites(self) -> &'static [&'static str] {
        match self {
            Self::V5_10 => &["bullseye", "bullseye-security"],
            Self::V6_1 => &["bookworm", "bookworm-updates", "bookworm-security"],
            Self::V6_12 => &["bookworm-security", "bookworm-backports"],
            Self::V6_18 | Self::V7_3 => &["trixie-backports"],
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A series that is not in the matrix.
#[derive(Debug, thiserror::Error)]
#[error("no such kernel series; the matrix has {}", MATRIX.map(Series::name).join(", "))]
pub(crate) struct UnknownSeries;

impl FromStr for Series {
    type Err = UnknownSeries;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        MATRIX
            .into_iter()
            .find(|series| series.name() == name)
            .ok_or(UnknownSeries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_reads_back_and_has_a_suite() {
        for series in MATRIX {
            assert_eq!(series.to_string().parse::<Series>().unwrap(), series);
            assert!(!series.suites().is_empty());
        }
    }

    #[test]
    fn the_error_lists_the_matrix() {
        let error = "6.2".parse::<Series>().unwrap_err().to_string();
        assert!(error.ends_with("5.10, 6.1, 6.12, 6.18, 7.3"), "{error}");
    }
}
