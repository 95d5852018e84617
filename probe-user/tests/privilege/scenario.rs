//! The scenarios: what a process that gave up its privileges can still do, and what it cannot.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            net::{SocketAddr, UnixDatagram},
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
};

use crate::{bpf::Handed, screen};
use ldrscope::privilege::{Account, Confined, FileAccess, Keep, PrivilegeError, Sandbox, confine, drop_all};

/// How a scenario has to end.
pub(crate) enum Ending {
    /// With its own verdict.
    Exit,
    /// By this signal.
    Signal(i32),
}

/// One of them.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Whether it needs root.
    pub(crate) root: bool,
    pub(crate) ending: Ending,
    pub(crate) run: fn() -> Verdict,
}

pub(crate) type Verdict = Result<(), String>;

const fn exits(name: &'static str, run: fn() -> Verdict) -> Scenario {
    Scenario {
        name,
        root: false,
        ending: Ending::Exit,
        run,
    }
}

const fn as_root(name: &'static str, run: fn() -> Verdict) -> Scenario {
    Scenario {
        root: true,
        ..exits(name, run)
    }
}

/// Killed by seccomp.
const fn dies(name: &'static str, run: fn() -> Verdict) -> Scenario {
    Scenario {
        ending: Ending::Signal(libc::SIGSYS),
        ..exits(name, run)
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    as_root("root-ends-with-empty-sets", root_ends_with_empty_sets),
    as_root("another-user-keeps-the-death-signal", another_user),
    as_root("bpf-is-kept-only-if-needed", bpf_if_needed),
    as_root("what-was-handed-over-still-works", handed_over),
    exits("a-second-thread-is-refused", second_thread),
    exits("daily-work-goes-on", daily_work),
    exits("sockets-are-in-reach-by-name", sockets),
    exits("what-is-not-needed-is-refused", refusals),
    exits("a-screen-is-drawn", screen::drawing),
    exits("no-screen-is-drawn", screen::not_drawing),
    dies("executing-kills", || {
        confined()?;
        Err(format!("{:?}", Command::new("/bin/true").exec()))
    }),
    dies("tracing-kills", || call(libc::SYS_ptrace, [0; 3])),
    dies("a-new-namespace-kills", || call(libc::SYS_unshare, [0; 3])),
    dies("loading-a-program-kills", || call(libc::SYS_bpf, [5, 0, 0])),
    dies("becoming-another-user-kills", || call(libc::SYS_setuid, [0; 3])),
    Scenario {
        ending: Ending::Signal(libc::SIGABRT),
        ..exits("abort-is-an-abort", || {
            confined()?;
            process::abort()
        })
    },
];

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(crate) fn require(holds: bool, what: &str) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// Lines of `/proc/self/status` by their names.
fn status(names: &[&str]) -> Result<Vec<String>, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(text)?;
    let line = |name: &&str| {
        let value = status.lines().find_map(|line| line.strip_prefix(*name));
        value.map(|value| value.trim_start_matches(':').trim().to_owned())
    };
    let lines: Option<Vec<_>> = names.iter().map(line).collect();
    lines.ok_or_else(|| format!("a line of {names:?} is missing"))
}

fn confined() -> Result<Confined, String> {
    drop_all(Keep::Nothing, None).map_err(text)?;
    confine(&Sandbox::default()).map_err(text)
}

/// A confined process makes this call.
fn call(number: i64, [a, b, c]: [i64; 3]) -> Verdict {
    confined()?;
    // SAFETY: whatever it is, this process is to be killed before it is carried out; no argument is a pointer.
    let result = unsafe { libc::syscall(number, a, b, c) };
    Err(format!("the call came back with {result}"))
}

fn root_ends_with_empty_sets() -> Verdict {
    let dropped = drop_all(Keep::Nothing, None).map_err(text)?;
    require(
        !dropped.keeps_bpf && dropped.bounding.is_empty(),
        "something was kept",
    )?;
    let sets = status(&["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"])?;
    let none = "0000000000000000";
    require(sets == [none, none, none, none, none, "1"], &format!("{sets:?}"))?;
    let bits = rustix::thread::capabilities_secure_bits().map_err(text)?;
    require(bits.bits() == 0b1110_1111, &format!("secure bits {bits:?}"))?;
    let environment = fs::metadata("/proc/self/environ").map_err(text)?;
    require(environment.len() == 0, "its own environment should be there")?;
    require(
        rustix::process::dumpable_behavior() == Ok(rustix::process::DumpableBehavior::NotDumpable),
        "it can leave a core file",
    )
}

fn another_user() -> Verdict {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).map_err(text)?;
    let nobody = Account::find("nobody").map_err(text)?;
    drop_all(Keep::Nothing, Some(&nobody)).map_err(text)?;
    let [uids, gids] = &status(&["Uid", "Gid"])?[..] else {
        return Err("two lines".to_owned());
    };
    let four = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
    require(
        *uids == four(nobody.uid) && *gids == four(nobody.gid),
        &format!("{uids} {gids}"),
    )?;
    require(
        rustix::process::parent_process_death_signal() == Ok(Some(rustix::process::Signal::KILL)),
        "the signal of the parent's death was lost",
    )?;
    require(fs::File::open("/etc/shadow").is_err(), "/etc/shadow can be read")
}

