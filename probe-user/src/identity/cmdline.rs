//! What a VMM's command line says about its VM: name, UUID, and which VMM it is.
//!
//! Pure over the bytes of `/proc/PID/cmdline`, which any process can set to anything: invalid UTF-8 is
//! replaced, lengths are bounded, what does not parse is left out. Each VMM's own options are in a file of
//! its name.

mod cloud_hypervisor;
mod crosvm;
mod firecracker;
mod key_values;
mod kvmtool;
mod qemu;
#[cfg(test)]
mod tests;

use super::text::{bounded_bytes, canonical_uuid};

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The VM's name.
    pub name: Option<String>,
    /// Canonical lower-case UUID.
    pub uuid: Option<String>,
    /// The VMM, one word of lower case; `None` for a program that is not known.
    pub vmm: Option<&'static str>,
}

/// The VMMs whose command line is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vmm {
    Qemu,
    Firecracker,
    CloudHypervisor,
    Crosvm,
    Kvmtool,
}

impl Vmm {
    const fn word(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Firecracker => "firecracker",
            Self::CloudHypervisor => "cloud-hypervisor",
            Self::Crosvm => "crosvm",
            Self::Kvmtool => "kvmtool",
        }
    }

    /// By the base name of a program or by its comm, of which the kernel keeps 15 bytes. QEMU is installed as
    /// `qemu-system-x86_64`, `qemu-kvm` or `kvm`; releases of Firecracker and Cloud Hypervisor carry a version.
    fn of_program(program: &str) -> Option<Self> {
        if program.starts_with("qemu") || program == "kvm" {
            Some(Self::Qemu)
        } else if program.starts_with("firecracker") {
            Some(Self::Firecracker)
        } else if program.starts_with("cloud-hyperviso") {
            Some(Self::CloudHypervisor)
        } else if program == "crosvm" {
            Some(Self::Crosvm)
        } else if matches!(program, "lkvm" | "lkvm-static") {
            Some(Self::Kvmtool)
        } else {
            None
        }
    }
}

/// Parses the NUL-separated arguments in `cmdline`. `comm` helps where a VMM has overwritten its arguments;
/// `own_pid` is the process's id as it sees itself, by which kvmtool names a VM that was given no name.
#[must_use]
pub fn parse(cmdline: &[u8], comm: &str, own_pid: Option<u32>) -> Words {
    let mut arguments = cmdline.split(|byte| *byte == 0);
    let path = arguments.next().unwrap_or_default();
    let program = bounded_bytes(base_name(path)).unwrap_or_default();
    let vmm = Vmm::of_program(&program)
        .or_else(|| Vmm::of_program(comm))
        // kvmtool's second name is too short a word to go by alone.
        .or_else(|| (program == "vm" && kvmtool::runs(arguments.clone().next())).then_some(Vmm::Kvmtool));
    let mut words = match vmm {
        Some(Vmm::Qemu) => qemu::parse(arguments),
        Some(Vmm::Firecracker) => firecracker::parse(arguments),
        Some(Vmm::CloudHypervisor) => cloud_hypervisor::parse(arguments),
        Some(Vmm::Crosvm) => crosvm::parse(arguments),
        Some(Vmm::Kvmtool) => kvmtool::parse(arguments, own_pid),
        None => Words::default(),
    };
    words.vmm = vmm.map(Vmm::word);
    words
}

fn base_name(path: &[u8]) -> &[u8] {
    let start = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    &path[start..]
}

fn uuid_of(argument: &[u8]) -> Option<String> {
    canonical_uuid(&bounded_bytes(argument)?)
}

/// The value of `--OPTION VALUE` or `--OPTION=VALUE`, if `argument` is that option; the value may be the next
/// argument. `Some(None)` is the option without a value.
fn value_of<'a>(
    option: &[u8],
    argument: &'a [u8],
    next: &mut impl Iterator<Item = &'a [u8]>,
) -> Option<Option<&'a [u8]>> {
    let rest = argument.strip_prefix(option)?;
    match rest {
        [] => Some(next.next()),
        [b'=', value @ ..] => Some(Some(value)),
        _ => None,
    }
}
