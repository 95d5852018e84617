//! The lab: a stock kernel in QEMU's emulation that is a KVM host for as long as one command runs.
//!
//! This file owns the command line of `cargo xtask lab` and what a [`Host`] is. What goes into the initramfs is
//! [`image`]'s, QEMU's process [`qemu`]'s, the kernel's console [`console`]'s, the command's streams [`streams`]'s, the
//! run from boot to verdict [`session`]'s with [`order`] and [`standing`], and the ways in which it can end [`outcome`]'s.

mod console;
mod image;
mod order;
mod outcome;
mod qemu;
mod session;
mod standing;
mod streams;
mod terminal;

use std::{env, io::IsTerminal as _, num::NonZeroU32, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use lab_protocol::{KvmBuild, Userland};

pub(crate) use self::{
    session::{Channels, Session},
    streams::Input,
};
use crate::{
    build::{self, Binaries, Profile},
    kernels::{self, Series},
    progress, setup,
};

/// Default kernel: the newest of the map rules that the 2019 failure needs.
const DEFAULT_SERIES: Series = Series::V6_1;

/// Default memory in MiB: room for VMs of a thousand vCPUs and for the overlay's changes.
const DEFAULT_MEMORY_MIB: u32 = 2048;

/// Default time that a command may take where nobody watches it.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// `cargo xtask lab`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Kernel series of the host
    #[arg(long, value_name = "SERIES", default_value_t = DEFAULT_SERIES)]
    kernel: Series,
    /// Let the guest's clock count instructions: one nanosecond each, the same on any machine
    #[arg(long, conflicts_with = "cpus")]
    count_instructions: bool,
    /// CPUs of the host; two are emulated in turn by one thread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    cpus: u8,
    /// Memory of the host in MiB
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_MEMORY_MIB)]
    memory: u32,
    /// Seconds that the command may take [default: 600, without limit on a terminal]
    #[arg(long, value_name = "SECS")]
    timeout: Option<NonZeroU32>,
    /// The command's files: `host` is this machine's root, read-only under an overlay; `systemd` is the same with its
    /// systemd as PID 1 and its journal; `tiny` is busybox and ldrscope, and the default when counting instructions
    #[arg(long)]
    userland: Option<Userland>,
    /// Build of KVM: `stock` is the kernel's own; `keep-disabled`, built for 6.1, is that of 2019, which enters
    /// software-disabled APICs into its logical map
    #[arg(long, value_name = "BUILD", default_value_t)]
    kvm: KvmBuild,
    /// A directory of this machine that the command may read and write, as /exchange
    #[arg(long, value_name = "DIR")]
    exchange: Option<PathBuf>,
    /// Kernel series for Linux guests of the command, whose image it finds as /guest/vmlinuz
    #[arg(long, value_name = "SERIES")]
    guest_kernel: Option<Series>,
    /// Leave KVM's modules unloaded
    #[arg(long)]
    no_kvm: bool,
    /// Parameters for the module kvm-amd, such as "avic=1 force_avic=1"
    #[arg(
        long,
        value_name = "PARAMETERS",
        default_value = "",
        conflicts_with = "no_kvm"
    )]
    kvm_amd_args: String,
    /// More words for the kernel's command line, such as "lockdown=confidentiality"
    #[arg(long, value_name = "WORDS", default_value = "")]
    kernel_args: String,
    /// Boot with the binaries of the last build, without building
    #[arg(long)]
    no_build: bool,
    /// An interactive shell instead of a command
    #[arg(long, conflicts_with = "command", required_unless_present = "command")]
    shell: bool,
    /// The command to run, after `--`
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// The machine to boot.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// Its kernel.
    pub(crate) series: Series,
    /// 1 or 2.
    pub(crate) cpus: u8,
    /// Memory in MiB.
    pub(crate) memory_mib: u32,
    /// Whether its clock counts instructions; then it has one CPU.
    pub(crate) counts_instructions: bool,
    /// Whose files its commands see.
    pub(crate) userland: Userland,
    /// A directory of the outer machine that its commands may write.
    pub(crate) exchange: Option<PathBuf>,
    /// Whether KVM is loaded, and how.
    pub(crate) kvm: Kvm,
    /// The image of the kernel that its Linux guests boot.
    pub(crate) guest_kernel: Option<PathBuf>,
    /// More words for the kernel's command line.
    pub(crate) kernel_arguments: String,
}