/// It stays over the change of user where the kernel asks for it, and only there.
fn bpf_if_needed() -> Verdict {
    let nobody = Account::find("nobody").map_err(text)?;
    let dropped = match drop_all(Keep::BpfIfNeeded, Some(&nobody)) {
        Ok(dropped) => dropped,
        // A machine on which nobody may call it, whatever is held.
        Err(PrivilegeError::BpfRefused { .. }) => return Ok(()),
        Err(error) => return Err(text(error)),
    };
    let due = if dropped.keeps_bpf {
        "0000008000000000"
    } else {
        "0000000000000000"
    };
    let sets = status(&["CapPrm", "CapEff"])?;
    require(sets == [due, due], &format!("{dropped:?}, and yet {sets:?}"))?;
    confine(&Sandbox::default()).map_err(text)?;
    let attr = NO_DESCRIPTOR;
    // SAFETY: there is no descriptor of that number, so nothing is read or written.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, 15, &raw const attr, 16) };
    let error = io::Error::last_os_error();
    require(
        answer == -1 && error.raw_os_error() == Some(libc::EBADFD),
        &text(error),
    )
}

/// The daemon's child lives by descriptors of bpf(2) that were made for it.
fn handed_over() -> Verdict {
    let handed = match Handed::make() {
        Ok(handed) => handed,
        // A machine on which nobody may.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        Err(error) => return Err(format!("making them: {error}")),
    };
    let nobody = Account::find("nobody").map_err(text)?;
    drop_all(Keep::BpfIfNeeded, Some(&nobody)).map_err(text)?;
    confine(&Sandbox::default()).map_err(text)?;
    handed.use_all().map_err(text)
}

/// `bpf_fd`, `info_len` and `info` of `union bpf_attr`.
const NO_DESCRIPTOR: [u32; 4] = [u32::MAX, 0, 0, 0];

fn second_thread() -> Verdict {
    thread::scope(|scope| {
        let other = scope.spawn(thread::park);
        let dropped = drop_all(Keep::Nothing, None);
        other.thread().unpark();
        match dropped {
            Err(PrivilegeError::Threads { count: 2 }) => Ok(()),
            others => Err(format!("{others:?}")),
        }
    })
}

/// A directory of its own, made before it is confined.
pub(crate) fn scratch(name: &str) -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("ldrscope-{name}-{}", process::id()));
    fs::create_dir_all(&path).map_err(text)?;
    Ok(path)
}

/// What the daemon does all day: files, threads, a scrape over TCP, an event loop, `/proc` and `/sys`.
fn daily_work() -> Verdict {
    let directory = scratch("work")?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let address = listener.local_addr().map_err(text)?;
    let (mut ready, mut scraper) = io::pipe().map_err(text)?;
    // The scraper is a process outside.
    // SAFETY: there is one thread, so that no lock is held by another.
    if unsafe { libc::fork() } == 0 {
        let mut byte = [0];
        let served = ready.read_exact(&mut byte).and_then(|()| {
            let mut answer = String::new();
            TcpStream::connect(address)?.read_to_string(&mut answer)?;
            Ok(answer)
        });
        // SAFETY: ends the process, without what its parent has yet to write.
        unsafe { libc::_exit(i32::from(served.ok().as_deref() != Some("ok"))) }
    }
    drop_all(Keep::Nothing, None).map_err(text)?;
    let sandbox = Sandbox {
        writable: vec![directory.clone()],
        ..Sandbox::default()
    };
    confine(&sandbox).map_err(text)?;

    work_with_files(&directory).map_err(|error| format!("files: {error}"))?;
    let sum = thread::Builder::new()
        .name("worker".to_owned())
        .spawn(|| vec![1_u64; 1 << 20].iter().sum::<u64>())
        .map_err(text)?
        .join();
    require(sum.ok() == Some(1 << 20), "a thread")?;
    scraper.write_all(b"x").map_err(text)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(text)?;
    runtime.block_on(async {
        use tokio::io::AsyncWriteExt as _;
        listener.set_nonblocking(true).map_err(text)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(text)?;
        let (mut stream, _) = listener.accept().await.map_err(text)?;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        stream.write_all(b"ok").await.map_err(text)?;
        stream.shutdown().await.map_err(text)?;
        tokio::task::spawn_blocking(|| ()).await.map_err(text)
    })?;
    for path in [
        "/proc/1/cmdline",
        "/proc/self/stat",
        "/proc/self/limits",
        "/sys/devices/system/cpu/possible",
    ] {
        fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    }
    require(
        fs::read_dir("/proc/self/fd").map_err(text)?.count() > 2,
        "its own descriptors",
    )?;
    fs::read_dir("/proc").map_err(text).map(drop)
}

