//! The files that a confined process can reach, by landlock (5.13 on): best effort, as far as the kernel goes.
//!
//! Landlock also keeps a process from looking into others the way a debugger does, so that of `/proc/PID` only what
//! everybody may read stays readable (`cmdline`, `comm`, `cgroup`, `stat`, not `fd` or `ns`).

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    make_bitflags,
};

use super::{PrivilegeError, Sandbox};

/// The newest access rights that ldrscope was tried under; what a kernel knows beyond them stays allowed.
const TRIED: ABI = ABI::V10;

/// What is read in the steady state: processes, the kernel's own files, and libvirt's account of its VMs.
const READABLE: [&str; 4] = ["/proc", "/sys", "/run/libvirt", "/var/run/libvirt"];

/// Which files a process can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAccess {
    /// Those that it needs. Truncating counts from ABI 3 on, connecting to TCP from 4, signals to others from 6.
    Restricted {
        /// The kernel's version of landlock.
        abi: u32,
    },
    /// All that its user may: this kernel was booted with landlock switched off.
    LandlockOff,
    /// All that its user may: this kernel has no landlock.
    NoLandlock,
}

impl fmt::Display for FileAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restricted { abi } => write!(f, "landlock ABI {abi}"),
            Self::LandlockOff => f.write_str("landlock switched off in this kernel"),
            Self::NoLandlock => f.write_str("no landlock in this kernel"),
        }
    }
}

/// Restricts this thread, and the ones that it will start.
pub(super) fn restrict(sandbox: &Sandbox) -> Result<FileAccess, PrivilegeError> {
    // No port is allowed: what listens was bound before, and nothing is ever connected to.
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(TRIED))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(TRIED)))
        .and_then(|ruleset| ruleset.scope(scopes(sandbox)))
        .and_then(Ruleset::create)
        .map_err(refused)?;
    let always = READABLE.iter().map(Path::new);
    for path in always.chain(sandbox.readable.iter().map(PathBuf::as_path)) {
        ruleset = allow(ruleset, path, reading(path), IfMissing::LeaveOut)?;
    }
    for path in &sandbox.writable {
        ruleset = allow(ruleset, path, writing(), IfMissing::Fail)?;
    }
    for path in &sandbox.growing {
        ruleset = allow(ruleset, path, adding(), IfMissing::Fail)?;
    }
    // The directory: a socket is made anew whenever its owner starts.
    for path in sandbox.sockets.iter().filter_map(|socket| socket.parent()) {
        ruleset = allow(ruleset, path, AccessFs::ResolveUnix.into(), IfMissing::LeaveOut)?;
    }
    ruleset.restrict_self().map(outcome).map_err(refused)
}

/// What a missing path means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfMissing {
    LeaveOut,
    Fail,
}

fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
    if_missing: IfMissing,
) -> Result<RulesetCreated, PrivilegeError> {
    match PathFd::new(path) {
        Ok(descriptor) => ruleset
            .add_rule(PathBeneath::new(descriptor, access))
            .map_err(refused),
        Err(_) if if_missing == IfMissing::LeaveOut => Ok(ruleset),
        Err(error) => Err(PrivilegeError::Directory {
            path: path.to_owned(),
            source: error.into(),
        }),
    }
}

/// Of a file nothing but its content can be read.
fn reading(path: &Path) -> BitFlags<AccessFs> {
    if path.is_dir() {
        make_bitflags!(AccessFs::{ReadFile | ReadDir})
    } else {
        AccessFs::ReadFile.into()
    }
}

/// Files are written beside their place and renamed into it, old ones removed, a log truncated or made anew.
fn writing() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile
    })
}

/// Files of their own, which nothing else is done to.
fn adding() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{WriteFile | MakeReg | RemoveFile})
}

fn scopes(sandbox: &Sandbox) -> BitFlags<Scope> {
    if sandbox.abstract_sockets {
        Scope::Signal.into()
    } else {
        Scope::from_all(TRIED)
    }
}

fn outcome(status: RestrictionStatus) -> FileAccess {
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => FileAccess::LandlockOff,
        (
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            },
        ) => FileAccess::Restricted {
            abi: kernel_abi
                .and_then(|abi| abi.try_into().ok())
                .unwrap_or(effective_abi as u32),
        },
        _ => FileAccess::NoLandlock,
    }
}

fn refused(error: RulesetError) -> PrivilegeError {
    PrivilegeError::Landlock { source: error.into() }
}

/// The kernel's version of landlock, asked without restricting anything; `ENOSYS` and `EOPNOTSUPP` are the answers of a
/// kernel without it and of one that was told not to use it.
pub(super) fn available() -> FileAccess {
    /// `LANDLOCK_CREATE_RULESET_VERSION` of include/uapi/linux/landlock.h.
    const VERSION: libc::c_uint = 1;
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag no structure is read, which the null pointer of size 0 says, and no descriptor is made.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, VERSION) };
    match u32::try_from(answer) {
        Ok(abi) => FileAccess::Restricted { abi },
        Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::EOPNOTSUPP) => {
            FileAccess::LandlockOff
        }
        Err(_) => FileAccess::NoLandlock,
    }
}
