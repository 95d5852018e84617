//! The cases: each starts guests and ldrscope, and holds what ldrscope says against what the guests did. `table` says
//! which there are and where each runs; a file groups cases by subject. Running them in order, timing them and
//! reporting is for `suite`.

mod alert;
mod as_kvm;
mod attribution;
mod avic;
mod bench;
mod check;
mod deliver;
mod delivery;
mod effects;
mod evidence;
mod expect;
mod faults;
mod fleet;
mod ids;
mod journald;
mod kdump;
mod keep_disabled;
mod linux;
mod machine;
mod many;
mod migration;
mod naming;
mod old;
mod oracle;
mod process;
mod quiet;
mod recording;
mod refusal;
mod rights;
mod routes;
mod rules;
mod scale;
mod service;
mod table;
mod top;

use lab_protocol::Scale;

use crate::guest::GuestError;
use crate::host::MapRules;
use crate::linux_guest::LinuxGuestError;
use crate::qemu::QemuError;
use crate::tool::{Hooks, ToolError};

pub use bench::Bench;
pub use table::{Case, boots_for, cases_for, cases_on, journeys};

/// Why a case failed. The first line of the message is the reason, the rest the transcript.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The guest did.
    #[error("guest: {0}")]
    Guest(#[from] GuestError),
    /// A guest under QEMU did.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// A Linux guest did.
    #[error(transparent)]
    Linux(#[from] LinuxGuestError),
    /// ldrscope did, or did not do what was expected.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A load did, or did not do as it was told.
    #[error(transparent)]
    Load(#[from] crate::load::LoadError),
    /// What is outside of ldrscope could not be looked at.
    #[error("cannot look at the host: {0}")]
    Host(#[from] std::io::Error),
    /// systemd, its journal or Prometheus did, or did not show what was expected.
    #[error(transparent)]
    Fleet(#[from] crate::fleet::FleetError),
    /// The oracle could not do its work.
    #[error("oracle: {0}")]
    Oracle(#[from] crate::oracle::OracleError),
    /// An expectation beside the event stream was not met.
    #[error("{0}")]
    Unmet(String),
}

type CaseResult = Result<(), CaseError>;
type RunCase = fn(&Context, &mut Bench) -> CaseResult;

/// `Ok` if `holds`, else a failure that says `what` should have been.
fn require(holds: bool, what: impl FnOnce() -> String) -> CaseResult {
    if holds {
        Ok(())
    } else {
        Err(CaseError::Unmet(what()))
    }
}

/// What a case may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The hook set that `watch` is to use.
    pub hooks: Hooks,
    /// How this host's KVM builds its map.
    pub rules: MapRules,
    /// How much a case is to try, where it can try more or less.
    pub scale: Scale,
}
