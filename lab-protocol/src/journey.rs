//! Boots that follow one another, on different kernels: what one leaves in the exchange directory, the next one finds.
//!
//! `lab-case journeys` prints one a line, `cargo xtask test` makes them: for cases that no single host can run, such as a
//! migration.

use serde::{Deserialize, Serialize};

use crate::Boot;

/// A journey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journey {
    /// One word, unique among the journeys.
    pub name: String,
    /// In order; each runs only if all before it passed. Never empty.
    pub legs: Vec<Leg>,
}

/// One boot of a journey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leg {
    /// Kernel series of the host, such as `6.12`.
    pub kernel: String,
    /// The boot. Its cases find the exchange directory at [`crate::order::EXCHANGE`].
    pub boot: Boot,
}

impl Journey {
    /// Reads a journey from its line.
    ///
    /// # Errors
    /// When the line is not a journey of this very checkout.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// The journey's line, without the line break.
    ///
    /// # Errors
    /// Never for owned strings; the signature is serde's.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Journey, Leg};
    use crate::{Boot, KvmBuild, Userland};

    #[test]
    fn a_journey_survives_its_line() {
        let leg = |kernel: &str, name: &str| Leg {
            kernel: kernel.into(),
            boot: Boot {
                name: name.into(),
                cpus: 1,
                kvm_loaded: true,
                kvm_build: KvmBuild::Stock,
                kvm_amd_parameters: String::new(),
                userland: Userland::Host,
                guest_kernel: None,
                kernel_arguments: String::new(),
                cases: vec!["migrate".into()],
            },
        };
        let journey = Journey {
            name: "migration".into(),
            legs: vec![leg("6.1", "migration-1"), leg("6.12", "migration-2")],
        };
        let line = journey.to_line().unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(Journey::from_line(&line).unwrap(), journey);
        assert!(Journey::from_line(r#"{"name":"migration"}"#).is_err());
    }
}
