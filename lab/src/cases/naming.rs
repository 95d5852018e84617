//! What VMs are called: by those who manage them, and by those who would rather ldrscope said something else. The guests
//! are this very program, in other processes' clothes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Bench, CaseError, CaseResult, Context, require};
use crate::exhibit::{Disguise, GuestProcess, Kind};
use crate::tool::{results, snapshot};

const UUID: &str = "30ad89ac-5906-49ca-8d52-3c6343c598f6";
/// Longest text that ldrscope keeps of what others chose, in bytes.
const LONGEST: usize = 255;

fn unmet(what: &str) -> impl Fn(io::Error) -> CaseError {
    move |error| CaseError::Unmet(format!("{what}: {error}"))
}

/// A process that looks like QEMU with these arguments.
fn qemu(arguments: &[&[u8]]) -> Result<GuestProcess, CaseError> {
    let disguise = Disguise {
        argv0: Some("/usr/bin/qemu-system-x86_64".into()),
        arguments: arguments
            .iter()
            .map(|argument| OsStr::from_bytes(argument).to_owned())
            .collect(),
        ..Disguise::default()
    };
    start(&disguise)
}

fn start(disguise: &Disguise) -> Result<GuestProcess, CaseError> {
    GuestProcess::disguised(Kind::Flat, 2, disguise).map_err(unmet("guest process"))
}

/// Control groups below the root, taken away again in the end.
struct Groups(Vec<PathBuf>);

impl Groups {
    fn put(&mut self, guest: &GuestProcess, path: &str) -> Result<(), CaseError> {
        let mut group = PathBuf::from("/sys/fs/cgroup");
        for directory in path.split('/') {
            group.push(directory);
            if !group.exists() {
                fs::create_dir(&group).map_err(unmet("control group"))?;
                self.0.push(group.clone());
            }
        }
        fs::write(group.join("cgroup.procs"), guest.pid().to_string()).map_err(unmet("cgroup.procs"))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in self.0.iter().rev() {
            // A group that is still in use stays until the lab ends.
            let _ = fs::remove_dir(group);
        }
    }
}

/// Requires that the one VM there is, or the one that `wanted` finds, has that name, VMM and UUID.
fn is_called(
    guest: &GuestProcess,
    wanted: Option<&str>,
    name: &str,
    vmm: &str,
    uuid: Option<&str>,
) -> CaseResult {
    let filter = wanted.map(|wanted| ["--vm", wanted]);
    let vms = snapshot(filter.as_ref().map_or(&[][..], |filter| filter))?.vms;
    let found: Vec<_> = vms
        .iter()
        .map(|vm| (vm.name.as_str(), vm.vmm.as_str(), vm.uuid.as_deref(), vm.pid))
        .collect();
    require(found == [(name, vmm, uuid, guest.pid())], || {
        format!(
            "the VM of process {} should be {name:?} of {vmm:?} with UUID {uuid:?}, is {found:?}",
            guest.pid()
        )
    })
}

pub(super) fn managers(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut groups = Groups(Vec::new());
    libvirt(&mut groups)?;
    nova(&mut groups)?;
    kubevirt(&mut groups)?;

    // Cloud Hypervisor calls its VMs nothing.
    let platform = format!("--platform=oem_strings=[uuid=x],system_uuid={UUID}");
    let guest = start(&Disguise {
        argv0: Some("/usr/bin/cloud-hypervisor".into()),
        arguments: vec![platform.into()],
        ..Disguise::default()
    })?;
    is_called(&guest, Some(UUID), "lab-case", "cloud-hypervisor", Some(UUID))
}

/// A QEMU that was given no name is called as its scope is.
fn libvirt(groups: &mut Groups) -> CaseResult {
    let web = qemu(&[b"-S"])?;
    is_called(&web, None, "lab-case", "qemu", None)?;
    groups.put(&web, r"machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt")?;
    is_called(&web, Some("web"), "web", "qemu", None)
}

