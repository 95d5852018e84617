//! How a process of ldrscope's gives up what it does not need any more.
//!
//! Two steps, in the process that parses what guests and names say and answers to the network: [`drop_all`] early, when it
//! has one thread, takes every capability away; [`confine`], once all that needs opening has been opened, leaves it the
//! files and system calls of its steady state. Both are for good. [`rehearse`] does both in a process of its own that then
//! ends, for `doctor`.

mod account;
mod bpf_trial;
mod drop;
mod landlock;
mod rehearsal;
mod seccomp;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use rustix::thread::CapabilitySet;

use crate::kernel::{obstacle::Source, status::ProcessStatus};

pub use account::Account;
pub use drop::{Dropped, Keep, drop_all};
pub use landlock::FileAccess;
pub use rehearsal::{Failure, Rehearsal, rehearse};

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// A thread keeps its own capabilities, so others would stay behind.
    #[error("privileges can be dropped by a process of one thread only, and this one has {count}")]
    Threads {
        /// How many it has.
        count: u32,
    },
    /// A step failed.
    #[error("cannot {step}")]
    Step {
        /// Which.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is no such account.
    #[error("there is no local user `{name}` in /etc/passwd")]
    NoSuchUser {
        /// Its name.
        name: String,
    },
    /// The accounts cannot be read.
    #[error("the local accounts in {path} cannot be read", path = path.display())]
    Accounts {
        /// The file.
        path: &'static Path,
        /// Why.
        source: io::Error,
    },
    /// Without a capability bpf(2) is refused, and `CAP_BPF` is not there to be kept.
    #[error(
        "bpf(2) is refused to a process without capabilities, and CAP_BPF is not held, which would be kept"
    )]
    BpfNeeded {
        /// The kernel's answer.
        source: io::Error,
    },
    /// Bpf(2) is refused whatever is held.
    #[error("bpf(2) is refused even with CAP_BPF")]
    BpfRefused {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel says that something was not given up.
    #[error("privileges were dropped, and yet {what}")]
    Left {
        /// What.
        what: String,
    },
    /// A directory that must stay in reach cannot be opened.
    #[error("{path} cannot be kept in reach", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Source,
    },
    /// Landlock refused.
    #[error("the files in reach cannot be restricted")]
    Landlock {
        /// Why.
        source: Source,
    },
    /// Seccomp refused.
    #[error("the system calls cannot be restricted")]
    Seccomp {
        /// Why.
        source: Source,
    },
}

impl PrivilegeError {
    /// The fixed cause word, as printed in `error[word]`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoSuchUser { .. } | Self::Accounts { .. } => "no-such-user",
            Self::BpfNeeded { .. } => "missing-capability",
            Self::Directory { .. } | Self::Landlock { .. } | Self::Seccomp { .. } => "sandbox",
            Self::Threads { .. } | Self::Step { .. } | Self::BpfRefused { .. } | Self::Left { .. } => {
                "privileges"
            }
        }
    }

    /// What to do about it: one sentence.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoSuchUser { .. } | Self::Accounts { .. } => {
                "name a user of this host's /etc/passwd with `--user NAME`, or leave it out"
            }
            Self::BpfRefused { .. } => {
                "see what forbids bpf(2): a container's seccomp profile, or a kernel built without it"
            }
            Self::BpfNeeded { .. } => {
                "on a kernel from 5.19 on, see what filters bpf(2): a systemd unit's SystemCallFilter= or a container's seccomp profile; before, grant \
                 CAP_BPF as well, or set `kernel.unprivileged_bpf_disabled` to 0"
            }
            Self::Directory { .. } => "create the directory and let the daemon's user read it",
            Self::Landlock { .. } | Self::Seccomp { .. } => {
                "see that nothing around ldrscope forbids landlock and seccomp, or do without with `--no-sandbox`"
            }
            Self::Step { .. } => {
                "start it as root or with the capabilities of the packaged unit; a change of user asks for CAP_SETUID and \
                 CAP_SETGID"
            }
            Self::Threads { .. } | Self::Left { .. } => {
                "start it again; if it happens again, please report this message"
            }
        }
    }
}

/// What a confined process keeps in reach beside `/proc`, `/sys` and what libvirt tells about its VMs, which it may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Directories or files that it may read, such as that of the configuration. What is missing is left out.
    pub readable: Vec<PathBuf>,
    /// Directories in which it may create, write, rename and remove files. They must exist.
    pub writable: Vec<PathBuf>,
    /// Directories in which it may make files, write them, and take back one that it could not finish; nothing there can be read,
    /// truncated or renamed. They must exist.
    pub growing: Vec<PathBuf>,
    /// Sockets in the file system that it may connect to or send to after it is confined. What is missing is left out.
    pub sockets: Vec<PathBuf>,
    /// Whether it may also do so with abstract sockets: `$NOTIFY_SOCKET` can name one.
    pub abstract_sockets: bool,
    /// Whether it draws on a terminal: asks its size, and gives back the mode that it found it in.
    pub terminal: bool,
}

/// How a process is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confined {
    /// The capabilities that it holds or could take into use.
    pub capabilities: CapabilitySet,
    /// Whether it can gain a privilege.
    pub no_new_privs: bool,
    /// Which files it can reach.
    pub files: FileAccess,
}

/// Confines this process for good: landlock as far as the kernel has it, then seccomp. It must have one thread; those that
/// it starts later are confined like it.
///
/// # Errors
///
/// Where the kernel refuses, or a directory that must stay writable is not there.
pub fn confine(sandbox: &Sandbox) -> Result<Confined, PrivilegeError> {
    // Both ask for it of a process without privileges.
    rustix::thread::set_no_new_privs(true).map_err(|errno| PrivilegeError::Step {
        step: "forbid new privileges",
        source: errno.into(),
    })?;
    let files = landlock::restrict(sandbox)?;
    seccomp::restrict(sandbox)?;
    let status = ProcessStatus::read().map_err(|source| PrivilegeError::Step {
        step: "read back how the process is confined",
        source,
    })?;
    if status.seccomp != seccomp::FILTERED {
        return Err(PrivilegeError::Left {
            what: "the system calls are not restricted".to_owned(),
        });
    }
    Ok(Confined {
        capabilities: status.effective | status.permitted,
        no_new_privs: status.no_new_privs,
        files,
    })
}

/// One line for the log.
impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.capabilities {
            none if none.is_empty() => f.write_str("no capability")?,
            CapabilitySet::BPF => f.write_str("CAP_BPF alone")?,
            others => write!(f, "capabilities {:#x}", others.bits())?,
        }
        if self.no_new_privs {
            f.write_str(", no new privileges")?;
        }
        write!(f, ", seccomp, {}", self.files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_process_is_confined_is_one_line() {
        let mut confined = Confined {
            capabilities: CapabilitySet::empty(),
            no_new_privs: true,
            files: FileAccess::Restricted { abi: 3 },
        };
        assert_eq!(
            confined.to_string(),
            "no capability, no new privileges, seccomp, landlock ABI 3"
        );
        confined.capabilities = CapabilitySet::BPF;
        confined.files = FileAccess::NoLandlock;
        assert_eq!(
            confined.to_string(),
            "CAP_BPF alone, no new privileges, seccomp, no landlock in this kernel"
        );
    }
}
