//! For tests that need mounts of their own: runs a test once more in a process with a mount namespace of its own.
//!
//! That takes root or user namespaces; where neither is to be had the test fails and says so, it is never left out.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

const INSIDE: &str = "LDRSCOPE_TEST_NAMESPACE";

/// Runs `test` inside; the calling test gives its path within the crate, as `thread::current` knows it.
#[track_caller]
pub(super) fn in_mount_namespace(test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        return test();
    }
    let name = thread::current().name().unwrap().to_owned();
    let unshare: &[&str] = if rustix::process::geteuid().is_root() {
        &["--mount"]
    } else {
        &["--mount", "--map-root-user"]
    };
    let output = Command::new("unshare")
        .args(unshare)
        .arg(env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && words.contains("1 passed"),
        "in a mount namespace (root, or a user namespace, is needed): {words}"
    );
}

/// Mounts an empty file system of `size` there.
pub(super) fn mount_tmpfs(at: &Path, size: &str) {
    let options = std::ffi::CString::new(format!("size={size}")).unwrap();
    mount("none", at, "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
}