/// Whether KVM is loaded when the command starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kvm {
    /// Loaded, kvm-amd with these parameters.
    Loaded {
        /// As `insmod` takes them.
        amd_parameters: String,
    },
    /// Left for the command to load.
    Unloaded,
}

impl Host {
    /// A plain host for test suites and demonstrations: one CPU, the tiny userland.
    pub(crate) fn plain(series: Series) -> Self {
        Self {
            series,
            cpus: 1,
            memory_mib: DEFAULT_MEMORY_MIB,
            counts_instructions: false,
            userland: Userland::Tiny,
            exchange: None,
            kvm: Kvm::Loaded {
                amd_parameters: String::new(),
            },
            guest_kernel: None,
            kernel_arguments: String::new(),
        }
    }
}

/// Boots the lab as asked and returns the command's status as xtask's own.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    ensure!(
        interactive || !arguments.shell,
        "lab --shell needs a terminal on standard input and output"
    );
    if let Some(directory) = &arguments.exchange {
        ensure!(
            directory.is_dir(),
            "--exchange: {} is no directory; create it first",
            directory.display()
        );
    }
    let binaries = if arguments.no_build {
        Binaries::of_last_build(Profile::Release)?
    } else {
        build::build(Profile::Release)?
    };
    let timeout = match (arguments.timeout, interactive) {
        (Some(seconds), _) => Some(Duration::from_secs(u64::from(seconds.get()))),
        (None, true) => None,
        (None, false) => Some(DEFAULT_TIMEOUT),
    };
    let input = if interactive {
        Input::Terminal
    } else {
        Input::Inherited
    };
    let kvm = arguments.kvm;
    let guest_kernel = arguments.guest_kernel;
    let (mut host, argv) = host_and_command(arguments);
    setup::lab()?;
    if let Some(series) = guest_kernel {
        host.guest_kernel = Some(kernels::ensure(series)?.image());
    }
    let kernel = kernels::with_kvm(kernels::ensure(host.series)?, kvm)?;
    progress::note(format_args!("booting kernel {kernel}"));
    let session = Session {
        host,
        kernel,
        binaries,
        argv,
        directory: working_directory()?,
        timeout,
    };
    match session.run(input, Channels::to_standard_streams()) {
        Ok(status) => Ok(ExitCode::from(status)),
        Err(error) => {
            progress::note(&error);
            Ok(ExitCode::from(error.status()))
        }
    }
}

fn host_and_command(arguments: Arguments) -> (Host, Vec<String>) {
    let default = if arguments.count_instructions {
        Userland::Tiny
    } else {
        Userland::Host
    };
    let kvm = if arguments.no_kvm {
        Kvm::Unloaded
    } else {
        Kvm::Loaded {
            amd_parameters: arguments.kvm_amd_args,
        }
    };
    let host = Host {
        series: arguments.kernel,
        cpus: arguments.cpus,
        memory_mib: arguments.memory,
        counts_instructions: arguments.count_instructions,
        userland: arguments.userland.unwrap_or(default),
        exchange: arguments.exchange,
        kvm,
        guest_kernel: None,
        kernel_arguments: arguments.kernel_args,
    };
    let argv = if arguments.shell {
        vec!["sh".to_owned(), "-i".to_owned()]
    } else {
        arguments.command
    };
    (host, argv)
}

fn working_directory() -> Result<String> {
    let directory = env::current_dir().context("the working directory is gone")?;
    match directory.into_os_string().into_string() {
        Ok(directory) => Ok(directory),
        Err(odd) => bail!(
            "the working directory {} is not UTF-8; change to one that is",
            odd.display()
        ),
    }
}
