//! Decides from the facts whether ldrscope can look at all: pure, the hardest obstacle first.
//!
//! What cannot be remedied on this machine comes before what can, and a kvm module that is not loaded comes
//! near the end, so that `watch --wait` never waits in vain. What only shows when loading and attaching is
//! the loader's to say; [`explain`] names it where the facts allow.

use std::{error::Error, io};

use rustix::io::Errno;

use super::{
    hook::{HOOKS, INTERRUPT},
    layout::{Resolved, known},
    obstacle::{LockdownEvidence, Obstacle},
    support::{KernelSupport, Kvm, Lockdown, VMLINUX_BTF},
    symbols::Symbols,
};

/// The oldest kernel that runs a program on demand as ldrscope does (commit 1b4d60ec162f).
const OLDEST: (u32, u32) = (5, 10);

/// Perf probes ask for `CAP_SYS_ADMIN` above this `kernel.perf_event_paranoid` (a distributions' patch).
pub const PARANOIA_FOR_PERFMON: i32 = 2;

/// Finds the first obstacle, if any. `btf_named`: a BTF file takes the place of the kvm module's own.
///
/// # Errors
///
/// The obstacle.
pub fn check(support: &KernelSupport, btf_named: bool) -> Result<(), Obstacle> {
    machine(support)?;
    privileges(support)?;
    pid_namespace(support)?;
    lockdown(support)?;
    kprobes(support)?;
    kvm(support)?;
    types(support, btf_named)
}

/// Whether interrupts can be counted.
///
/// # Errors
///
/// `no-interrupts`.
pub fn check_interrupts(resolved: &Resolved, symbols: &Symbols) -> Result<(), Obstacle> {
    let hook = HOOKS.iter().find(|hook| hook.program == INTERRUPT);
    let what = if hook.is_none_or(|hook| hook.sites(symbols).is_empty()) {
        "the function that they all pass is not there"
    } else if !resolved.tells_interrupts() {
        "its types do not tell what an interrupt consists of"
    } else {
        return Ok(());
    };
    Err(Obstacle::InterruptsUncountable { what })
}

/// The processor and the age of the kernel.
///
/// # Errors
///
/// `not-x86-64`, `kernel-too-old`.
pub fn machine(support: &KernelSupport) -> Result<(), Obstacle> {
    if support.machine != "x86_64" {
        return Err(Obstacle::NotX86 {
            arch: support.machine.clone(),
        });
    }
    // A release that does not begin with a version is left to the types to judge.
    match support.version() {
        Some(version) if version < OLDEST => Err(Obstacle::KernelTooOld {
            release: support.release.clone(),
        }),
        _ => Ok(()),
    }
}

/// Root, or the capabilities that do instead.
///
/// # Errors
///
/// `not-root`, `missing-capability`.
pub fn privileges(support: &KernelSupport) -> Result<(), Obstacle> {
    let held = &support.capabilities;
    let missing = if support.initial_user_namespace == Some(false) {
        "CAP_SYS_ADMIN in the initial user namespace"
    } else if held.sys_admin {
        return Ok(());
    } else if support.uid != 0 && !held.bpf && !held.perfmon {
        return Err(Obstacle::NotRoot { uid: support.uid });
    } else {
        let paranoid = support
            .perf_event_paranoid
            .is_some_and(|level| level > PARANOIA_FOR_PERFMON);
        match (held.bpf, held.perfmon) {
            (true, true) if !paranoid => return Ok(()),
            (true, false) if !paranoid => "CAP_PERFMON",
            (false, true) if !paranoid => "CAP_BPF",
            _ => "CAP_SYS_ADMIN",
        }
    };
    Err(Obstacle::MissingCapability { missing })
}

/// The numbering of processes.
///
/// # Errors
///
/// `pid-namespace`.
pub fn pid_namespace(support: &KernelSupport) -> Result<(), Obstacle> {
    if support.initial_pid_namespace == Some(false) {
        return Err(Obstacle::PidNamespace);
    }
    Ok(())
}

