//! Writes PID 1's order for a run: modules, environment, working directory.

use std::{collections::BTreeMap, env, path::PathBuf};

use lab_protocol::{Module, Order, Userland};

use super::{Kvm, image, session::Session, streams::Input, terminal};

/// A scheduling kernel says so this often, in its own seconds.
const HEARTBEAT_SECS: u64 = 5;
/// The command's environment: these of the caller's, if set, and `LDRSCOPE_*`.
const PASSED_ON: &[&str] = &[
    "LANG",
    "LC_ALL",
    "NO_COLOR",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "TERM",
    "TZ",
];
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Session {
    /// The order of this run.
    pub(super) fn order(&self, input: Input) -> Order {
        let modules = |paths: &[PathBuf]| -> Vec<Module> {
            let place = |path| image::place_of(path).to_string_lossy().into_owned();
            paths
                .iter()
                .map(|path| Module {
                    path: place(path),
                    parameters: String::new(),
                })
                .collect()
        };
        let mut kvm_modules = match &self.host.kvm {
            Kvm::Loaded { .. } => modules(self.kernel.kvm_modules()),
            Kvm::Unloaded => Vec::new(),
        };
        if let (Kvm::Loaded { amd_parameters }, Some(amd)) = (&self.host.kvm, kvm_modules.last_mut()) {
            amd.parameters.clone_from(amd_parameters);
        }
        let tiny = self.host.userland == Userland::Tiny;
        Order {
            argv: self.argv.clone(),
            cwd: if tiny {
                "/root".to_owned()
            } else {
                self.directory.clone()
            },
            environment: self.environment(),
            userland: self.host.userland,
            exchange: self.host.exchange.is_some(),
            guest_kernel: self.host.guest_kernel.is_some(),
            transport_modules: modules(self.kernel.transport_modules()),
            kvm_modules,
            terminal: (input == Input::Terminal).then(terminal::size),
            heartbeat_secs: (!self.host.counts_instructions).then_some(HEARTBEAT_SECS),
        }
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let passed = |name: &str| PASSED_ON.contains(&name) || name.starts_with("LDRSCOPE_");
        let mut environment: BTreeMap<_, _> = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| passed(name))
            .collect();
        let path = match self.host.userland {
            Userland::Tiny => "/bin".to_owned(),
            Userland::Host | Userland::Systemd => {
                format!("{}:{SYSTEM_PATH}", self.binaries.directory().display())
            }
        };
        environment.insert("PATH".to_owned(), path);
        environment.insert("HOME".to_owned(), "/root".to_owned());
        environment
    }
}
