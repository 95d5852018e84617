//! The lab's host as far as expectations depend on it: its kernel series and the rules by which that kernel's
//! KVM builds a logical map. Known from the release string and the build of KVM, since the lab chose both itself;
//! ldrscope must find out by other means.

use std::fmt;
use std::str::FromStr;

use lab_protocol::KvmBuild;

/// How KVM treats LDRs that compete for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapRules {
    /// Up to 5.2: as [`Self::Overwrite`], but software-disabled APICs are entered as well.
    KeepDisabled,
    /// 5.3 to 6.2: the last vCPU overwrites.
    Overwrite,
    /// 6.3 and later: any conflict disables the logical map.
    ConflictDisables,
}

impl MapRules {
    /// Those of `build` on a kernel of `series`.
    pub fn of(series: Series, build: KvmBuild) -> Self {
        match build {
            KvmBuild::Stock => series.map_rules(),
            KvmBuild::KeepDisabled => Self::KeepDisabled,
        }
    }

    /// The word of the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::KeepDisabled => "keep-disabled",
            Self::Overwrite => "overwrite",
            Self::ConflictDisables => "conflict-disables",
        }
    }
}

/// A kernel series, such as 6.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// Not a kernel series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kernel series; give one such as 6.12")]
pub struct UnknownSeries(String);

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Series {
    type Err = UnknownSeries;

    /// Reads a series or a whole release string, of which it is the start.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self { major, minor }),
            _ => Err(UnknownSeries(text.to_owned())),
        }
    }
}

impl Series {
    /// The oldest of the matrix: its kvm module has no BTF.
    pub const V5_10: Self = Self { major: 5, minor: 10 };
    /// The newest of the matrix whose map is built by [`MapRules::Overwrite`].
    pub const V6_1: Self = Self { major: 6, minor: 1 };
    /// The oldest of the matrix whose map is built by [`MapRules::ConflictDisables`].
    pub const V6_12: Self = Self { major: 6, minor: 12 };
    /// The newest of the matrix.
    pub const V7_3: Self = Self { major: 7, minor: 3 };

    /// The running kernel's.
    pub fn running() -> Result<Self, UnknownSeries> {
        rustix::system::uname().release().to_string_lossy().parse()
    }

    /// Whether it takes the CPU from its own code, by default: with the lazy preemption of 6.13 and later. An fentry program that
    /// loses the CPU misses what another task comes to in its function meanwhile, which the kernel counts
    /// (`__bpf_prog_enter_recur`) and ldrscope tells as lost.
    pub fn preempts_itself(self) -> bool {
        let first = Self { major: 6, minor: 13 };
        self >= first
    }

    /// The rules of this series' own KVM.
    pub fn map_rules(self) -> MapRules {
        let first_with_conflicts = Self { major: 6, minor: 3 };
        if self >= first_with_conflicts {
            MapRules::ConflictDisables
        } else {
            MapRules::Overwrite
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MapRules, Series};

    #[test]
    fn a_release_string_names_its_rules() {
        let rules = |text: &str| text.parse::<Series>().unwrap().map_rules();
        assert_eq!(rules("6.1.0-56-amd64"), MapRules::Overwrite);
        assert_eq!(rules("6.12.117+deb12-amd64"), MapRules::ConflictDisables);
        assert_eq!(rules("7.3"), MapRules::ConflictDisables);
        assert!("six".parse::<Series>().is_err());
    }
}
