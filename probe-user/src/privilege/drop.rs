//! Gives all privileges up, for good: capabilities out of every set, no new ones, no core dump, another user if wanted.
//!
//! Capabilities belong to a thread, so this is for a process that has one thread. What was done is read back from the
//! kernel; anything that is left is an error.

use std::io;

use rustix::{
    io::Errno,
    process::{
        DumpableBehavior, Gid, Uid, geteuid, parent_process_death_signal, set_dumpable_behavior,
        set_parent_process_death_signal,
    },
    thread::{
        CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capabilities_secure_bits,
        capability_is_in_bounding_set, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities, set_capabilities_secure_bits, set_keep_capabilities, set_no_new_privs,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use super::{Account, PrivilegeError, bpf_trial};
use crate::kernel::status::ProcessStatus;

/// What to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// `CAP_BPF`, and only where the kernel otherwise refuses bpf(2) on descriptors that are already open: kernels before
    /// 5.19 do while `kernel.unprivileged_bpf_disabled` is set. Whether this one does is tried.
    BpfIfNeeded,
}

/// What became of the privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Whether `CAP_BPF` is still held: see [`Keep::BpfIfNeeded`].
    pub keeps_bpf: bool,
    /// What the bounding set still holds: empty where `CAP_SETPCAP` was held, without which it cannot be changed. It gives
    /// nothing to a process that can gain no privilege.
    pub bounding: CapabilitySet,
}

/// Drops them, and changes to `account` where one is given.
///
/// The signal that this process gets when its parent dies stays as it was; changing the user would clear it. Whoever relies
/// on it still has to see that the parent did not die meanwhile.
///
/// # Errors
///
/// The step that failed; a second thread; anything that is left; a kernel that refuses bpf(2) without `CAP_BPF` when that
/// is to be kept if needed and was not held.
pub fn drop_all(keep: Keep, account: Option<&Account>) -> Result<Dropped, PrivilegeError> {
    let before = read_status()?;
    if before.threads != 1 {
        return Err(PrivilegeError::Threads {
            count: before.threads,
        });
    }
    let death_signal =
        parent_process_death_signal().map_err(failed("read the signal of the parent's death"))?;
    let may_bound = before.effective.contains(CapabilitySet::SETPCAP);
    if may_bound {
        lock_secure_bits()?;
        empty_bounding_set()?;
    }
    clear_ambient_capability_set().map_err(failed("empty the ambient set of capabilities"))?;
    if let Some(account) = account {
        become_account(account)?;
    }
    set_no_new_privs(true).map_err(failed("forbid new privileges"))?;
    let keeps_bpf = drop_capabilities(keep)?;
    // After the change of user, which resets it. Memory holds what was read out of the kernel: no core file may.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("forbid core dumps"))?;
    set_parent_process_death_signal(death_signal).map_err(failed("keep the signal of the parent's death"))?;

    let after = read_status()?;
    let dropped = Dropped {
        keeps_bpf,
        bounding: after.bounding,
    };
    verify(&after, dropped, may_bound)?;
    Ok(dropped)
}

/// Being root, and becoming another user, mean nothing to capabilities any more.
fn lock_secure_bits() -> Result<(), PrivilegeError> {
    use CapabilitiesSecureBits as Bits;
    let bits = capabilities_secure_bits().map_err(failed("read the secure bits"))?;
    let locked = Bits::NO_ROOT
        | Bits::NO_ROOT_LOCKED
        | Bits::NO_SETUID_FIXUP
        | Bits::NO_SETUID_FIXUP_LOCKED
        | Bits::KEEP_CAPS_LOCKED
        | Bits::NO_CAP_AMBIENT_RAISE
        | Bits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(bits.difference(Bits::KEEP_CAPS) | locked)
        .map_err(failed("lock the secure bits"))
}

fn empty_bounding_set() -> Result<(), PrivilegeError> {
    for capability in (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        match capability_is_in_bounding_set(capability) {
            Ok(false) => {}
            Ok(true) => remove_capability_from_bounding_set(capability)
                .map_err(failed("empty the bounding set of capabilities"))?,
            // Beyond the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(failed("read the bounding set of capabilities")(error)),
        }
    }
    Ok(())
}

/// Groups first: afterwards nothing may change them any more.
fn become_account(account: &Account) -> Result<(), PrivilegeError> {
    if account.uid == geteuid().as_raw() && account.uid != 0 {
        return Ok(());
    }
    let secure = capabilities_secure_bits().map_err(failed("read the secure bits"))?;
    let fixup = !secure.contains(CapabilitiesSecureBits::NO_SETUID_FIXUP);
    if fixup {
        // Or the change of user would take away what may have to be kept.
        set_keep_capabilities(true).map_err(failed("keep capabilities over the change of user"))?;
    }
    let groups: Vec<_> = account.groups.iter().copied().map(Gid::from_raw).collect();
    set_thread_groups(&groups).map_err(failed("change the supplementary groups"))?;
    let gid = Gid::from_raw(account.gid);
    set_thread_res_gid(gid, gid, gid).map_err(failed("change the group"))?;
    let uid = Uid::from_raw(account.uid);
    set_thread_res_uid(uid, uid, uid).map_err(failed("change the user"))?;
    if fixup {
        set_keep_capabilities(false).map_err(failed("end keeping capabilities"))?;
    }
    Ok(())
}

