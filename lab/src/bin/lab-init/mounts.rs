//! The lab's mount tables: what is mounted where, for the initramfs and for the userland the command sees.
//!
//! Owns only the tables and the mount call. Which root they are laid under is [`crate::userland`]'s choice.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, mount};

/// A file system that needs no device: its type, where it goes, and its options.
struct Mount {
    kind: &'static str,
    at: &'static str,
    options: &'static str,
}

const fn plain(kind: &'static str, at: &'static str) -> Mount {
    Mount {
        kind,
        at,
        options: "",
    }
}

/// What PID 1 itself needs, before any module is loaded.
const INITRAMFS: &[Mount] = &[
    plain("proc", "proc"),
    plain("sysfs", "sys"),
    plain("devtmpfs", "dev"),
];

/// What a KVM host has beyond that, and what tracing asks for. Order matters: parents first.
const HOST: &[Mount] = &[
    Mount {
        kind: "devpts",
        at: "dev/pts",
        options: "gid=5,mode=620,ptmxmode=666",
    },
    Mount {
        kind: "tmpfs",
        at: "dev/shm",
        options: "mode=1777",
    },
    Mount {
        kind: "tmpfs",
        at: "run",
        options: "mode=755",
    },
    plain("securityfs", "sys/kernel/security"),
    plain("debugfs", "sys/kernel/debug"),
    plain("tracefs", "sys/kernel/tracing"),
    plain("bpf", "sys/fs/bpf"),
    plain("cgroup2", "sys/fs/cgroup"),
];

/// Mounts what PID 1 needs, on the initramfs.
pub(crate) fn initramfs() -> Result<()> {
    lay(Path::new("/"), INITRAMFS)
}

/// Mounts everything of a KVM host under `root`; `root` may be `/`, where the initramfs's mounts stand already.
pub(crate) fn host(root: &Path) -> Result<()> {
    if root != Path::new("/") {
        lay(root, INITRAMFS)?;
    }
    lay(root, HOST)
}

/// Mounts one file system of `kind` from `source` at `at`, creating the directory.
pub(crate) fn one(source: &str, at: &Path, kind: &str, flags: MountFlags, options: &str) -> Result<()> {
    fs::create_dir_all(at).with_context(|| format!("cannot create {}", at.display()))?;
    let options = std::ffi::CString::new(options).context("mount options hold a NUL byte")?;
    mount(source, at, kind, flags, options.as_c_str())
        .with_context(|| format!("cannot mount {kind} ({source}) at {}", at.display()))
}

fn lay(root: &Path, table: &[Mount]) -> Result<()> {
    for Mount { kind, at, options } in table {
        one(kind, &root.join(at), kind, MountFlags::empty(), options)?;
    }
    Ok(())
}
