//! ldrscope as its package makes it a service: the shipped unit, user and configuration, started by systemd.
//!
//! An administrator's drop-ins and settings are a case's means to change it; they go with the [`Service`], which stops the unit.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::systemd::{Properties, Unit};
use super::{FleetError, PATIENCE, run};
use crate::http::{self, Response};

/// The unit.
pub const UNIT: Unit = Unit("ldrscope.service");

/// Every entry of its own.
pub const IDENTIFIER: &str = "SYSLOG_IDENTIFIER=ldrscope";
/// What systemd and ldrscope say of the unit on standard error.
pub const OF_UNIT: &str = "_SYSTEMD_UNIT=ldrscope.service";

/// Where it answers by default.
pub const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 9761);

/// The shipped alert rules.
pub const RULES: &str = include_str!("../../../packaging/prometheus/ldrscope.rules.yml");

/// Emulation takes ten times as long for all that a start does.
const EMULATED: &str = "[Service]\nTimeoutStartSec=150s\n";

const CONFIGURATION: &str = "/etc/ldrscope/ldrscope.toml";
const SHIPPED_CONFIGURATION: &str = include_str!("../../../packaging/ldrscope.toml");
const BINARY: &str = "/usr/bin/ldrscope";

/// Where a package would put them.
const SHIPPED: &[(&str, &str)] = &[
    (
        "/lib/systemd/system/ldrscope.service",
        include_str!("../../../packaging/ldrscope.service"),
    ),
    (
        "/usr/lib/sysusers.d/ldrscope.conf",
        include_str!("../../../packaging/ldrscope.sysusers"),
    ),
];

/// The installed service: stopped and as shipped when made and when dropped.
#[derive(Debug)]
pub struct Service {
    drop_ins: Vec<String>,
}

/// The two processes of a running service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processes {
    /// The one that systemd started.
    pub broker: u32,
    /// Its child, which does the work.
    pub child: u32,
}

impl Service {
    /// Installs it, unless this boot has it already.
    pub fn install() -> Result<Self, FleetError> {
        if !Path::new("/run/lab/installed").exists() {
            place(Path::new(BINARY), &read(&program()?)?)?;
            run("chmod", &["755", BINARY])?;
            for (at, content) in SHIPPED {
                place(Path::new(at), content.as_bytes())?;
            }
            run("systemd-sysusers", &["/usr/lib/sysusers.d/ldrscope.conf"])?;
            open_kvm()?;
            place(Path::new("/run/lab/installed"), b"")?;
        }
        place(Path::new(CONFIGURATION), SHIPPED_CONFIGURATION.as_bytes())?;
        let mut service = Self { drop_ins: Vec::new() };
        service.with("emulated", EMULATED)?;
        Ok(service)
    }

    /// Adds lines to its configuration.
    pub fn configure(&self, lines: &str) -> Result<(), FleetError> {
        let text = format!("{SHIPPED_CONFIGURATION}\n{lines}\n");
        place(Path::new(CONFIGURATION), text.as_bytes())
    }

    /// Adds a drop-in called `name` to its unit.
    pub fn with(&mut self, name: &str, text: &str) -> Result<(), FleetError> {
        self.drop_ins.push(name.to_owned());
        UNIT.with(name, text)
    }

    /// Takes a drop-in away again.
    pub fn without(&mut self, name: &str) -> Result<(), FleetError> {
        self.drop_ins.retain(|own| own != name);
        UNIT.without(name)
    }

    /// Its processes; the unit must be active.
    pub fn processes(&self) -> Result<Processes, FleetError> {
        let properties = UNIT.properties()?;
        let odd = || FleetError::Odd {
            tool: "systemd",
            reason: format!("no two processes: {}", properties.account()),
        };
        let broker = properties
            .number("MainPID")
            .filter(|pid| *pid > 0)
            .ok_or_else(odd)?;
        let path = format!("/proc/{broker}/task/{broker}/children");
        let children = fs::read_to_string(&path).map_err(FleetError::io(format!("read {path}")))?;
        let mut pids = children.split_ascii_whitespace().map(str::parse);
        match (u32::try_from(broker), pids.next(), pids.next()) {
            (Ok(broker), Some(Ok(child)), None) => Ok(Processes { broker, child }),
            _ => Err(odd()),
        }
    }

    /// Waits until it is active with another main process than `before`.
    pub fn await_restart(&self, before: Processes, limit: Duration) -> Result<Properties, FleetError> {
        UNIT.wait_until("it is active again, restarted", limit, |unit| {
            unit.get("ActiveState") == "active"
                && unit
                    .number("MainPID")
                    .is_some_and(|pid| pid > 0 && pid != u64::from(before.broker))
        })
    }

    /// Its answer to a scrape.
    pub fn scrape(&self) -> Result<Response, FleetError> {
        let address = SocketAddr::from(ADDRESS);
        http::get(address, "/metrics", PATIENCE).map_err(FleetError::io(format!("scrape {address}")))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // What fails here shows in the next case, which begins with the same.
        let _ = UNIT.stop();
        for name in &self.drop_ins {
            let _ = UNIT.without(name);
        }
        let _ = UNIT.reset();
    }
}

/// Gives `/dev/kvm` to its group, as udev's rules do whenever the module is loaded; there is no udev here.
pub fn open_kvm() -> Result<(), FleetError> {
    run("chgrp", &["kvm", "/dev/kvm"])?;
    run("chmod", &["660", "/dev/kvm"]).map(drop)
}

/// One field of `/proc/PID/status`.
pub fn status_field(pid: u32, name: &str) -> Result<String, FleetError> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).map_err(FleetError::io(format!("read {path}")))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line.unwrap_or_default().trim().to_owned())
}

/// The value of a series in an exposition, by its name with its labels as they stand there.
pub fn value_of(exposition: &str, series: &str) -> Option<f64> {
    let line = exposition
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.split(' ').next()?.parse().ok()
}

/// The binary under test: `$LDRSCOPE`, or on PATH.
fn program() -> Result<PathBuf, FleetError> {
    if let Some(named) = std::env::var_os("LDRSCOPE") {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join("ldrscope"))
        .find(|file| file.as_os_str() != OsStr::new(BINARY) && file.is_file())
        .ok_or_else(|| FleetError::Odd {
            tool: "PATH",
            reason: "it has no ldrscope".to_owned(),
        })
}

fn read(path: &Path) -> Result<Vec<u8>, FleetError> {
    fs::read(path).map_err(FleetError::io(format!("read {}", path.display())))
}

fn place(at: &Path, content: &[u8]) -> Result<(), FleetError> {
    let action = || format!("write {}", at.display());
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent).map_err(FleetError::io(action()))?;
    }
    fs::write(at, content).map_err(FleetError::io(action()))
}

#[cfg(test)]
mod tests {
    use super::value_of;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let text = "# TYPE a gauge\na_b 2\na 1\na{b=\"c d\"} 3 1764104477000\n";
        assert_eq!(value_of(text, "a"), Some(1.0));
        assert_eq!(value_of(text, "a{b=\"c d\"}"), Some(3.0));
        assert_eq!(value_of(text, "b"), None);
    }
}
