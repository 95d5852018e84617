//! What the engine says: findings that came, changed or went, and what became of the observation itself.

use probe_apic::{id::BootTime, tracker::Change};

use crate::identity::VmIdentity;

/// One thing to tell.
#[derive(Clone, Debug)]
pub enum Output {
    /// A finding came, changed or went.
    Event(Box<Event>),
    /// Something about the observation itself.
    Status(Status),
}

/// A finding came, changed or went.
#[derive(Clone, Debug)]
pub struct Event {
    /// The VM as it was known at that moment.
    pub vm: VmIdentity,
    /// The change.
    pub change: Change,
}

/// Something about the observation itself.
#[derive(Clone, Debug)]
pub struct Status {
    /// When.
    pub at: BootTime,
    /// The VM, `None` where it concerns all.
    pub vm: Option<VmIdentity>,
    /// What.
    pub kind: StatusKind,
}

/// What became of the observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusKind {
    /// Records were lost; every VM is uncertain until it has been read again.
    Lost {
        /// How many.
        records: u64,
    },
    /// A VM's state is not to be trusted until it has been read again.
    Uncertain,
    /// It has been read again.
    Certain,
    /// KVM destroyed a VM.
    VmGone,
    /// Of a VM more changed than may be told: what was left out since this was said last.
    Suppressed {
        /// How many lines.
        lines: u64,
    },
    /// Interrupts were not counted, since counting them limits itself.
    Uncounted {
        /// How many since this was said last.
        interrupts: u64,
    },
    /// The output itself could not be written for a while.
    OutputLost {
        /// How many of its lines are missing.
        lines: u64,
    },
    /// The recording that is replayed was cut: what came later is not known.
    RecordingCut,
}

impl StatusKind {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Uncertain => "uncertain",
            Self::Certain => "certain",
            Self::VmGone => "vm-gone",
            Self::Suppressed { .. } => "suppressed",
            Self::Uncounted { .. } => "uncounted",
            Self::OutputLost { .. } => "output-lost",
            Self::RecordingCut => "recording-cut",
        }
    }

    /// How many records or lines it is about, for the kinds that count.
    #[must_use]
    pub const fn count(self) -> Option<u64> {
        match self {
            Self::Lost { records: count }
            | Self::Suppressed { lines: count }
            | Self::Uncounted { interrupts: count }
            | Self::OutputLost { lines: count } => Some(count),
            Self::Uncertain | Self::Certain | Self::VmGone | Self::RecordingCut => None,
        }
    }
}
