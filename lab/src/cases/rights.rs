//! What ldrscope can do with which capabilities, and whether `doctor` says so beforehand: each set is given to a process of
//! another user, `doctor` is asked under it, and then `snapshot` shows whether it was right. Debian's defaults hold unless a
//! case changes them: `perf_event_paranoid` 3, `kptr_restrict` 0, `unprivileged_bpf_disabled` 2.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{Check, Doctor, State};
use crate::host::Series;
use crate::tool::{command, read_doctor, run_to_end};

const NOBODY: u32 = 65_534;

/// The capabilities of the packaged unit: CAP_BPF for kernels before 5.19 alone.
const UNIT: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYSLOG);

pub(super) fn none(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let doctor = doctor_with(CapabilitySet::empty())?;
    expect(&doctor, "privileges", Some("not-root"), "uid 65534")?;
    expect(
        &doctor,
        "loading",
        Some("missing-capability"),
        "CAP_BPF with CAP_PERFMON",
    )?;
    expect(&doctor, "attaching", Some("missing-capability"), "paranoid is 3")?;
    expect(&doctor, "addresses", Some("addresses-hidden"), "CAP_SYSLOG")?;
    expect_confined(&doctor, needs_bpf()?.then_some("missing-capability"))?;
    agrees(&doctor, CapabilitySet::empty())
}

pub(super) fn of_the_unit(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let doctor = doctor_with(UNIT)?;
    for name in ["privileges", "loading", "attaching", "addresses", "map-memory"] {
        expect(&doctor, name, None, "")?;
    }
    // The types of modules came with 5.11.
    let has_module_types = std::path::Path::new("/sys/kernel/btf/kvm").exists();
    let fast = if has_module_types {
        "fentry programs can stand in"
    } else {
        "kprobes only: the kernel has no types"
    };
    expect(&doctor, "fast-programs", None, fast)?;
    if needs_bpf()? {
        expect_confined(&doctor, Some("missing-capability"))?;
        let doctor = doctor_with(UNIT | CapabilitySet::BPF)?;
        expect(
            &doctor,
            "daemon",
            None,
            "CAP_BPF alone, no new privileges, seccomp",
        )?;
        return agrees(&doctor, UNIT | CapabilitySet::BPF);
    }
    expect_confined(&doctor, None)?;
    agrees(&doctor, UNIT)
}

/// Enough for all but Debian's paranoia.
pub(super) fn bpf_and_perfmon(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let held = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYSLOG;
    let doctor = doctor_with(held)?;
    expect(&doctor, "loading", None, "")?;
    expect(
        &doctor,
        "attaching",
        Some("missing-capability"),
        "CAP_SYS_ADMIN, which is not held",
    )?;
    agrees(&doctor, held)?;

    let _ordinary = Setting::change("perf_event_paranoid", "2")?;
    let doctor = doctor_with(held)?;
    expect(&doctor, "attaching", None, "CAP_PERFMON")?;
    agrees(&doctor, held)?;

    let without = CapabilitySet::BPF | CapabilitySet::SYSLOG;
    let doctor = doctor_with(without)?;
    expect(
        &doctor,
        "loading",
        Some("missing-capability"),
        "CAP_PERFMON is not held",
    )?;
    agrees(&doctor, without)
}

/// Who sees the kernel's addresses under its two settings.
pub(super) fn addresses(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let blind = CapabilitySet::SYS_ADMIN | CapabilitySet::BPF;
    let doctor = doctor_with(blind)?;
    expect(
        &doctor,
        "addresses",
        Some("addresses-hidden"),
        "CAP_SYSLOG, which is not held",
    )?;
    agrees(&doctor, blind)?;
    {
        let _open = Setting::change("perf_event_paranoid", "1")?;
        let doctor = doctor_with(blind)?;
        expect(&doctor, "addresses", None, "everybody")?;
        agrees(&doctor, blind)?;
    }
    let _closed = Setting::change("kptr_restrict", "2")?;
    let all = blind | CapabilitySet::SYSLOG;
    let doctor = doctor_with(all)?;
    expect(
        &doctor,
        "addresses",
        Some("addresses-hidden"),
        "kptr_restrict is 2",
    )?;
    agrees(&doctor, all)
}

/// What a unit's protections do to `/proc`, made by hand in a mount namespace.
pub(super) fn traps(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let blocked = Some("symbol-missing");
    let doctor = doctor_after("mount --bind /dev/null /proc/kallsyms")?;
    expect(&doctor, "trap ProtectKernelTunables", blocked, "/proc/kallsyms")?;
    let doctor = doctor_after("mount -t proc -o hidepid=2 proc /proc")?;
    let trap = find(&doctor, "trap ProtectProc")?;
    require(trap.state == State::Degraded, || format!("{trap:?}"))?;
    // The mount option came with 5.8.
    let doctor = doctor_after("mount -t proc -o subset=pid proc /proc")?;
    expect(&doctor, "trap ProcSubset", blocked, "processes")
}

