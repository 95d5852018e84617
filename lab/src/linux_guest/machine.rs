//! The Linux guest's QEMU, and the conversation with the init inside.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use lab_protocol::order::GUEST_KERNEL;
use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::json;

use super::talk::{Reply, Request, State};
use super::{Lapic, LinuxGuestError, initramfs};
use crate::qemu::{Monitor, PROGRAM, QemuError};
use crate::reap;

/// The name that it has for QEMU, and so for ldrscope.
const NAME: &str = "linux";
/// CPUs of the guest.
pub const CPUS: u32 = 4;
/// The init's program, beside the one that runs.
const INIT: &str = "lab-guest";
/// A boot takes half a minute where the lab has a CPU for itself, and several times that beside other labs.
const BOOT: Duration = Duration::from_secs(240);
/// Anything else that a guest does.
const STEP: Duration = Duration::from_secs(60);
/// What a guest writes to its console is for whoever reads a failure: no line of it is waited for.
const CONSOLE_LINES: usize = 25;
/// Little is said unless something breaks: each character is an exit of the emulated hardware. A panic starts the crash
/// kernel, or else the machine again, at once.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 crashkernel=128M mitigations=off";

/// How the guest's kernel addresses interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// xAPIC, logical destinations, one bit a CPU.
    Flat,
    /// xAPIC, physical destinations.
    PhysicalFlat,
    /// x2APIC.
    X2apic,
}

impl Routing {
    /// What QEMU is told, so that Linux chooses it.
    const fn arguments(self) -> [&'static str; 2] {
        match self {
            Self::Flat => ["qemu64,-x2apic", "4"],
            // Linux takes it where more than eight CPUs are possible.
            Self::PhysicalFlat => ["qemu64,-x2apic", "4,maxcpus=9"],
            Self::X2apic => ["qemu64,+x2apic", "4"],
        }
    }
}

/// A Linux guest that runs. Dropping it ends its QEMU.
#[derive(Debug)]
pub struct LinuxGuest {
    child: Child,
    monitor: Monitor,
    port: UnixStream,
    said: Receiver<String>,
    console: PathBuf,
    boot: Option<String>,
}

impl LinuxGuest {
    /// Powers one on, and returns what it says once its init runs.
    pub fn power_on(routing: Routing) -> Result<(Self, State), LinuxGuestError> {
        let mut guest = Self::start(routing)?;
        let state = guest.await_boot("boot")?;
        Ok((guest, state))
    }

    /// Has it carry out a request that leaves its kernel running.
    pub fn ask(&mut self, request: Request) -> Result<State, LinuxGuestError> {
        self.tell(request)?;
        let wanted = format!("carry out {request:?}");
        let state = self.hear(Some(request), &wanted, STEP)?;
        if self.boot.as_ref() == Some(&state.boot) {
            return Ok(state);
        }
        Err(self.elsewhere(wanted, state.boot))
    }

    /// Has it carry out a request that ends its kernel, and returns what the next one says.
    pub fn leave_by(&mut self, request: Request) -> Result<State, LinuxGuestError> {
        self.tell(request)?;
        self.await_boot(&format!("boot again after {request:?}"))
    }

    /// Its local APICs by QEMU's account, in the order of their vCPUs.
    pub fn lapics(&mut self) -> Result<Vec<Lapic>, LinuxGuestError> {
        (0..CPUS)
            .map(|cpu| {
                // By the index of the CPU that the monitor is to look at: asked by APIC ID, QEMU 7.2 shows what it
                // knew of that CPU when it last had a reason to ask KVM.
                let arguments = json!({"command-line": "info lapic", "cpu-index": cpu});
                let text = self.monitor.execute("human-monitor-command", arguments)?;
                Lapic::read(cpu, text.as_str().unwrap_or_default())
            })
            .collect()
    }

