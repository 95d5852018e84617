//! Installs what is missing, on Debian and its kin as root; elsewhere says what to install.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    process::Command,
};

use anyhow::Result;

use super::{NotReady, need::Need};
use crate::{progress, tool};

/// Installs the packages of `missing`.
///
/// # Errors
/// [`NotReady`] where xtask may not install, or where apt could not.
pub(crate) fn install(missing: &[&Need]) -> Result<()> {
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let names = missing
        .iter()
        .map(|need| need.what)
        .collect::<Vec<_>>()
        .join(", ");
    let command = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    let not_ready = |remedy: String| NotReady {
        missing: format!("this machine lacks {names}"),
        remedy,
    };

    if !is_debian_like(&fs::read_to_string("/etc/os-release").unwrap_or_default()) {
        return Err(not_ready(format!(
            "Install them with this system's package manager; Debian's packages are: {}",
            packages.join(" ")
        ))
        .into());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(not_ready(format!("Run `cargo xtask setup` as root, or: sudo {command}")).into());
    }
    let step = progress::step("setup", format_args!("apt-get to install {}", packages.join(" ")));
    // A foreign source that is down fails the update though Debian's own lists are fresh: the install decides.
    if let Err(error) = tool::quiet(apt_get().arg("update")) {
        progress::note(format_args!("apt-get update had trouble, going on: {error:#}"));
    }
    let services = Services::keep_down();
    tool::quiet(apt_get().args(["install", "-y", "--no-install-recommends"]).args(&packages)).map_err(|error| {
        not_ready(format!(
            "{error:#}\nInstall them by hand ({command}). Where the distribution has no rustc-web, a rustup nightly \
             does as well: rustup toolchain install nightly --component rust-src,clippy"
        ))
    })?;
    drop(services);
    for service in missing.iter().filter_map(|need| need.service) {
        // Its package has arranged for it to start with the machine.
        if let Err(error) = tool::quiet(tool::command("systemctl").args(["disable", service])) {
            progress::note(format_args!("{service} may start with this machine: {error:#}"));
        }
    }
    step.done("installed");
    Ok(())
}

/// While it lives, no package starts a service: what is installed is wanted for its files. This is Debian's own way to say so
/// (`/usr/share/doc/init-system-helpers/README.policy-rc.d.gz`).
struct Services {
    /// Whether the policy is ours to take back.
    ours: bool,
}

impl Services {
    const POLICY: &str = "/usr/sbin/policy-rc.d";
    /// 101: the action is forbidden.
    const FORBID: &str = "#!/bin/sh\nexit 101\n";

    /// An administrator's own policy stays, and so may start what it allows.
    fn keep_down() -> Self {
        let mut new = fs::OpenOptions::new();
        let written = new
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(Self::POLICY)
            .and_then(|mut file| file.write_all(Self::FORBID.as_bytes()));
        match written {
            Ok(()) => Self { ours: true },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self { ours: false },
            Err(error) => {
                progress::note(format_args!("services may start: {}: {error}", Self::POLICY));
                Self { ours: false }
            }
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(Self::POLICY)
        {
            progress::note(format_args!("remove {} by hand: {error}", Self::POLICY));
        }
    }
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C")
        // A fresh machine may still be at its own updates.
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"]);
    command
}

/// Whether `os-release(5)` names Debian, Ubuntu or a descendant.
fn is_debian_like(os_release: &str) -> bool {
    os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .any(|value| {
            value
                .trim_matches('"')
                .split(' ')
                .any(|word| word == "debian" || word == "ubuntu")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_of_debian_are_recognised() {
        assert!(is_debian_like("NAME=x\nID=debian\n"));
        assert!(is_debian_like("ID=mint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian_like("ID=fedora\nVARIANT_ID=debian\n"));
        assert!(!is_debian_like(""));
    }
}
