//! Arguments that several verbs share: how to observe, which VMs are meant, and by whose rules they are judged.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use probe_apic::map_rules::MapRules;

use super::value;
use crate::observer::{HookSet, ObserverOptions};

/// What the verbs share that look once and judge.
#[derive(Debug, Args)]
pub struct Subject {
    /// Show only the VM with this name, UUID or process id
    #[arg(long, value_name = "NAME|UUID|PID")]
    pub vm: Option<String>,

    /// Judge as another KVM would that had the same registers, as after a live migration: by map rules
    /// (keep-disabled, overwrite, conflict-disables) or a mainline version such as 6.1
    #[arg(long, value_name = "RULES|VERSION")]
    pub as_kvm: Option<MapRules>,
}

/// What the verbs that look share.
#[derive(Debug, Args)]
pub struct Observe {
    /// Which functions of KVM to hook: with `cold` an APIC write that changes nothing costs nothing extra,
    /// `precise` sees every single register write, `auto` is precise where APICv or AVIC keeps those
    /// functions quiet
    #[arg(long, value_enum, default_value_t = Hooks::Auto)]
    hooks: Hooks,

    /// Do not prove the hooks with a VM of ldrscope's own
    #[arg(long)]
    no_canary: bool,

    /// Use this BTF file for KVM's types in place of the kvm module's own: one that continues the kernel's, or
    /// one that stands alone
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,

    /// Size of the kernel's ring buffer: a power of two from 64KiB to 256MiB
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = value::ring_bytes)]
    ring_size: u32,

    /// Let the kernel-side programs log (costly; shown with -v)
    #[arg(long)]
    bpf_log: bool,
}

impl Observe {
    /// The observer's options.
    #[must_use]
    pub fn options(&self) -> ObserverOptions {
        ObserverOptions {
            hooks: self.hooks.into(),
            canary: !self.no_canary,
            ring_bytes: self.ring_size,
            interrupts: false,
            bpf_log: self.bpf_log,
            run_time: false,
            btf: self.btf.clone(),
        }
    }
}

/// `--hooks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Hooks {
    /// Completed recalculations and cold entry points only
    Cold,
    /// Every single register write as well
    Precise,
    /// The better of the two for this host
    Auto,
}

impl From<Hooks> for HookSet {
    fn from(hooks: Hooks) -> Self {
        match hooks {
            Hooks::Cold => Self::Cold,
            Hooks::Precise => Self::Precise,
            Hooks::Auto => Self::Auto,
        }
    }
}
