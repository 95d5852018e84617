//! The kernels after this one: loaded beside it, jumped to, crashed into, or started by a reset.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, bail};
use lab::linux_guest::initramfs::{self, KERNEL};
use rustix::system::{RebootCommand, reboot as reboot_system};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::read;

/// `KEXEC_FILE_ON_CRASH` of linux/kexec.h.
const ON_CRASH: libc::c_ulong = 2;
/// What says how much memory a crash kernel gets; that kernel itself must not set any aside.
const RESERVATION: &str = "crashkernel=";
/// What kdump-tools tell a crash kernel.
const CRASH_WORDS: &str = "nr_cpus=1 irqpoll reset_devices";
/// Where the next kernel's initramfs is packed.
const PACKED: &str = "/next";

/// Loads this kernel once more, for [`jump`], with all that it needs to be this guest again.
pub(crate) fn load_next() -> Result<()> {
    let kernel = fs::read(KERNEL).with_context(|| format!("cannot read {KERNEL}"))?;
    load(Some(&kernel), &read("/proc/cmdline")?, 0)
}

/// Loads this kernel once more, for its own crash.
pub(crate) fn load_crash() -> Result<()> {
    let ours = read("/proc/cmdline")?;
    let words = ours
        .split_whitespace()
        .filter(|word| !word.starts_with(RESERVATION))
        .chain([CRASH_WORDS]);
    load(None, &words.collect::<Vec<_>>().join(" "), ON_CRASH)
}

/// Jumps to the kernel that was loaded.
pub(crate) fn jump() -> Result<()> {
    reboot_system(RebootCommand::Kexec).context("cannot jump to the loaded kernel")?;
    bail!("the jump came back")
}

/// Restarts the machine.
pub(crate) fn reboot() -> Result<()> {
    reboot_system(RebootCommand::Restart).context("cannot restart")?;
    bail!("the restart came back")
}

/// Crashes while running on `cpu`.
pub(crate) fn crash_on(cpu: u32) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(usize::try_from(cpu).context("no such CPU")?);
    sched_setaffinity(None, &only).with_context(|| format!("cannot move to CPU {cpu}"))?;
    fs::write("/proc/sys/kernel/sysrq", "1").context("cannot allow SysRq")?;
    fs::write("/proc/sysrq-trigger", "c").context("cannot crash")?;
    bail!("the kernel outlived its crash")
}

fn load(carried: Option<&[u8]>, command_line: &str, flags: libc::c_ulong) -> Result<()> {
    let init = fs::read("/proc/self/exe").context("cannot read this very program")?;
    let mut packed = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(PACKED)
        .with_context(|| format!("cannot create {PACKED}"))?;
    initramfs::write(&mut packed, &init, carried).with_context(|| format!("cannot write {PACKED}"))?;
    let kernel = File::open(KERNEL).with_context(|| format!("cannot open {KERNEL}"))?;
    // A file that is written to cannot be loaded from.
    drop(packed);
    let packed = File::open(PACKED).with_context(|| format!("cannot open {PACKED}"))?;
    let command_line = CString::new(command_line).context("the command line holds a NUL byte")?;
    let length = command_line.as_bytes_with_nul().len();
    // SAFETY: both descriptors are open files that live past the call, the pointer names `length` readable bytes that
    // end with a NUL, and the kernel writes to none of this process's memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            packed.as_raw_fd(),
            length,
            command_line.as_ptr(),
            flags,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error()).context("the kernel refuses to load another")
    }
}