/// libvirt's file tells Nova's name, as long as it is of this process.
fn nova(groups: &mut Groups) -> CaseResult {
    const DOMAIN: &str = "instance-00000abc";
    const NAME: &str = "sh\"op\u{202e} {a=\"b\"} <1>";
    let guest = qemu(&[
        b"-name",
        b"guest=instance-00000abc,debug-threads=on",
        b"-uuid",
        UUID.as_bytes(),
    ])?;
    groups.put(
        &guest,
        r"machine.slice/machine-qemu\x2d12\x2dinstance\x2d00000abc.scope/libvirt/emulator",
    )?;
    is_called(&guest, None, DOMAIN, "qemu", Some(UUID))?;

    let directory = Path::new("/run/libvirt/qemu");
    fs::create_dir_all(directory).map_err(unmet("/run/libvirt/qemu"))?;
    let file = directory.join(format!("{DOMAIN}.xml"));
    let write = |pid: u32| {
        let name = NAME.replace('<', "&lt;");
        let text = format!(
            "<domstatus state='running' reason='booted' pid='{pid}'><domain type='kvm' id='12'><name>{DOMAIN}</name>\
             <uuid>{UUID}</uuid><metadata><nova:instance \
             xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'><nova:name>{name}</nova:name>\
             </nova:instance></metadata></domain></domstatus>"
        );
        fs::write(&file, text).map_err(unmet("libvirt's file"))
    };
    write(guest.pid())?;
    is_called(&guest, Some(DOMAIN), NAME, "qemu", Some(UUID))?;
    write(1)?;
    is_called(&guest, Some(DOMAIN), DOMAIN, "qemu", Some(UUID))?;
    fs::remove_file(&file).map_err(unmet("libvirt's file"))
}

/// The same domain name is two names in a pod, and one outside.
fn kubevirt(groups: &mut Groups) -> CaseResult {
    const POD: &str = "kubepods.slice/kubepods-burstable.slice/\
        kubepods-burstable-pod8b1c6a5e_0d2f_4c3b_9a48_1f2e3d4c5b6a.slice/cri-containerd-9f.scope";
    let guest = qemu(&[b"-name", b"guest=shop_web,debug-threads=on"])?;
    is_called(&guest, None, "shop_web", "qemu", None)?;
    groups.put(&guest, POD)?;
    is_called(&guest, Some("shop/web"), "shop/web", "qemu", None)?;
    is_called(&guest, Some("shop_web"), "shop/web", "qemu", None)
}

pub(super) fn hostile(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut groups = Groups(Vec::new());

    // 64 KiB of name, with everything in front that a terminal, a line or a label could trip over.
    let mut argument = b"guest=\x1b[2J\r\n\"'\\{}\xff\xe2\x80\xae".to_vec();
    argument.resize(64 * 1024, b'x');
    let name = format!("\x1b[2J\r\n\"'\\{{}}\u{fffd}\u{202e}{}", "x".repeat(LONGEST));
    let guest = qemu(&[b"-name", &argument])?;
    groups.put(&guest, r"machine.slice/machine-qemu\x2d3\x2d\x1b\x5b2J\x0a.scope")?;
    is_called(&guest, None, &name[..LONGEST], "qemu", None)?;
    shows_no_control_character()?;
    drop(guest);

    // The scope alone names it, and systemd's escapes hide what no path may hold.
    let guest = qemu(&[])?;
    groups.put(
        &guest,
        r"machine.slice/machine-qemu\x2d4\x2d\x1b\x5b2J\x0a\xff.scope",
    )?;
    is_called(&guest, None, "\x1b[2J\n\u{fffd}", "qemu", None)?;
    shows_no_control_character()?;
    drop(guest);

    // The comm alone, of a program that nobody knows.
    let this = std::env::current_exe().map_err(unmet("cannot find this program"))?;
    let program = std::env::temp_dir().join(OsStr::from_bytes(b"e\x1b[31m\r\nv\xffl"));
    symlink(this, &program).map_err(unmet("link to this program"))?;
    let guest = start(&Disguise {
        argv0: Some(OsString::from("\x1b[2J\n")),
        program: Some(program.clone()),
        ..Disguise::default()
    });
    let removed = fs::remove_file(&program).map_err(unmet("link to this program"));
    let (guest, comm) = (guest?, "e\x1b[31m\r\nv\u{fffd}l");
    removed?;
    is_called(&guest, None, comm, comm, None)?;
    shows_no_control_character()
}

fn shows_no_control_character() -> CaseResult {
    let table = results(&["snapshot", "--format", "table"], &[])?;
    let raw = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
    require(!table.chars().any(|c| raw(&c)), || {
        format!("the table should hold no raw control character: {table:?}")
    })
}