/// The kernel's lockdown, declared or not.
///
/// # Errors
///
/// `lockdown`.
pub fn lockdown(support: &KernelSupport) -> Result<(), Obstacle> {
    let how = match (support.lockdown, support.kernel_reads) {
        (Some(Lockdown::Confidentiality), _) => LockdownEvidence::Declared,
        (None, Some(false)) => LockdownEvidence::Refused,
        // Refused without a lockdown: the loader gets the kernel's own answer.
        _ => return Ok(()),
    };
    Err(Obstacle::Lockdown { how })
}

/// Names a refusal that only the attempt showed: a kernel that does not say whether it is locked down, and
/// answers a program that the capabilities held allow with EPERM, is.
#[must_use]
pub fn explain(obstacle: Obstacle, support: &KernelSupport) -> Obstacle {
    let source = match &obstacle {
        Obstacle::LoadRefused { source, .. } | Obstacle::AttachFailed { source, .. } => source,
        _ => return obstacle,
    };
    if support.lockdown.is_none() && is_permission_denied(source.as_ref()) {
        return Obstacle::Lockdown {
            how: LockdownEvidence::Refused,
        };
    }
    obstacle
}

/// EPERM anywhere in the chain. (The verifier says EACCES: that is another matter.)
fn is_permission_denied(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.raw_os_error() == Some(Errno::PERM.raw_os_error())) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The means of observing.
///
/// # Errors
///
/// `no-kprobes`.
pub fn kprobes(support: &KernelSupport) -> Result<(), Obstacle> {
    if support.kprobes {
        Ok(())
    } else {
        Err(Obstacle::NoKprobes)
    }
}

/// KVM itself.
///
/// # Errors
///
/// `no-kvm`, `kvm-not-loaded`.
pub fn kvm(support: &KernelSupport) -> Result<(), Obstacle> {
    match support.kvm {
        Kvm::Absent => Err(Obstacle::NoKvm),
        Kvm::NotLoaded => Err(Obstacle::KvmNotLoaded),
        Kvm::Module | Kvm::BuiltIn => Ok(()),
    }
}

