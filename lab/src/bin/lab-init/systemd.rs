//! Hands the lab to the outer machine's systemd: leaves the order and this program where a unit finds them, writes that unit,
//! and becomes systemd.
//!
//! The command is then run by this same program as a service ([`taken_over`]), which speaks to the outer machine as PID 1 does
//! elsewhere. Only what that service wants is started: everything that targets of the outer machine want is forgotten, in
//! the overlay alone, so that no unit has to be named here and any can still be started by a case.

use std::{
    convert::Infallible,
    fs,
    io::ErrorKind,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use lab_protocol::{Order, order::HANDED_OVER};

const SYSTEMD: &str = "/lib/systemd/systemd";

/// This program, where the unit finds it.
const RUNNER: &str = "/run/lab/lab-init";

/// Where units are that nothing of the outer machine overrides; systemd reads it after `/etc` alone.
const UNITS: &str = "/run/systemd/system";

/// Where targets' wishes are, by directories `NAME.target.wants`.
const WISHES: &[&str] = &["/etc/systemd/system", "/lib/systemd/system"];

/// One file that is written before systemd starts.
struct Placed {
    at: &'static str,
    content: &'static str,
}

const PLACED: &[Placed] = &[
    // A machine without an id is on its first boot: systemd would enable every unit by its preset.
    Placed {
        at: "/etc/machine-id",
        content: "1ab01ab01ab01ab01ab01ab01ab01ab0\n",
    },
    Placed {
        at: "/etc/hostname",
        content: "lab\n",
    },
    Placed {
        at: "/run/systemd/journald.conf.d/lab.conf",
        content: "[Journal]\nStorage=volatile\n",
    },
    Placed {
        at: "/run/systemd/system/lab.target",
        content: include_str!("lab.target"),
    },
    Placed {
        at: "/run/systemd/system/lab-command.service",
        content: include_str!("lab-command.service"),
    },
];

/// Becomes systemd. Returns only if that failed; until then nothing that cannot be reported has happened.
pub(crate) fn hand_over(order: &Order) -> Result<Infallible> {
    fs::create_dir_all(UNITS).with_context(|| format!("cannot create {UNITS}"))?;
    forget_wishes()?;
    for Placed { at, content } in PLACED {
        write(at, content.as_bytes())?;
    }
    let order = order.to_json().context("cannot write the order")?;
    write(HANDED_OVER, &order)?;
    fs::copy("/proc/self/exe", RUNNER).with_context(|| format!("cannot copy this program to {RUNNER}"))?;
    // Files that this process has open are closed on the way: the report port is free for the runner.
    let error = Command::new(SYSTEMD)
        .args(["--unit=lab.target", "--log-target=kmsg", "--log-level=notice"])
        .args(["--show-status=no", "--crash-reboot"])
        .env_clear()
        .env("SYSTEMD_GENERATOR_PATH", "/run/lab/no-generators")
        .exec();
    Err(error).with_context(|| format!("cannot become {SYSTEMD}; the package systemd has it"))
}

/// The order, if this program is the runner: systemd is PID 1, and was handed the lab.
pub(crate) fn taken_over() -> Result<Order> {
    let bytes =
        fs::read(HANDED_OVER).with_context(|| format!("not PID 1, and no lab to run: no {HANDED_OVER}"))?;
    Order::from_json(&bytes).with_context(|| format!("{HANDED_OVER} is not an order"))
}

/// Removes the directories by which targets want units.
fn forget_wishes() -> Result<()> {
    for directory in WISHES {
        for entry in fs::read_dir(directory).with_context(|| format!("cannot list {directory}"))? {
            let path = entry.with_context(|| format!("cannot list {directory}"))?.path();
            if is_of_target(&path) {
                fs::remove_dir_all(&path).with_context(|| format!("cannot forget {}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn is_of_target(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(".target.wants"))
}

fn write(at: &str, content: &[u8]) -> Result<()> {
    let path = PathBuf::from(at);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    // Written anew rather than into: the old file may be a link, or not for writing.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot replace {at}"))
        }
        _ => fs::write(&path, content).with_context(|| format!("cannot write {at}")),
    }
}
