//! systemd, driven by `systemctl` as an administrator does.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::{FleetError, run};

/// Between two looks at a unit.
const POLL: Duration = Duration::from_millis(200);

/// Where drop-ins go that a case adds; those of `/etc` are an administrator's.
const UNITS: &str = "/run/systemd/system";

/// A unit by its name.
#[derive(Debug, Clone, Copy)]
pub struct Unit(pub &'static str);

/// A unit's properties, as `systemctl show` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Unit {
    /// Starts it and returns once it has started: for a service of type notify, once it said so.
    pub fn start(self) -> Result<(), FleetError> {
        self.tell("start")
    }

    /// Stops it and returns once it has stopped.
    pub fn stop(self) -> Result<(), FleetError> {
        self.tell("stop")
    }

    /// Stops and starts it.
    pub fn restart(self) -> Result<(), FleetError> {
        self.tell("restart")
    }

    /// Asks it to read again what it should.
    pub fn reload(self) -> Result<(), FleetError> {
        self.tell("reload")
    }

    /// Forgets that it failed, and how often it was started.
    pub fn reset(self) -> Result<(), FleetError> {
        self.tell("reset-failed")
    }

    /// All its properties.
    pub fn properties(self) -> Result<Properties, FleetError> {
        let text = run("systemctl", &["show", self.0])?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(Properties(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        ))
    }

    /// Waits until `holds` of its properties, and returns them.
    pub fn wait_until(
        self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Properties) -> bool,
    ) -> Result<Properties, FleetError> {
        let deadline = Instant::now() + limit;
        loop {
            let properties = self.properties()?;
            if holds(&properties) {
                return Ok(properties);
            }
            if Instant::now() >= deadline {
                return Err(FleetError::NotSeen {
                    what: what.to_owned(),
                    seconds: limit.as_secs(),
                    state: format!("{} is {}", self.0, properties.account()),
                });
            }
            thread::sleep(POLL);
        }
    }

    /// Lays `text` over its file under the name `name`, until [`Self::without`] takes it away.
    pub fn with(self, name: &str, text: &str) -> Result<(), FleetError> {
        let path = self.drop_in(name);
        let action = || format!("write {}", path.display());
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(FleetError::io(action()))?;
        }
        fs::write(&path, text).map_err(FleetError::io(action()))?;
        reload_units()
    }

    /// Takes a drop-in away again.
    pub fn without(self, name: &str) -> Result<(), FleetError> {
        let path = self.drop_in(name);
        fs::remove_file(&path).map_err(FleetError::io(format!("remove {}", path.display())))?;
        reload_units()
    }

    fn drop_in(self, name: &str) -> PathBuf {
        PathBuf::from(format!("{UNITS}/{}.d/{name}.conf", self.0))
    }

    fn tell(self, verb: &str) -> Result<(), FleetError> {
        run("systemctl", &[verb, self.0]).map(drop)
    }
}

/// Lets systemd read unit files that have changed.
pub fn reload_units() -> Result<(), FleetError> {
    run("systemctl", &["daemon-reload"]).map(drop)
}

impl Properties {
    /// One of them; empty if it has none of that name.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// One that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name).parse().ok()
    }

    /// How the unit stands, for a person.
    pub fn account(&self) -> String {
        [
            "ActiveState",
            "SubState",
            "Result",
            "NRestarts",
            "MainPID",
            "ExecMainStatus",
            "StatusText",
        ]
        .map(|name| format!("{name}={}", self.get(name)))
        .join(" ")
    }
}
