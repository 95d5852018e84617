//! QEMU's process: its command line, the sockets to its ports, and its end.
//!
//! Emulation only, on purpose: `/dev/kvm` of the outer machine is never opened. One CPU, or two emulated by one thread:
//! kernel text patching under multi-threaded emulation breaks the kernels that ldrscope attaches to. QEMU never outlives
//! xtask: the kernel kills it when its parent dies, and dropping [`Qemu`] kills it too.

use std::{
    ffi::OsString,
    fs::File,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            net::UnixStream,
        },
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use lab_protocol::{
    order::{EXCHANGE_TAG, HOST_ROOT_TAG},
    port,
};
use rustix::io::{FdFlags, fcntl_setfd};

use super::Host;
use crate::{kernels::Kernel, tool};

/// The emulator's program.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";

/// What the kernel is told: its console's place; to die at once of what would otherwise linger.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 loglevel=6 panic=-1 oops=panic";

/// A running QEMU.
#[derive(Debug)]
pub(crate) struct Qemu {
    child: Child,
}

/// Our ends of the ports.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) console: UnixStream,
    pub(crate) report: UnixStream,
    pub(crate) results: UnixStream,
    pub(crate) streams: StreamPorts,
}

/// Our ends of the command's streams.
#[derive(Debug)]
pub(crate) enum StreamPorts {
    /// Three ports.
    Apart {
        input: UnixStream,
        output: UnixStream,
        error: UnixStream,
    },
    /// One console, both ways.
    Terminal(UnixStream),
}

impl Qemu {
    /// Starts QEMU on `kernel` and `initramfs`.
    pub(crate) fn start(
        host: &Host,
        kernel: &Kernel,
        initramfs: &File,
        terminal: bool,
    ) -> Result<(Self, Ports)> {
        let mut line = CommandLine::new(host, kernel);
        line.inherit(
            initramfs
                .as_fd()
                .try_clone_to_owned()
                .context("cannot duplicate a descriptor")?,
        )?;
        line.words(&["-initrd", &format!("/proc/self/fd/{}", line.last_inherited())]);
        let console = line.socket("console")?;
        line.words(&["-serial", "chardev:console", "-device", "virtio-serial-pci"]);
        let report = line.port(port::REPORT)?;
        let results = line.port(port::RESULTS)?;
        let streams = if terminal {
            let socket = line.socket("terminal")?;
            line.words(&["-device", "virtconsole,chardev=terminal"]);
            StreamPorts::Terminal(socket)
        } else {
            let [input, output, error] =
                [port::STDIN, port::STDOUT, port::STDERR].map(|name| line.port(name));
            StreamPorts::Apart {
                input: input?,
                output: output?,
                error: error?,
            }
        };
        Ok((
            line.start()?,
            Ports {
                console,
                report,
                results,
                streams,
            },
        ))
    }

    /// Ends QEMU if it has not ended, and reaps it.
    pub(crate) fn stop(&mut self) {
        // Both fail only for a child that is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Shares `directory` over 9p under the name `tag`.
fn share(command: &mut Command, tag: &str, directory: &Path, options: &str) {
    let mut share = OsString::from(format!("local,id={tag},security_model=none,{options},path="));
    // In QEMU's lists of options a comma inside a value is doubled.
    let path = directory.as_os_str().as_bytes().split(|byte| *byte == b',');
    share.push(OsString::from_vec(path.collect::<Vec<_>>().join(&b",,"[..])));
    let device = format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}");
    command.arg("-fsdev").arg(share).args(["-device", &device]);
}

struct CommandLine {
    command: Command,
    /// Descriptors that QEMU is to inherit; closed here once it runs.
    inherited: Vec<OwnedFd>,
}

impl CommandLine {
    fn new(host: &Host, kernel: &Kernel) -> Self {
        // `setpriv` asks the kernel to kill QEMU with its parent, whatever that dies of.
        let mut command = match tool::find("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", PROGRAM]);
                command
            }
            None => Command::new(PROGRAM),
        };
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-machine",
            "pc",
            "-cpu",
            "max",
        ]);
        let (cpus, accelerator) = match (host.counts_instructions, host.cpus) {
            (true, _) => ("1", "tcg"),
            (false, 1) => ("1", "tcg"),
            (false, _) => ("2", "tcg,thread=single"),
        };
        command
            .args(["-smp", cpus, "-accel", accelerator, "-m"])
            .arg(format!("{}M", host.memory_mib));
        if host.counts_instructions {
            command.args(["-icount", "shift=0,sleep=off"]);
        }
        let kernel_arguments = format!("{KERNEL_ARGUMENTS} {}", host.kernel_arguments);
        command
            .arg("-kernel")
            .arg(kernel.image())
            .arg("-append")
            .arg(kernel_arguments.trim_end());
        if host.userland.is_outer() {
            share(
                &mut command,
                HOST_ROOT_TAG,
                Path::new("/"),
                "readonly=on,multidevs=remap",
            );
        }
        if let Some(directory) = &host.exchange {
            share(&mut command, EXCHANGE_TAG, directory, "readonly=off");
        }
        Self {
            command,
            inherited: Vec::new(),
        }
    }

    fn words(&mut self, words: &[&str]) {
        self.command.args(words);
    }

    fn inherit(&mut self, descriptor: OwnedFd) -> Result<()> {
        fcntl_setfd(&descriptor, FdFlags::empty()).context("cannot hand a descriptor to QEMU")?;
        self.inherited.push(descriptor);
        Ok(())
    }

    fn last_inherited(&self) -> i32 {
        self.inherited
            .last()
            .map_or(-1, |descriptor| descriptor.as_raw_fd())
    }

    /// A character device called `id` that is a socket to us.
    fn socket(&mut self, id: &str) -> Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair().context("cannot make a socket pair")?;
        self.inherit(theirs.into())?;
        let device = format!("socket,id={id},fd={}", self.last_inherited());
        self.words(&["-chardev", &device]);
        Ok(ours)
    }

    /// A virtio-serial port called `name`.
    fn port(&mut self, name: &str) -> Result<UnixStream> {
        let socket = self.socket(name)?;
        self.words(&["-device", &format!("virtserialport,chardev={name},name={name}")]);
        Ok(socket)
    }

    fn start(mut self) -> Result<Qemu> {
        let child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {PROGRAM}; `cargo xtask setup` installs it"))?;
        Ok(Qemu { child })
    }
}
