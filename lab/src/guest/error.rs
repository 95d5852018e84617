//! What can go wrong between a test and its guest.

use kvm_ioctls::Error as KvmErrno;

/// A guest could not be built or did something that its program does not contain.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// `/dev/kvm` could not be opened.
    #[error("cannot open /dev/kvm ({0}); run this in the lab: `cargo xtask lab -- lab-case ...`")]
    NoKvm(KvmErrno),
    /// An ioctl was refused.
    #[error("{call} was refused: {source}")]
    Kvm {
        /// Name of the ioctl.
        call: &'static str,
        /// What the kernel answered.
        source: KvmErrno,
    },
    /// Guest memory could not be mapped.
    #[error("cannot map guest memory: {0}")]
    Memory(std::io::Error),
    /// An access outside the guest's memory region.
    #[error("{len} bytes at guest address {at:#x} lie outside the guest's memory")]
    OutOfMemoryBounds {
        /// Guest physical address.
        at: u32,
        /// Length of the access in bytes.
        len: usize,
    },
    /// A kernel structure with a variable tail could not be built.
    #[error("cannot build {what}: {reason}")]
    Table {
        /// The structure.
        what: &'static str,
        /// What the wrapper said.
        reason: String,
    },
    /// A program did not assemble.
    #[error("the guest program does not assemble: {0}")]
    Assemble(#[from] iced_x86::IcedError),
    /// A program does not fit in its vCPU's page beside the stack.
    #[error("the guest program has {0} bytes, more than its page holds; split it")]
    ProgramTooLong(usize),
    /// There is no such vCPU.
    #[error("the guest has no vCPU {0}")]
    NoVcpu(u32),
    /// The guest left its program.
    #[error("vCPU {vcpu_id} left its program: {exit}")]
    UnexpectedExit {
        /// The vCPU that ran.
        vcpu_id: u32,
        /// KVM's exit, for a person.
        exit: String,
    },
    /// The thread of a vCPU ended by a panic.
    #[error("the thread of a vCPU panicked")]
    ThreadDied,
    /// A program reported another number of values than it was asked for.
    #[error("vCPU {vcpu_id} reported {got} values where {wanted} were expected")]
    Reports {
        /// The vCPU that ran.
        vcpu_id: u32,
        /// Number of reports received.
        got: usize,
        /// Number of reports expected.
        wanted: usize,
    },
}

impl GuestError {
    /// For `map_err`: names the ioctl that was refused.
    pub(super) fn kvm(call: &'static str) -> impl Fn(KvmErrno) -> Self {
        move |source| Self::Kvm { call, source }
    }
}
