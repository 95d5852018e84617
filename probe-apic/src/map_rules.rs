//! The map rules: how a generation of KVM turns registers into a map. A value, chosen from the running
//! kernel's own types and confirmed against its published maps, never from a version string alone.
//!
//! What the rules are is in [`mod@crate::rebuild`] and [`crate::delivery`], beside the code that follows them.

use std::{fmt, str::FromStr};

/// A generation of `kvm_recalculate_apic_map` (arch/x86/kvm/lapic.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapRules {
    /// Up to 5.2: software-disabled APICs are entered too. The behaviour of the 2019 report.
    KeepDisabled,
    /// 5.3 to 6.2: software-disabled APICs are skipped; a later vCPU overwrites an earlier one, a multi-bit
    /// LDR is entered under its lowest bit.
    Overwrite,
    /// 6.3 on: a multi-bit LDR, a taken slot or a second mode disables the logical map.
    ConflictDisables,
}

impl MapRules {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::KeepDisabled, Self::Overwrite, Self::ConflictDisables];

    /// The word of the JSON contract and of `--as-kvm`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeepDisabled => "keep-disabled",
            Self::Overwrite => "overwrite",
            Self::ConflictDisables => "conflict-disables",
        }
    }

    /// The rules of a mainline release. Stable and distribution kernels carry backports: for a running kernel
    /// the answer comes from its types and its maps, this is for `--as-kvm 6.1`.
    #[must_use]
    pub const fn of_mainline(major: u32, minor: u32) -> Self {
        match (major, minor) {
            (0..=4, _) | (5, 0..=2) => Self::KeepDisabled,
            (5, _) | (6, 0..=2) => Self::Overwrite,
            _ => Self::ConflictDisables,
        }
    }

    /// Whether a map of mode `sw-disabled` drops logical interrupts at once (6.3 on) rather than scanning.
    #[must_use]
    pub const fn drops_when_sw_disabled(self) -> bool {
        matches!(self, Self::ConflictDisables)
    }
}

impl fmt::Display for MapRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for MapRules {
    type Err = UnknownMapRules;

    /// Reads a name, or a mainline version `x.y` (a third component is ignored).
    fn from_str(word: &str) -> Result<Self, UnknownMapRules> {
        if let Some(rules) = Self::ALL.into_iter().find(|rules| rules.name() == word) {
            return Ok(rules);
        }
        let mut numbers = word.split('.').map(str::parse::<u32>);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), None | Some(Ok(_)), None) => {
                Ok(Self::of_mainline(major, minor))
            }
            _ => Err(UnknownMapRules),
        }
    }
}

/// A word that is neither a name of [`MapRules`] nor a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMapRules;

impl fmt::Display for UnknownMapRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a set of map rules; use keep-disabled, overwrite, conflict-disables, or a mainline version such as 6.1",
        )
    }
}

impl std::error::Error for UnknownMapRules {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_a_mainline_version_is_understood() {
        for rules in MapRules::ALL {
            assert_eq!(rules.name().parse(), Ok(rules));
        }
        for (version, rules) in [
            ("4.19", MapRules::KeepDisabled),
            ("5.2", MapRules::KeepDisabled),
            ("5.3", MapRules::Overwrite),
            ("6.2", MapRules::Overwrite),
            ("6.3", MapRules::ConflictDisables),
            ("6.12.117", MapRules::ConflictDisables),
            ("7.0", MapRules::ConflictDisables),
        ] {
            assert_eq!(version.parse(), Ok(rules), "{version}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_remedy() {
        for word in ["", "6", "6.", "6.x", "6.1.2.3", "newest", "-1.2"] {
            assert_eq!(word.parse::<MapRules>(), Err(UnknownMapRules), "{word}");
        }
        assert!(UnknownMapRules.to_string().contains("conflict-disables"));
    }
}
