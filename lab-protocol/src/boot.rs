//! One boot of the lab for test cases: how the machine must stand, and what runs in it.
//!
//! `lab-case list` prints one a line, `cargo xtask test` boots them: which cases there are, and which machine each of
//! them needs, is said in one place, the lab crate's table of cases.

use serde::{Deserialize, Serialize};

use crate::{KvmBuild, Userland};

/// The name of the boot that needs nothing special: one CPU, KVM loaded.
pub const PLAIN: &str = "plain";

/// One boot and its cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// One word, unique among the boots of a kernel; [`PLAIN`] or what is special about it.
    pub name: String,
    /// CPUs of the machine, 1 or 2.
    pub cpus: u8,
    /// Whether KVM's modules are loaded before the first case.
    pub kvm_loaded: bool,
    /// Which KVM that is.
    pub kvm_build: KvmBuild,
    /// Parameters of the module kvm-amd, as `insmod` takes them; of no meaning where it is not loaded.
    pub kvm_amd_parameters: String,
    /// Whose files the cases see.
    pub userland: Userland,
    /// The series of the kernel that Linux guests boot, at [`crate::order::GUEST_KERNEL`]; none where cases have no such
    /// guests.
    pub guest_kernel: Option<String>,
    /// More words for the kernel's command line, parted by blanks.
    pub kernel_arguments: String,
    /// Full names of the cases, in the order in which they run. Never empty.
    pub cases: Vec<String>,
}

impl Boot {
    /// Reads a boot from its line.
    ///
    /// # Errors
    /// When the line is not a boot of this very checkout.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// The boot's line, without the line break.
    ///
    /// # Errors
    /// Never for owned strings; the signature is serde's.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Boot, KvmBuild, PLAIN};
    use crate::Userland;

    #[test]
    fn a_boot_survives_its_line() {
        let boot = Boot {
            name: PLAIN.into(),
            cpus: 1,
            kvm_loaded: true,
            kvm_build: KvmBuild::KeepDisabled,
            kvm_amd_parameters: "avic=1 force_avic=1".into(),
            userland: Userland::Tiny,
            guest_kernel: Some("5.10".into()),
            kernel_arguments: "lockdown=integrity quiet".into(),
            cases: vec!["kdump/cold".into(), "no-vm".into()],
        };
        let line = boot.to_line().unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(Boot::from_line(&line).unwrap(), boot);
        assert!(Boot::from_line(r#"{"name":"plain"}"#).is_err());
    }
}
