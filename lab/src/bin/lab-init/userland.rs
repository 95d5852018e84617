//! The surroundings of the command: whose root it sees, its limits, its network.
//!
//! The tiny userland is the initramfs itself. The host userland is the outer machine's root over 9p, read-only, under an
//! overlay in memory: the command may write anywhere, and nothing it writes outlives the lab. Both get the same mounts.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use lab_protocol::{
    Userland,
    order::{EXCHANGE, EXCHANGE_TAG, GUEST_KERNEL, HOST_ROOT_TAG},
};
use rustix::{
    mount::{MountFlags, mount_bind, mount_move},
    process::{Resource, Rlimit, chroot, setrlimit},
    system::{sethostname, uname},
};

use crate::mounts;

/// Enough descriptors for a VM of 4,096 vCPUs, each with its own.
const DESCRIPTORS: u64 = 65_536;

const BUSYBOX: &str = "/bin/busybox";

/// Makes `userland` the root that the command will see, with every file system of a KVM host.
/// Where the initramfs has a kernel for guests, that is seen too.
pub(crate) fn enter(userland: Userland, guest_kernel: bool) -> Result<()> {
    sethostname(b"lab").context("cannot set the host name")?;
    match userland {
        Userland::Tiny => {
            for directory in ["/root", "/tmp"] {
                fs::create_dir_all(directory).with_context(|| format!("cannot create {directory}"))?;
            }
            busybox(&["--install", "-s", "/bin"])?;
            mounts::host(Path::new("/"))
        }
        // systemd's root stands like any other; making it PID 1 is the last step, and `systemd`'s.
        Userland::Host | Userland::Systemd => enter_host_root(guest_kernel),
    }
}

/// Mounts the directory that the outer machine shares, in the userland that has been entered.
pub(crate) fn share_exchange() -> Result<()> {
    // Nothing is cached: whoever reads on the other side finds what was written here.
    let options = "trans=virtio,version=9p2000.L,msize=524288,cache=none";
    mounts::one(
        EXCHANGE_TAG,
        Path::new(EXCHANGE),
        "9p",
        MountFlags::empty(),
        options,
    )
}

/// Locked memory without limit, which kernels before 5.11 charge BPF maps to, and descriptors for large VMs.
pub(crate) fn set_limits() -> Result<()> {
    setrlimit(
        Resource::Memlock,
        Rlimit {
            current: None,
            maximum: None,
        },
    )
    .context("cannot lift the memlock limit")?;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(DESCRIPTORS),
            maximum: Some(DESCRIPTORS),
        },
    )
    .context("cannot raise the descriptor limit")
}

/// Gives the loopback interface its address, for what serves on it.
pub(crate) fn bring_up_loopback() -> Result<()> {
    busybox(&["ifconfig", "lo", "127.0.0.1", "netmask", "255.0.0.0", "up"])
}

fn enter_host_root(guest_kernel: bool) -> Result<()> {
    let (lower, memory, root) = (Path::new("/outer"), Path::new("/changes"), Path::new("/host"));
    // cache=loose: the outer tree is read-only here and taken as still for the lab's few minutes.
    let options = "trans=virtio,version=9p2000.L,msize=524288,cache=loose";
    mounts::one(HOST_ROOT_TAG, lower, "9p", MountFlags::RDONLY, options)?;
    mounts::one("tmpfs", memory, "tmpfs", MountFlags::empty(), "mode=755")?;
    for directory in ["upper", "work"] {
        fs::create_dir(memory.join(directory)).context("cannot prepare the overlay")?;
    }
    let layers = "lowerdir=/outer,upperdir=/changes/upper,workdir=/changes/work";
    mounts::one("overlay", root, "overlay", MountFlags::empty(), layers)?;
    mounts::host(root)?;
    offer_modules(root)?;
    if guest_kernel {
        offer_guest_kernel(root)?;
    }
    env::set_current_dir(root).context("cannot enter the host's root")?;
    mount_move(".", "/").context("cannot make the host's root the root")?;
    chroot(".").context("cannot change root")?;
    env::set_current_dir("/").context("cannot enter the new root")
}

/// Lets `modprobe` in the host's root find this kernel's modules, which the outer machine does not have.
fn offer_modules(root: &Path) -> Result<()> {
    let release = uname().release().to_string_lossy().into_owned();
    let own = Path::new("/lib/modules").join(&release);
    let seen = root.join("lib/modules").join(&release);
    fs::create_dir_all(&seen).with_context(|| format!("cannot create {}", seen.display()))?;
    mount_bind(&own, &seen).with_context(|| format!("cannot show {} to the host's root", own.display()))
}

fn offer_guest_kernel(root: &Path) -> Result<()> {
    let own = Path::new(GUEST_KERNEL)
        .parent()
        .context("the guests' kernel has no directory")?;
    let seen = root.join(own.strip_prefix("/").unwrap_or(own));
    fs::create_dir_all(&seen).with_context(|| format!("cannot create {}", seen.display()))?;
    mount_bind(own, &seen).with_context(|| format!("cannot show {} to the host's root", own.display()))
}

fn busybox(arguments: &[&str]) -> Result<()> {
    let status = Command::new(BUSYBOX)
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {BUSYBOX}"))?;
    ensure!(
        status.success(),
        "busybox {} failed: {status}",
        arguments.join(" ")
    );
    Ok(())
}