/// A log that is written and rotated, a file that is put in the place of another, one that is removed, and a full one.
fn work_with_files(directory: &Path) -> io::Result<()> {
    let [log, old, new] = ["log", "old", "new"].map(|name| directory.join(name));
    let mut file = fs::File::options().create(true).append(true).open(&log)?;
    file.write_all(b"line\n")?;
    file.sync_all()?;
    fs::rename(&log, &old)?;
    fs::write(&new, "new")?;
    fs::rename(&new, &old)?;
    fs::File::options().write(true).truncate(true).open(&old)?;
    let below = directory.join("below");
    fs::create_dir(&below)?;
    fs::write(below.join("file"), "x")?;
    fs::remove_file(below.join("file"))?;
    fs::remove_file(&old)?;
    require_entries(directory, 1)
}

fn require_entries(directory: &Path, count: usize) -> io::Result<()> {
    if fs::read_dir(directory)?.count() == count {
        Ok(())
    } else {
        Err(io::Error::other("entries that should not be there"))
    }
}

/// The journal's and systemd's are where they were said to be; others cannot be spoken to, as far as the kernel knows how.
fn sockets() -> Verdict {
    let (known, unknown) = (
        scratch("known")?.join("socket"),
        scratch("unknown")?.join("socket"),
    );
    let abstracted = SocketAddr::from_abstract_name(format!("ldrscope-{}", process::id())).map_err(text)?;
    let _known = UnixDatagram::bind(&known).map_err(text)?;
    let _unknown = UnixDatagram::bind(&unknown).map_err(text)?;
    let _abstracted = UnixDatagram::bind_addr(&abstracted).map_err(text)?;
    drop_all(Keep::Nothing, None).map_err(text)?;
    let sandbox = Sandbox {
        sockets: vec![known.clone()],
        ..Sandbox::default()
    };
    let abi = match confine(&sandbox).map_err(text)?.files {
        FileAccess::Restricted { abi } => abi,
        FileAccess::LandlockOff | FileAccess::NoLandlock => 0,
    };
    let sender = UnixDatagram::unbound().map_err(text)?;
    sender.send_to(b"x", &known).map_err(text)?;
    let sent = sender.send_to(b"x", &unknown);
    require(
        sent.is_ok() == (abi < 9),
        &format!("ABI {abi}, another socket: {sent:?}"),
    )?;
    let sent = sender.send_to_addr(b"x", &abstracted);
    require(
        sent.is_ok() == (abi < 6),
        &format!("ABI {abi}, an abstract socket: {sent:?}"),
    )
}

/// What landlock refuses, as far as the kernel has it, and what seccomp answers as if it did not exist.
fn refusals() -> Verdict {
    let directory = scratch("refusals")?;
    let outside = scratch("outside")?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let address = listener.local_addr().map_err(text)?;
    drop_all(Keep::Nothing, None).map_err(text)?;
    let sandbox = Sandbox {
        writable: vec![directory],
        ..Sandbox::default()
    };
    let confined = confine(&sandbox).map_err(text)?;
    if let FileAccess::Restricted { abi } = confined.files {
        let denied = |error: Option<io::Error>| {
            error.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        };
        require(denied(fs::read("/etc/passwd").err()), "/etc/passwd can be read")?;
        require(
            denied(fs::write(outside.join("x"), "x").err()),
            "a file can be made elsewhere",
        )?;
        if abi >= 4 {
            require(denied(TcpStream::connect(address).err()), "TCP can connect")?;
            require(denied(TcpListener::bind("127.0.0.1:0").err()), "TCP can bind")?;
        }
    }
    let errno = |result: i64| (result, io::Error::last_os_error().raw_os_error());
    let none = (-1, Some(libc::ENOSYS));
    // SAFETY: a new mapping that nothing points into.
    let code = unsafe {
        let (kind, protection) = (
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            libc::PROT_READ | libc::PROT_EXEC,
        );
        libc::mmap(std::ptr::null_mut(), 4096, protection, kind, -1, 0)
    };
    require(errno(code as i64) == none, "memory can be executed")?;
    // SAFETY: no argument is a pointer.
    let netlink = unsafe { libc::syscall(libc::SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW, 0) };
    require(errno(netlink) == none, "a netlink socket can be made")?;
    // SAFETY: a fork that is refused; were it not, both processes would only fail.
    let fork = unsafe { libc::fork() };
    require(errno(fork.into()) == none, "a process can be made")?;
    // SAFETY: signal 0 does nothing.
    let kill = unsafe { libc::kill(1, 0) };
    require(errno(kill.into()) == none, "others can be signalled")?;
    // SAFETY: no such command: nothing is read.
    let bpf = unsafe { libc::syscall(libc::SYS_bpf, 2, 0, 0) };
    require(errno(bpf) == none, "maps can be written")?;
    let _ = UdpSocket::bind("127.0.0.1:0");
    require(
        rustix::thread::no_new_privs() == Err(rustix::io::Errno::NOSYS),
        "prctl(2) is open",
    )
}
