//! Which build of KVM a machine of the lab runs: the kernel's own, or one that brings back what KVM once did.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A build of `kvm.ko`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KvmBuild {
    /// As the kernel's package has it.
    #[default]
    Stock,
    /// The same sources with the rule of KVM up to 5.2: software-disabled APICs are entered into the logical map.
    KeepDisabled,
}

impl KvmBuild {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Stock, Self::KeepDisabled];

    /// Its word, on command lines and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::KeepDisabled => "keep-disabled",
        }
    }
}

impl fmt::Display for KvmBuild {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A word that names no build of KVM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such build of KVM; there are {}", KvmBuild::ALL.map(KvmBuild::name).join(" and "))]
pub struct UnknownKvmBuild;

impl FromStr for KvmBuild {
    type Err = UnknownKvmBuild;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|build| build.name() == word)
            .ok_or(UnknownKvmBuild)
    }
}

#[cfg(test)]
mod tests {
    use super::{KvmBuild, UnknownKvmBuild};

    #[test]
    fn every_build_has_one_word_everywhere() {
        for build in KvmBuild::ALL {
            assert_eq!(build.to_string().parse(), Ok(build));
            assert_eq!(
                serde_json::to_string(&build).unwrap(),
                format!("\"{}\"", build.name())
            );
        }
        assert_eq!("2019".parse::<KvmBuild>(), Err(UnknownKvmBuild));
    }
}
