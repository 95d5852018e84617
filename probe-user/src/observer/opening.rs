//! Opening the kernel side: checks the host, loads and attaches, and proves what was attached with a canary. This is what
//! needs privileges; observing what was opened does not.

use std::path::PathBuf;

use probe_apic::map_rules::MapRules;
use probe_common::decode::Decoded;

use super::canary;
use crate::{
    bpf::{
        access::Access,
        attachment::{AttachOptions, Attachment},
        lookup,
    },
    kernel::{
        layout::{Encoding, Resolved},
        obstacle::Obstacle,
        preflight,
        support::KernelSupport,
        types,
    },
    steps::Steps,
};

/// Which functions of KVM are hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookSet {
    /// Completed recalculations and cold entry points only.
    Cold,
    /// Every single register write as well.
    Precise,
    /// `Precise` where APICv/AVIC keeps those functions quiet, else `Cold`.
    Auto,
}

impl HookSet {
    /// With APICv or AVIC the functions of the precise hooks are quiet: hardware handles EOI, TPR and most
    /// ICR writes.
    fn wants_precise(self, support: &KernelSupport) -> bool {
        match self {
            Self::Cold => false,
            Self::Precise => true,
            Self::Auto => support.apic_virtualization == Some(true),
        }
    }
}

/// How to observe.
#[derive(Clone, Debug)]
pub struct ObserverOptions {
    /// The hook set.
    pub hooks: HookSet,
    /// Whether to prove the hooks with a canary VM.
    pub canary: bool,
    /// Size of the ring buffer in bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Whether to count the interrupts that are sent to logical destinations.
    pub interrupts: bool,
    /// Whether the kernel side logs.
    pub bpf_log: bool,
    /// Whether the kernel times the runs of the programs.
    pub run_time: bool,
    /// A BTF file to use in place of the kvm module's own.
    pub btf: Option<PathBuf>,
}

/// What the kernel side is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A look, which is over soon.
    Look,
    /// To stay: what guests pay for being watched counts.
    Watch,
    /// To stay, once more: a kvm that has just been loaded has no VM yet.
    WatchAgain {
        /// The fast programs were proven the first time.
        fast: bool,
    },
}

/// What the observer found out about the host.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// The kernel's release string.
    pub kernel: String,
    /// `amd`, `intel` or `unknown`.
    pub kvm_vendor: String,
    /// The map rules that the kernel's types and the canary leave, likeliest first; the published maps of VMs may
    /// leave fewer ([`probe_apic::host::Host::map_rules`]).
    pub possible_rules: Vec<MapRules>,
    /// Whether the canary has shown them to hold.
    pub rules_proven: bool,
    /// Whether the precise hooks are attached.
    pub precise: bool,
    /// Whether KVM picks one of several lowest-priority targets by the vector; `None` where it does not say.
    pub vector_hashing: Option<bool>,
}

impl HostFacts {
    /// The hook set as chosen: `cold` or `precise`.
    #[must_use]
    pub const fn hooks(&self) -> &'static str {
        if self.precise { "precise" } else { "cold" }
    }
}

/// A kernel side that is attached and proven.
pub struct Opened {
    /// Keeps it attached.
    pub attachment: Attachment,
    /// Observes it.
    pub access: Access,
    /// What was found out about the host.
    pub facts: HostFacts,
    /// How this kernel keeps what the copies hold.
    pub encoding: Encoding,
    /// Events of other VMs that arrived while the canary was being watched.
    pub early: Vec<Decoded>,
}

/// Checks the host, loads and attaches the kernel side, and proves it with a canary.
///
/// # Errors
///
/// The [`Obstacle`] that stands in the way.
pub fn open(options: &ObserverOptions, purpose: Purpose) -> Result<Opened, Obstacle> {
    let mut steps = Steps::begin();
    let support = KernelSupport::probe();
    preflight::check(&support, options.btf.is_some())?;
    steps.done("looking at the host");
    let symbols = lookup::symbols(&support)?;
    steps.done("reading the kernel's symbols");
    let mut resolved = types::resolve(options.btf.as_deref(), &support.release)?;
    steps.done("reading the kernel's types");
    if let Some(build) = resolved.known_build.filter(|_| !options.canary) {
        return Err(Obstacle::Unproven { build: build.name });
    }
    symbols.locate(&mut resolved.layout)?;
    if options.interrupts {
        preflight::check_interrupts(&resolved, &symbols)?;
    }
    let precise = options.hooks.wants_precise(&support);
    let attach_options = AttachOptions {
        ring_bytes: options.ring_bytes,
        precise,
        interrupts: options.interrupts,
        log: options.bpf_log,
        run_time: options.run_time,
    };
    let mut attachment = Attachment::make(attach_options, &resolved, &symbols)
        .map_err(|obstacle| preflight::explain(obstacle, &support))?;
    let mut access = Access::over(attachment.handles()?)?;
    steps.done("loading and attaching");
    let mut early = Vec::new();
    let possible_rules = if options.canary {
        canary::prove(&mut access, &resolved, precise, &mut early)?
    } else {
        resolved.encoding.map_mode.possible_rules().to_vec()
    };
    steps.done("proving it with a test VM");
    match purpose {
        Purpose::Look | Purpose::WatchAgain { fast: true } => {}
        Purpose::WatchAgain { fast: false } => attachment.slacken_for_good()?,
        Purpose::Watch => quicken(
            &mut attachment,
            &mut access,
            &resolved,
            options,
            precise,
            &mut early,
        )?,
    }
    steps.done("putting the fast programs in");
    if possible_rules.is_empty() {
        log::warn!(
            "KVM's maps of the test VM follow no map rules that ldrscope knows: it shows registers and published maps, and judges by \
             those alone"
        );
    }
    let facts = HostFacts {
        kernel: support.release,
        kvm_vendor: support.vendor.name().to_owned(),
        possible_rules,
        rules_proven: options.canary,
        precise,
        vector_hashing: support.vector_hashing,
    };
    Ok(Opened {
        attachment,
        access,
        facts,
        encoding: resolved.encoding,
        early,
    })
}

/// Puts the fast programs in and proves them as well. Without them a host is observed all the same.
fn quicken(
    attachment: &mut Attachment,
    access: &mut Access,
    resolved: &Resolved,
    options: &ObserverOptions,
    precise: bool,
    early: &mut Vec<Decoded>,
) -> Result<(), Obstacle> {
    if let Err(error) = attachment.quicken() {
        log::info!("guests pay the price of kprobes, fentry programs cannot be attached: {error}");
        // What was in the way is so for every VM to come.
        return attachment.slacken_for_good();
    }
    if !options.canary {
        return Ok(());
    }
    match canary::prove(access, resolved, precise, early) {
        Err(obstacle @ Obstacle::Deaf { .. }) => {
            log::warn!(
                "guests pay the price of kprobes, fentry programs attach and hear nothing: {obstacle}"
            );
            attachment.slacken_for_good()
        }
        proved => proved.map(drop),
    }
}
