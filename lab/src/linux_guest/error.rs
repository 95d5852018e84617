//! What can go wrong between a case and its Linux guest.

use std::io;
use std::path::PathBuf;

use super::talk::Request;
use crate::qemu::QemuError;

/// A Linux guest could not be started or driven, or did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LinuxGuestError {
    /// Its QEMU failed.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// What it boots from could not be put together.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The socket to its serial port failed.
    #[error("cannot {action} the Linux guest's serial port: {source}")]
    Port {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// It said nothing in time.
    #[error(
        "the Linux guest said nothing for {seconds} s, though it should {wanted}; its console ends:\n{console}"
    )]
    Silent {
        /// What was waited for.
        wanted: String,
        /// Seconds waited.
        seconds: u64,
        /// The end of its console.
        console: String,
    },
    /// It could not do what it was asked.
    #[error("the Linux guest cannot carry out {request:?}: {reason}; its console ends:\n{console}")]
    Refused {
        /// What it was asked; `None` before it was asked anything.
        request: Option<Request>,
        /// Why it could not.
        reason: String,
        /// The end of its console.
        console: String,
    },
    /// It spoke of another boot than the one it should be in.
    #[error("the Linux guest should {wanted}, but is in boot {boot}; its console ends:\n{console}")]
    Elsewhere {
        /// What it should have done.
        wanted: String,
        /// The boot that it spoke of.
        boot: String,
        /// The end of its console.
        console: String,
    },
    /// It said something that is no reply.
    #[error("the Linux guest's init says {line:?}, which is no reply")]
    Unread {
        /// What it said.
        line: String,
    },
    /// QEMU's account of a local APIC lacks a register.
    #[error("QEMU's account of CPU {cpu}'s local APIC lacks {register}:\n{text}")]
    Lapic {
        /// The CPU.
        cpu: u32,
        /// What is missing.
        register: &'static str,
        /// The account.
        text: String,
    },
}
