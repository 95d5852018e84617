//! The Linux guest's initramfs: its init, and the kernel that it may boot next. QEMU is given one, and a guest packs the
//! ones of its later kernels itself.

use std::io::{self, Write};

use cpio::newc;

/// Where the init finds the kernel, and [`write`] puts it.
pub const KERNEL: &str = "/kernel";

const EXECUTABLE: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
const DIRECTORY: u32 = 0o040_755;

/// Writes an initramfs with `init`, and `kernel` if it is to have one.
pub fn write(to: &mut dyn Write, init: &[u8], kernel: Option<&[u8]>) -> io::Result<()> {
    for directory in ["proc", "sys", "dev"] {
        newc::Builder::new(directory)
            .mode(DIRECTORY)
            .write(&mut *to, 0)
            .finish()?;
    }
    file(to, "init", EXECUTABLE, init)?;
    if let Some(kernel) = kernel {
        file(to, KERNEL.trim_start_matches('/'), PLAIN, kernel)?;
    }
    newc::trailer(to).map(drop)
}

fn file(to: &mut dyn Write, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let size = u32::try_from(content.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut entry = newc::Builder::new(name).mode(mode).write(to, size);
    entry.write_all(content)?;
    entry.finish().map(drop)
}
