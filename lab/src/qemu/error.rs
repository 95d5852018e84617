//! What can go wrong between a case and its QEMU.

use std::io;
use std::path::PathBuf;

/// A guest under QEMU could not be built, driven, saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// The firmware did not assemble.
    #[error("the firmware does not assemble: {0}")]
    Assemble(#[from] iced_x86::IcedError),
    /// A part of the firmware does not fit where it belongs.
    #[error(
        "the firmware's {part} ends at {end:#x}, but has room up to {room:#x}; give the guest fewer CPUs or pins"
    )]
    TooLong {
        /// What does not fit.
        part: &'static str,
        /// Offset of its end in the image.
        end: usize,
        /// Offset at which something else begins.
        room: usize,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// QEMU could not be started or its monitor reached.
    #[error(
        "cannot {action} {name}'s QEMU: {source}; the lab needs `--userland host`, and QEMU on that machine"
    )]
    Process {
        /// What was tried.
        action: &'static str,
        /// The guest.
        name: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The monitor said nothing in time, or QEMU ended.
    #[error("{name}'s QEMU did not answer {command:?} within {seconds} s")]
    Silent {
        /// The guest.
        name: String,
        /// What it was asked.
        command: String,
        /// Seconds waited.
        seconds: u64,
    },
    /// The monitor refused a command.
    #[error("{name}'s QEMU refuses {command:?}: {reason}")]
    Refused {
        /// The guest.
        name: String,
        /// What it was asked.
        command: String,
        /// What it answered.
        reason: String,
    },
    /// A state that was waited for did not come.
    #[error("{name} should be {wanted}, but is {state} after {seconds} s")]
    Stuck {
        /// The guest.
        name: String,
        /// What was waited for.
        wanted: &'static str,
        /// What was seen last.
        state: String,
        /// Seconds waited.
        seconds: u64,
    },
}
