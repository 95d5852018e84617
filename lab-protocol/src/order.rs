//! The order: what the lab's PID 1 is to set up and run, as a JSON file in the initramfs.
//!
//! It travels in the initramfs and not on the kernel command line, which is short, split at blanks and visible to
//! everything that is tested.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where PID 1 finds its order.
pub const PATH: &str = "/lab.json";

/// Tag of the 9p share that carries the outer machine's root ([`Userland::Host`]).
pub const HOST_ROOT_TAG: &str = "outer-root";

/// Tag of the 9p share that carries a directory which the outer machine and the command both write.
pub const EXCHANGE_TAG: &str = "exchange";

/// Where the command sees that directory, in either userland.
pub const EXCHANGE: &str = "/exchange";

/// Where lab-init leaves the order for itself when systemd becomes PID 1 ([`Userland::Systemd`]).
pub const HANDED_OVER: &str = "/run/lab/order.json";
/// The kernel that Linux guests of the lab boot, in either userland, if the machine was given one.
pub const GUEST_KERNEL: &str = "/guest/vmlinuz";

/// Everything PID 1 has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The command and its arguments. Never empty in an order that `xtask` writes.
    pub argv: Vec<String>,
    /// Working directory of the command, in the userland's own tree.
    pub cwd: String,
    /// The command's whole environment; PID 1 adds only [`crate::port::RESULTS_VARIABLE`].
    pub environment: BTreeMap<String, String>,
    /// Whose files the command sees.
    pub userland: Userland,
    /// Whether there is a directory to share at [`EXCHANGE`].
    pub exchange: bool,
    /// Whether the initramfs holds a kernel for guests, to be seen at [`GUEST_KERNEL`].
    pub guest_kernel: bool,
    /// Modules without which the lab has no ports and no root, in load order.
    pub transport_modules: Vec<Module>,
    /// KVM's modules in load order; empty if KVM is to stay unloaded.
    pub kvm_modules: Vec<Module>,
    /// The caller's terminal, if the run is interactive.
    pub terminal: Option<Terminal>,
    /// Seconds between two [`crate::Report::Alive`] lines. `None` where the guest's clock is not the wall's.
    pub heartbeat_secs: Option<u64>,
}

/// Whose files the command sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Userland {
    /// The initramfs itself: busybox and this checkout's static binaries.
    Tiny,
    /// The outer machine's root over 9p, read-only under an overlay whose changes are lost with the lab.
    Host,
    /// The same with the outer machine's systemd as PID 1, its journal, and nothing else started.
    Systemd,
}

impl Userland {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Host, Self::Tiny, Self::Systemd];

    /// Its word, on command lines and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Host => "host",
            Self::Systemd => "systemd",
        }
    }

    /// Whether its root is the outer machine's, so that it needs the share of [`HOST_ROOT_TAG`].
    #[must_use]
    pub const fn is_outer(self) -> bool {
        !matches!(self, Self::Tiny)
    }
}

/// A word that names no userland.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such userland; there are {}", Userland::ALL.map(Userland::name).join(", "))]
pub struct UnknownUserland;

impl FromStr for Userland {
    type Err = UnknownUserland;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|userland| userland.name() == word)
            .ok_or(UnknownUserland)
    }
}

/// One kernel module to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Uncompressed module file inside the initramfs.
    pub path: String,
    /// Its parameters, as `insmod` would take them.
    pub parameters: String,
}

/// Size of the caller's terminal in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
}

impl Order {
    /// Reads an order from the bytes of its file.
    ///
    /// # Errors
    /// When the bytes are not an order of this very checkout.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The bytes of the order's file.
    ///
    /// # Errors
    /// Never for an order of owned strings; the signature is serde's.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_its_file() {
        let order = Order {
            argv: vec!["sh".into(), "-c".into(), "echo \"two words\"".into()],
            cwd: "/root".into(),
            environment: BTreeMap::from([("PATH".into(), "/bin".into())]),
            userland: Userland::Tiny,
            exchange: true,
            guest_kernel: true,
            transport_modules: Vec::new(),
            kvm_modules: vec![Module {
                path: "/kvm-amd.ko".into(),
                parameters: "avic=1 force_avic=1".into(),
            }],
            terminal: Some(Terminal {
                rows: 24,
                columns: 80,
            }),
            heartbeat_secs: Some(5),
        };
        assert_eq!(Order::from_json(&order.to_json().unwrap()).unwrap(), order);
    }

    #[test]
    fn every_userland_has_one_word_everywhere() {
        for userland in Userland::ALL {
            assert_eq!(userland.name().parse(), Ok(userland));
            assert_eq!(
                serde_json::to_string(&userland).unwrap(),
                format!("\"{}\"", userland.name())
            );
        }
        assert_eq!("openrc".parse::<Userland>(), Err(UnknownUserland));
    }

    #[test]
    fn half_an_order_is_refused() {
        assert!(Order::from_json(br#"{"argv":["sh"]}"#).is_err());
    }
}