/// The type information: the kernel's own, and the kvm module's, a file in its place, or a build that is known.
///
/// # Errors
///
/// `no-btf`.
pub fn types(support: &KernelSupport, btf_named: bool) -> Result<(), Obstacle> {
    match support.kvm {
        // Whether the named file needs the kernel's own beneath it, reading it will tell.
        _ if btf_named => Ok(()),
        _ if !support.vmlinux_btf => Err(Obstacle::NoBtf {
            path: VMLINUX_BTF.into(),
        }),
        Kvm::Module if !support.kvm_btf && known::find(&support.release).is_none() => {
            Err(Obstacle::NoModuleBtf {
                release: support.release.clone(),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::support::Capabilities;

    /// The cause word for a capable host with one change; `ok` for none.
    fn word(change: impl FnOnce(&mut KernelSupport)) -> &'static str {
        let mut support = KernelSupport::capable();
        change(&mut support);
        check(&support, false).map_or_else(|obstacle| obstacle.word(), |()| "ok")
    }

    #[test]
    fn a_refusal_is_a_lockdown_only_where_the_kernel_does_not_say_otherwise() {
        let refused = |errno: Errno| Obstacle::LoadRefused {
            program: "copy_vm".to_owned(),
            source: io::Error::from_raw_os_error(errno.raw_os_error()).into(),
        };
        let word = |lockdown, errno| {
            let mut support = KernelSupport::capable();
            support.lockdown = lockdown;
            explain(refused(errno), &support).word()
        };
        assert_eq!(word(None, Errno::PERM), "lockdown");
        assert_eq!(word(None, Errno::ACCESS), "load-refused");
        assert_eq!(word(Some(Lockdown::None), Errno::PERM), "load-refused");
        assert_eq!(word(Some(Lockdown::Integrity), Errno::PERM), "load-refused");
    }

    #[test]
    fn a_capable_host_has_no_obstacle() {
        assert_eq!(word(|_| {}), "ok");
    }

    #[test]
    fn each_thing_that_is_missing_has_its_word() {
        assert_eq!(word(|host| host.machine = "aarch64".to_owned()), "not-x86-64");
        assert_eq!(
            word(|host| host.release = "5.9.0-5-amd64".to_owned()),
            "kernel-too-old"
        );
        assert_eq!(
            word(|host| host.capabilities = Capabilities::default()),
            "missing-capability"
        );
        assert_eq!(
            word(|host| host.initial_user_namespace = Some(false)),
            "missing-capability"
        );
        assert_eq!(
            word(|host| host.initial_pid_namespace = Some(false)),
            "pid-namespace"
        );
        assert_eq!(
            word(|host| host.lockdown = Some(Lockdown::Confidentiality)),
            "lockdown"
        );
        assert_eq!(word(|host| host.kprobes = false), "no-kprobes");
        assert_eq!(word(|host| host.kvm = Kvm::Absent), "no-kvm");
        assert_eq!(word(|host| host.kvm = Kvm::NotLoaded), "kvm-not-loaded");
        assert_eq!(word(|host| host.vmlinux_btf = false), "no-btf");
        assert_eq!(word(|host| host.kvm_btf = false), "no-btf");
    }

    #[test]
    fn without_root_the_sentence_is_about_root() {
        assert_eq!(
            word(|host| {
                host.uid = 1000;
                host.capabilities = Capabilities::default();
            }),
            "not-root"
        );
    }

    #[test]
    fn bpf_and_perfmon_will_do_unless_the_kernel_is_paranoid() {
        let granted = |paranoid| {
            word(|host| {
                host.uid = 1000;
                host.capabilities = Capabilities {
                    bpf: true,
                    perfmon: true,
                    ..Capabilities::default()
                };
                host.perf_event_paranoid = Some(paranoid);
            })
        };
        assert_eq!(granted(2), "ok");
        assert_eq!(granted(3), "missing-capability");
    }

    #[test]
    fn a_lockdown_that_is_not_declared_shows_in_a_refused_read() {
        let undeclared = |host: &mut KernelSupport| {
            host.lockdown = None;
            host.kernel_reads = Some(false);
        };
        assert_eq!(word(undeclared), "lockdown");
        assert_eq!(word(|host| host.kernel_reads = Some(false)), "ok");
    }

    #[test]
    fn a_kvm_built_in_or_a_named_file_needs_no_types_of_the_module() {
        let mut host = KernelSupport::capable();
        host.kvm_btf = false;
        assert!(check(&host, true).is_ok());
        host.kvm = Kvm::BuiltIn;
        assert!(check(&host, false).is_ok());
    }

    #[test]
    fn a_module_without_types_is_refused_unless_its_build_is_known() {
        let without_types = |release: &str| {
            word(|host| {
                host.kvm_btf = false;
                host.release = release.to_owned();
            })
        };
        assert_eq!(without_types("5.10.0-46-amd64"), "ok");
        assert_eq!(without_types("5.10.262"), "no-btf");
        assert_eq!(without_types("5.14.0-70.13.1.el9_0.x86_64"), "no-btf");
    }

    #[test]
    fn odd_releases_are_not_called_old() {
        assert_eq!(word(|host| host.release = "next-20260101".to_owned()), "ok");
        assert_eq!(word(|host| host.release = "7.3.4+deb13-amd64".to_owned()), "ok");
    }

    #[test]
    fn waiting_for_kvm_is_offered_only_where_it_would_help() {
        assert_eq!(
            word(|host| {
                host.kvm = Kvm::NotLoaded;
                host.lockdown = Some(Lockdown::Confidentiality);
            }),
            "lockdown"
        );
    }
}