/// Before 5.19 bpf(2) as a whole asks for a capability.
fn needs_bpf() -> Result<bool, CaseError> {
    let series = Series::running().map_err(|error| CaseError::Unmet(error.to_string()))?;
    Ok(series == Series::V5_10)
}

/// What doctor says of a process of another user that holds `set`.
fn doctor_with(set: CapabilitySet) -> Result<Doctor, CaseError> {
    let mut doctor = command(&["doctor", "--format", "json"]);
    hold(&mut doctor, set)?;
    Ok(read_doctor(&run_to_end(doctor)?)?)
}

/// What it says as root where a line of shell has changed the mounts that it sees.
fn doctor_after(change: &str) -> Result<Doctor, CaseError> {
    let doctor = command(&["doctor", "--format", "json"]);
    let script = format!(
        "{change} && exec {} doctor --format json",
        doctor.get_program().display()
    );
    let mut shell = Command::new("unshare");
    shell.args(["-m", "sh", "-c", &script]);
    Ok(read_doctor(&run_to_end(shell)?)?)
}

/// Whether ldrscope can look is as doctor foretold.
fn agrees(doctor: &Doctor, set: CapabilitySet) -> CaseResult {
    let mut snapshot = command(&["snapshot", "--format", "json"]);
    hold(&mut snapshot, set)?;
    let outcome = run_to_end(snapshot)?;
    // A daemon that would need a capability more is no obstacle to a snapshot.
    let blocked = |check: &Check| check.state == State::Blocked && check.check != "daemon";
    let able = !doctor.checks.iter().any(blocked);
    require(outcome.status.success() == able, || {
        format!(
            "doctor says {able}, and `snapshot` ends with {}: {}",
            outcome.status, outcome.stderr
        )
    })
}

/// Has `command` run as another user with these capabilities and no others.
fn hold(command: &mut Command, set: CapabilitySet) -> CaseResult {
    // The test VM is not what is tried here.
    fs::set_permissions("/dev/kvm", fs::Permissions::from_mode(0o666))
        .map_err(|error| CaseError::Unmet(format!("cannot open /dev/kvm to all: {error}")))?;
    let become_it = move || -> io::Result<()> {
        set_keep_capabilities(true)?;
        set_thread_groups(&[])?;
        let (gid, uid) = (Gid::from_raw(NOBODY), Uid::from_raw(NOBODY));
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        let sets = CapabilitySets {
            effective: set,
            permitted: set,
            inheritable: set,
        };
        set_capabilities(None, sets)?;
        for capability in set {
            configure_capability_in_ambient_set(capability, true)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls and nothing else.
    unsafe { command.pre_exec(become_it) };
    Ok(())
}

fn find<'a>(doctor: &'a Doctor, name: &str) -> Result<&'a Check, CaseError> {
    let check = doctor.checks.iter().find(|check| check.check == name);
    check.ok_or_else(|| CaseError::Unmet(format!("doctor has no check {name}: {:?}", doctor.checks)))
}

/// The check is blocked with this word, or ok, and its detail holds these words.
fn expect(doctor: &Doctor, name: &str, word: Option<&str>, detail: &str) -> CaseResult {
    let check = find(doctor, name)?;
    let state = if word.is_some() { State::Blocked } else { State::Ok };
    let as_due = check.state == state && check.word.as_deref() == word && check.detail.contains(detail);
    require(as_due, || {
        format!("{name} should be {state:?} {word:?} with `{detail}`, is {check:?}")
    })
}

/// A child of ldrscope's can be confined, or cannot for this word's reason; 5.10 has no landlock.
fn expect_confined(doctor: &Doctor, word: Option<&str>) -> CaseResult {
    let detail = match word {
        None => "no capability, no new privileges, seccomp, landlock ABI ",
        Some(_) => "CAP_BPF",
    };
    expect(doctor, "daemon", word, detail)
}

/// A setting of the kernel that is put back when this is dropped.
struct Setting {
    path: String,
    before: String,
}

impl Setting {
    fn change(name: &str, value: &str) -> Result<Self, CaseError> {
        let path = format!("/proc/sys/kernel/{name}");
        let unmet = |error: io::Error| CaseError::Unmet(format!("{path}: {error}"));
        let before = fs::read_to_string(&path).map_err(unmet)?;
        fs::write(&path, value).map_err(unmet)?;
        Ok(Self { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // The next case would say so.
        let _ = fs::write(&self.path, &self.before);
    }
}