/// Returns whether `CAP_BPF` stays.
fn drop_capabilities(keep: Keep) -> Result<bool, PrivilegeError> {
    let none = CapabilitySet::empty();
    let set = |effective, permitted| {
        let sets = CapabilitySets {
            effective,
            permitted,
            inheritable: none,
        };
        set_capabilities(None, sets).map_err(failed("drop the capabilities"))
    };
    if keep == Keep::Nothing {
        set(none, none)?;
        return Ok(false);
    }
    let held = capabilities(None)
        .map_err(failed("read the capabilities"))?
        .permitted;
    // Out of use, so that the trial shows what the kernel says to a process without it; back in use only if it must.
    let spare = held & CapabilitySet::BPF;
    set(none, spare)?;
    match bpf_trial::bpf_answers() {
        Ok(()) => {
            set(none, none)?;
            Ok(false)
        }
        Err(_) if !spare.is_empty() => {
            set(spare, spare)?;
            bpf_trial::bpf_answers().map_err(|source| PrivilegeError::BpfRefused { source })?;
            Ok(true)
        }
        Err(source) => Err(PrivilegeError::BpfNeeded { source }),
    }
}

fn verify(status: &ProcessStatus, dropped: Dropped, bounded: bool) -> Result<(), PrivilegeError> {
    let none = CapabilitySet::empty();
    let kept = if dropped.keeps_bpf {
        CapabilitySet::BPF
    } else {
        none
    };
    let sets = [
        ("effective", status.effective, kept),
        ("permitted", status.permitted, kept),
        ("inheritable", status.inheritable, none),
        ("ambient", status.ambient, none),
        (
            "bounding",
            status.bounding,
            if bounded { none } else { status.bounding },
        ),
    ];
    if let Some((name, left, _)) = sets.into_iter().find(|(_, found, due)| found != due) {
        return Err(PrivilegeError::Left {
            what: format!("the {name} set of capabilities is {:#x}", left.bits()),
        });
    }
    if status.no_new_privs {
        Ok(())
    } else {
        Err(PrivilegeError::Left {
            what: "new privileges are not forbidden".to_owned(),
        })
    }
}

fn read_status() -> Result<ProcessStatus, PrivilegeError> {
    ProcessStatus::read().map_err(|source| PrivilegeError::Step {
        step: "read back the capabilities",
        source,
    })
}

fn failed(step: &'static str) -> impl Fn(Errno) -> PrivilegeError {
    move |errno| PrivilegeError::Step {
        step,
        source: io::Error::from(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that holds nothing.
    fn bare() -> ProcessStatus {
        let none = CapabilitySet::empty();
        ProcessStatus {
            threads: 1,
            inheritable: none,
            permitted: none,
            effective: none,
            bounding: none,
            ambient: none,
            no_new_privs: true,
            seccomp: 0,
        }
    }

    const NOTHING: Dropped = Dropped {
        keeps_bpf: false,
        bounding: CapabilitySet::empty(),
    };

    /// What `verify` says of a change to a bare process.
    fn left(bounded: bool, dropped: Dropped, change: impl FnOnce(&mut ProcessStatus)) -> Option<String> {
        let mut status = bare();
        change(&mut status);
        verify(&status, dropped, bounded)
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn a_bare_process_has_nothing_left() {
        assert_eq!(left(true, NOTHING, |_| {}), None);
    }

    #[test]
    fn whatever_is_left_is_named() {
        let names = |text: Option<String>, word: &str| assert!(text.is_some_and(|text| text.contains(word)));
        names(
            left(true, NOTHING, |s| s.effective = CapabilitySet::KILL),
            "effective",
        );
        names(
            left(true, NOTHING, |s| s.permitted = CapabilitySet::BPF),
            "permitted",
        );
        names(
            left(true, NOTHING, |s| s.ambient = CapabilitySet::KILL),
            "ambient",
        );
        names(
            left(true, NOTHING, |s| s.inheritable = CapabilitySet::KILL),
            "inheritable",
        );
        names(
            left(true, NOTHING, |s| s.bounding = CapabilitySet::KILL),
            "bounding",
        );
        names(left(true, NOTHING, |s| s.no_new_privs = false), "new privileges");
    }

    #[test]
    fn a_bounding_set_that_could_not_be_emptied_is_no_error() {
        assert_eq!(
            left(false, NOTHING, |s| s.bounding = CapabilitySet::SYS_ADMIN),
            None
        );
    }

    #[test]
    fn bpf_that_was_to_be_kept_must_be_there_and_alone() {
        let keeps = Dropped {
            keeps_bpf: true,
            ..NOTHING
        };
        let hold = |set| {
            move |status: &mut ProcessStatus| {
                status.effective = set;
                status.permitted = set;
            }
        };
        assert_eq!(left(true, keeps, hold(CapabilitySet::BPF)), None);
        assert!(left(true, keeps, |_| {}).is_some());
        let more = CapabilitySet::BPF | CapabilitySet::PERFMON;
        assert!(left(true, keeps, hold(more)).is_some());
    }
}
