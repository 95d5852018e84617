//! One QEMU with KVM under it: started from its firmware or from a saved state, saved into a file, ended. What is the same
//! on both ends of a migration (CPU model, devices, memory) is here and nowhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::QemuError;
use super::firmware::{Firmware, READY, READY_PORT};
use super::monitor::{Monitor, PATIENCE};
use crate::reap;

/// The VMM.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";
/// Between two looks at something that takes a while.
const POLL: Duration = Duration::from_millis(20);
/// The ring buffer behind [`READY_PORT`].
const READY_BUFFER: &str = "ready";

/// By what a guest is known on every host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// One word.
    pub name: &'static str,
    /// Canonical UUID.
    pub uuid: &'static str,
}

/// A guest that runs. Dropping it ends its QEMU.
#[derive(Debug)]
pub struct Machine {
    identity: Identity,
    child: Child,
    monitor: Monitor,
    image: PathBuf,
}

impl Machine {
    /// Powers a guest on and returns once its CPUs have written all their registers.
    pub fn power_on(identity: Identity, firmware: Firmware<'_>) -> Result<Self, QemuError> {
        let mut machine = Self::start(identity, firmware, None)?;
        let ready = char::from(READY);
        machine.await_state("done with its registers", |machine| {
            let arguments = json!({"device": READY_BUFFER, "size": 1});
            let said = machine.monitor.execute("ringbuf-read", arguments)?;
            let said = said.as_str().unwrap_or_default();
            Ok(if said.contains(ready) {
                Progress::Done
            } else {
                Progress::Under("silent".to_owned())
            })
        })?;
        Ok(machine)
    }

    /// Takes a guest in from the file that [`Machine::save`] wrote, and returns once it runs here.
    pub fn arrive(identity: Identity, firmware: Firmware<'_>, state: &Path) -> Result<Self, QemuError> {
        let mut machine = Self::start(identity, firmware, Some(state))?;
        machine.await_state("running", |machine| {
            let answer = machine.monitor.execute("query-status", json!({}))?;
            Ok(match answer["status"].as_str() {
                Some("running") => Progress::Done,
                other => Progress::Under(other.unwrap_or("unknown").to_owned()),
            })
        })?;
        Ok(machine)
    }

    /// Writes the running guest's whole state to `file`, in which it is still running, and ends its QEMU.
    pub fn save(mut self, file: &Path) -> Result<(), QemuError> {
        let uri = format!("exec:cat > {}", file.display());
        self.monitor.execute("migrate", json!({"uri": uri}))?;
        self.await_state("saved", |machine| {
            let answer = machine.monitor.execute("query-migrate", json!({}))?;
            Ok(match answer["status"].as_str() {
                Some("completed") => Progress::Done,
                Some("failed") => {
                    Progress::Never(answer["error-desc"].as_str().unwrap_or("failed").to_owned())
                }
                other => Progress::Under(other.unwrap_or("unknown").to_owned()),
            })
        })
    }

    fn start(identity: Identity, firmware: Firmware<'_>, state: Option<&Path>) -> Result<Self, QemuError> {
        let image = std::env::temp_dir().join(format!("{}.firmware", identity.name));
        fs::write(&image, firmware.image()?).map_err(|source| QemuError::File {
            path: image.clone(),
            source,
        })?;
        let incoming = state.map(|file| format!("exec:cat {}", file.display()));
        let failed = |action| {
            move |source| QemuError::Process {
                action,
                name: identity.name.to_owned(),
                source,
            }
        };
        let mut child = Command::new(PROGRAM)
            .args(["-no-user-config", "-nodefaults", "-display", "none"])
            .args(["-accel", "kvm", "-machine", "pc", "-cpu", "qemu64", "-m", "16"])
            .args(["-smp", &firmware.cpus.len().to_string()])
            .args([
                "-name",
                &format!("guest={}", identity.name),
                "-uuid",
                identity.uuid,
            ])
            .args(["-chardev", &format!("ringbuf,id={READY_BUFFER},size=64")])
            .args([
                "-device",
                &format!("isa-debugcon,iobase={READY_PORT:#x},chardev={READY_BUFFER}"),
            ])
            .args(["-qmp", "stdio", "-bios"])
            .arg(&image)
            .args(incoming.iter().flat_map(|uri| ["-incoming", uri]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed("start"))?;
        let monitor = match Monitor::open(identity.name, &mut child) {
            Ok(monitor) => monitor,
            Err(error) => {
                reap::kill(&mut child);
                return Err(error);
            }
        };
        Ok(Self {
            identity,
            child,
            monitor,
            image,
        })
    }

    fn await_state(
        &mut self,
        wanted: &'static str,
        mut look: impl FnMut(&mut Self) -> Result<Progress, QemuError>,
    ) -> Result<(), QemuError> {
        let began = Instant::now();
        loop {
            let (state, over) = match look(self)? {
                Progress::Done => return Ok(()),
                Progress::Never(state) => (state, true),
                Progress::Under(state) => (state, began.elapsed() >= PATIENCE),
            };
            if over {
                return Err(QemuError::Stuck {
                    name: self.identity.name.to_owned(),
                    wanted,
                    state,
                    seconds: began.elapsed().as_secs(),
                });
            }
            thread::sleep(POLL);
        }
    }
}

/// How far something is that takes a while.
enum Progress {
    Done,
    /// Not yet; what is seen.
    Under(String),
    /// It failed; why.
    Never(String),
}

impl Drop for Machine {
    fn drop(&mut self) {
        reap::kill(&mut self.child);
        // Left behind, it is lost with the lab.
        let _ = fs::remove_file(&self.image);
    }
}
