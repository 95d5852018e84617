//! What xtask needs of a machine, how to tell whether it is there, and which Debian package brings it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::tool;

/// One thing that is needed.
#[derive(Debug)]
pub(crate) struct Need {
    /// What it is called in messages.
    pub(crate) what: &'static str,
    /// The Debian package that has it.
    pub(crate) package: &'static str,
    /// A service of that package, which nobody here wants to run.
    pub(crate) service: Option<&'static str>,
    probe: Probe,
}

#[derive(Debug)]
enum Probe {
    Program(&'static str),
    /// One of these files.
    File(&'static [&'static str]),
    StaticBusybox,
}

const fn program(name: &'static str, package: &'static str) -> Need {
    Need {
        what: name,
        package,
        service: None,
        probe: Probe::Program(name),
    }
}

const fn file(what: &'static str, package: &'static str, places: &'static [&'static str]) -> Need {
    Need {
        what,
        package,
        service: None,
        probe: Probe::File(places),
    }
}

const GIT: Need = program("git", "git");
const QEMU: Need = program("qemu-system-x86_64", "qemu-system-x86");
const BUSYBOX: Need = Need {
    what: "a static busybox",
    package: "busybox-static",
    service: None,
    probe: Probe::StaticBusybox,
};
const MODPROBE: Need = program("modprobe", "kmod");
const XZ: Need = program("xz", "xz-utils");
const ZSTD: Need = program("zstd", "zstd");
const DEBIAN_KEYS: Need = file(
    "Debian's archive keys",
    "debian-archive-keyring",
    &["/usr/share/keyrings/debian-archive-keyring.gpg"],
);
const MAKE: Need = program("make", "make");
const PATCH: Need = program("patch", "patch");
/// The compiler that Debian's headers of 6.1 name, the very one that built the kernel.
const KERNEL_COMPILER: Need = program("gcc-12", "gcc-12");
const PAHOLE: Need = program("pahole", "dwarves");
const C_COMPILER: Need = program("cc", "gcc");
const STATIC_LIBC: Need = file(
    "the static C library",
    "libc6-dev",
    &[
        "/usr/lib/x86_64-linux-gnu/libc.a",
        "/usr/lib64/libc.a",
        "/usr/lib/libc.a",
    ],
);
const RUSTC: Need = file("Debian's rustc", "rustc-web", &["/usr/bin/rustc"]);
const CARGO: Need = file("Debian's cargo", "cargo-web", &["/usr/bin/cargo"]);
const BPF_CORE: Need = file(
    "Rust's core library for BPF",
    "libstd-rust-web-dev-bpf",
    &[
        "/usr/lib/rustlib/bpfel-unknown-none",
        "/usr/lib/rust-web/lib/rustlib/bpfel-unknown-none",
    ],
);
const CLIPPY: Need = file("Debian's clippy", "rust-web-clippy", &["/usr/bin/cargo-clippy"]);
const RUSTFMT: Need = file("Debian's rustfmt", "rustfmt-web", &["/usr/bin/rustfmt"]);
const CXX_COMPILER: Need = program("c++", "g++");
const LLVM: Need = file(
    "LLVM 22's libraries",
    "llvm-22-dev",
    &["/usr/lib/llvm-22/bin/llvm-config"],
);
const POLLY: Need = file(
    "LLVM 22's Polly",
    "libpolly-22-dev",
    &["/usr/lib/llvm-22/lib/libPolly.a"],
);
const LIBZSTD: Need = file("the zstd library", "libzstd-dev", &["/usr/include/zstd.h"]);
const ZLIB: Need = file("the zlib library", "zlib1g-dev", &["/usr/include/zlib.h"]);

/// promtool is in no package of its own.
const PROMTOOL: Need = Need {
    service: Some("prometheus.service"),
    ..program("promtool", "prometheus")
};
const CHROMIUM: Need = program("chromium", "chromium");
const TMUX: Need = program("tmux", "tmux");
const SYSTEMD: Need = program("systemd-analyze", "systemd");

/// To boot the lab.
pub(crate) const LAB: &[Need] = &[QEMU, BUSYBOX];
/// To fetch and unpack kernels.
pub(crate) const KERNELS: &[Need] = &[MODPROBE, XZ, ZSTD, DEBIAN_KEYS];
/// To build KVM from its source.
pub(crate) const KVM_BUILD: &[Need] = &[MAKE, PATCH, KERNEL_COMPILER, PAHOLE, XZ, DEBIAN_KEYS];
/// To build the static userspace binaries.
pub(crate) const BUILD: &[Need] = &[C_COMPILER, STATIC_LIBC];
/// A compiler for the eBPF object, with its lints, where no other is there.
pub(crate) const BPF_COMPILER: &[Need] = &[RUSTC, CARGO, BPF_CORE, CLIPPY, RUSTFMT];
/// To install bpf-linker.
pub(crate) const BPF_LINKER: &[Need] = &[C_COMPILER, CXX_COMPILER, LLVM, POLLY, LIBZSTD, ZLIB];
/// To build libFuzzer, which is C++.
pub(crate) const FUZZ: &[Need] = &[C_COMPILER, CXX_COMPILER];
/// To list the tree's own files, which the tidy check reads.
pub(crate) const LINTS: &[Need] = &[GIT];
/// To hold what ships to the programs that will read it, and to run it beside them in the lab.
pub(crate) const SHIPPED: &[Need] = &[PROMTOOL, SYSTEMD, CHROMIUM, TMUX];
/// Everything but the BPF toolchain, which is looked for rather than prescribed.
pub(crate) const ALL: &[Need] = &[
    QEMU,
    BUSYBOX,
    MODPROBE,
    XZ,
    ZSTD,
    DEBIAN_KEYS,
    MAKE,
    PATCH,
    KERNEL_COMPILER,
    PAHOLE,
    C_COMPILER,
    CXX_COMPILER,
    STATIC_LIBC,
    GIT,
    PROMTOOL,
    SYSTEMD,
    CHROMIUM,
    TMUX,
];

impl Need {
    /// Whether it is there.
    pub(crate) fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => tool::find(name).is_some(),
            Probe::File(places) => places.iter().any(|place| Path::new(place).exists()),
            Probe::StaticBusybox => static_busybox().is_some(),
        }
    }
}

/// A busybox that runs where there is no C library.
pub(crate) fn static_busybox() -> Option<PathBuf> {
    tool::find("busybox").filter(|path| {
        // A dynamic program names its loader; the package `busybox` has one, `busybox-static` has none.
        let loader = b"/lib64/ld-linux";
        fs::read(path).is_ok_and(|bytes| !bytes.windows(loader.len()).any(|window| window == loader))
    })
}