    /// Its QEMU's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn start(routing: Routing) -> Result<Self, LinuxGuestError> {
        let initrd = pack()?;
        let console = std::env::temp_dir().join("linux.console");
        let (port, theirs) = UnixStream::pair().map_err(port_error("make"))?;
        let theirs = OwnedFd::from(theirs);
        fcntl_setfd(&theirs, FdFlags::empty()).map_err(|errno| port_error("hand over")(errno.into()))?;
        let [cpu, smp] = routing.arguments();
        let mut child = Command::new(PROGRAM)
            .args(["-no-user-config", "-nodefaults", "-display", "none"])
            .args([
                "-accel", "kvm", "-machine", "pc", "-cpu", cpu, "-smp", smp, "-m", "512",
            ])
            .args(["-name", &format!("guest={NAME}")])
            .args(["-kernel", GUEST_KERNEL, "-append", COMMAND_LINE, "-initrd"])
            .arg(&initrd)
            .args(["-chardev", &format!("file,id=console,path={}", console.display())])
            .args(["-device", "isa-serial,chardev=console"])
            .args(["-chardev", &format!("socket,id=port,fd={}", theirs.as_raw_fd())])
            .args(["-device", "isa-serial,chardev=port"])
            .args(["-qmp", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| QemuError::Process {
                action: "start",
                name: NAME.to_owned(),
                source,
            })?;
        drop(theirs);
        let opened = Monitor::open(NAME, &mut child)
            .map_err(LinuxGuestError::from)
            .and_then(|monitor| Ok((monitor, listen(&port)?)));
        match opened {
            Ok((monitor, said)) => Ok(Self {
                child,
                monitor,
                port,
                said,
                console,
                boot: None,
            }),
            Err(error) => {
                reap::kill(&mut child);
                Err(error)
            }
        }
    }

    /// Waits for the first words of a kernel that has not spoken yet.
    fn await_boot(&mut self, wanted: &str) -> Result<State, LinuxGuestError> {
        let state = self.hear(None, wanted, BOOT)?;
        if self.boot.as_ref() == Some(&state.boot) {
            return Err(self.elsewhere(wanted.to_owned(), state.boot));
        }
        self.boot = Some(state.boot.clone());
        Ok(state)
    }

    fn tell(&mut self, request: Request) -> Result<(), LinuxGuestError> {
        let line = json!(request).to_string();
        writeln!(self.port, "{line}").map_err(port_error("write to"))
    }

    fn hear(
        &mut self,
        request: Option<Request>,
        wanted: &str,
        limit: Duration,
    ) -> Result<State, LinuxGuestError> {
        let Ok(line) = self.said.recv_timeout(limit) else {
            return Err(LinuxGuestError::Silent {
                wanted: wanted.to_owned(),
                seconds: limit.as_secs(),
                console: self.console(),
            });
        };
        match serde_json::from_str(&line) {
            Ok(Reply::State(state)) => Ok(state),
            Ok(Reply::Failed(reason)) => Err(LinuxGuestError::Refused {
                request,
                reason,
                console: self.console(),
            }),
            Err(_) => Err(LinuxGuestError::Unread { line }),
        }
    }

    fn elsewhere(&self, wanted: String, boot: String) -> LinuxGuestError {
        LinuxGuestError::Elsewhere {
            wanted,
            boot,
            console: self.console(),
        }
    }

    /// The end of what its kernels wrote.
    fn console(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<_> = text.lines().rev().take(CONSOLE_LINES).collect();
        lines.reverse();
        lines.join("\n")
    }
}

impl Drop for LinuxGuest {
    fn drop(&mut self) {
        reap::kill(&mut self.child);
    }
}

/// Packs the initramfs and returns its file.
fn pack() -> Result<PathBuf, LinuxGuestError> {
    let program = Path::new("/proc/self/exe");
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| LinuxGuestError::File { action, path, source }
    };
    let own = fs::read_link(program).map_err(failed("follow", program))?;
    let init = own.with_file_name(INIT);
    let init = fs::read(&init).map_err(failed("read", &init))?;
    let kernel = fs::read(GUEST_KERNEL).map_err(failed("read", Path::new(GUEST_KERNEL)))?;
    let packed = std::env::temp_dir().join("linux.initramfs");
    File::create(&packed)
        .and_then(|mut file| initramfs::write(&mut file, &init, Some(&kernel)))
        .map_err(failed("write", &packed))?;
    Ok(packed)
}

/// Reads the port's lines on a thread of its own; it ends with QEMU.
fn listen(port: &UnixStream) -> Result<Receiver<String>, LinuxGuestError> {
    let port = port.try_clone().map_err(port_error("duplicate"))?;
    let (sender, said) = channel();
    thread::spawn(move || {
        for line in BufReader::new(port).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            // What a reset leaves on the line before the next kernel speaks is no part of what that says.
            let Some(start) = line.find('{') else { continue };
            if sender.send(line[start..].to_owned()).is_err() {
                break;
            }
        }
    });
    Ok(said)
}

fn port_error(action: &'static str) -> impl Fn(std::io::Error) -> LinuxGuestError {
    move |source| LinuxGuestError::Port { action, source }
}
