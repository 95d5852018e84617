//! The initramfs: PID 1, its order, the kernel's modules, busybox and this checkout's binaries, as an uncompressed cpio.
//!
//! Written afresh for every boot into a file without a name: nothing is left behind, and nothing is ever stale.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Seek as _, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use cpio::newc;
use lab_protocol::{Order, order};

use crate::{build::Binaries, kernels::Kernel};

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
/// The kernel opens it for PID 1's standard streams before anything is mounted.
const CONSOLE: u32 = 0o020_600;

/// Writes the initramfs of one run, with the image `guest_kernel` for its guests, and returns its file, to be handed to QEMU by descriptor.
pub(crate) fn write(
    kernel: &Kernel,
    binaries: &Binaries,
    guest_kernel: Option<&Path>,
    order: &Order,
) -> Result<File> {
    let mut image = Image {
        file: tempfile::tempfile().context("cannot make a temporary file")?,
        made: BTreeSet::new(),
    };
    image.node("dev/console", CONSOLE, Some((5, 1)))?;
    for directory in ["proc", "sys", "etc"] {
        image.directory(Path::new(directory))?;
    }
    image.copy(&binaries.lab_init, Path::new("init"), EXECUTABLE)?;
    image.copy(&crate::setup::busybox()?, Path::new("bin/busybox"), EXECUTABLE)?;
    for binary in binaries.for_the_lab() {
        let name = binary.file_name().context("a binary without a name")?;
        image.copy(binary, &Path::new("bin").join(name), EXECUTABLE)?;
    }
    for path in kernel.module_tree() {
        image.copy(&kernel.file(path), path, PLAIN)?;
    }
    if let Some((place, file)) = kernel.kvm_beside() {
        image.copy(&file, &place, PLAIN)?;
    }
    if let Some(kernel) = guest_kernel {
        image.copy(kernel, Path::new(order::GUEST_KERNEL), PLAIN)?;
    }
    let order = order.to_json().context("cannot write the order")?;
    image.bytes(Path::new(order::PATH), PLAIN, &order)?;
    image.finish()
}

/// Where a kernel's file is inside the initramfs.
pub(crate) fn place_of(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}

struct Image {
    file: File,
    made: BTreeSet<PathBuf>,
}

impl Image {
    fn copy(&mut self, from: &Path, to: &Path, mode: u32) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.bytes(to, mode, &content)
    }

    fn bytes(&mut self, to: &Path, mode: u32, content: &[u8]) -> Result<()> {
        let to = to.strip_prefix("/").unwrap_or(to);
        self.parents(to)?;
        let size = u32::try_from(content.len()).with_context(|| format!("{} is too large", to.display()))?;
        let mut entry = newc::Builder::new(&name(to))
            .mode(mode)
            .write(&mut self.file, size);
        entry
            .write_all(content)
            .and_then(|()| entry.finish().map(drop))
            .context("cannot write the initramfs")
    }

    fn node(&mut self, to: &str, mode: u32, device: Option<(u32, u32)>) -> Result<()> {
        self.parents(Path::new(to))?;
        let (major, minor) = device.unwrap_or_default();
        let builder = newc::Builder::new(to)
            .mode(mode)
            .rdev_major(major)
            .rdev_minor(minor);
        builder
            .write(&mut self.file, 0)
            .finish()
            .map(drop)
            .context("cannot write the initramfs")
    }

    fn directory(&mut self, path: &Path) -> Result<()> {
        if path.as_os_str().is_empty() || !self.made.insert(path.to_owned()) {
            return Ok(());
        }
        self.node(&name(path), DIRECTORY, None)
    }

    fn parents(&mut self, path: &Path) -> Result<()> {
        let parents: Vec<&Path> = path.ancestors().skip(1).collect();
        parents
            .into_iter()
            .rev()
            .try_for_each(|parent| self.directory(parent))
    }

    fn finish(mut self) -> Result<File> {
        newc::trailer(&mut self.file).context("cannot write the initramfs")?;
        self.file
            .seek(io::SeekFrom::Start(0))
            .context("cannot rewind the initramfs")?;
        Ok(self.file)
    }
}

fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
