//! Takes the kernel proper out of a bzImage: it carries the BTF that a module's BTF builds upon.
//!
//! The header says where the packed kernel is (`setup_sects`, `payload_offset`, `payload_length`: Documentation/x86/boot.rst
//! of the kernel, boot protocol 2.08). xz alone is unpacked: it is what Debian's kernels use.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::tool;

const SETUP_SECTORS: usize = 0x1f1;
const HEADER_MAGIC: usize = 0x202;
const PROTOCOL: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

const SECTOR: usize = 512;
const FIRST_WITH_PAYLOAD: u32 = 0x208;
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";

/// The ELF image in `bzimage`.
pub(super) fn unpack(bzimage: &[u8]) -> Result<Vec<u8>> {
    let payload = payload(bzimage).context("the kernel's image is no bzImage")?;
    // The kernel's build appends the unpacked size to what xz wrote (scripts/Makefile.lib, size_append).
    let (packed, size) = payload
        .split_last_chunk()
        .context("the kernel's image is empty")?;
    ensure!(
        packed.starts_with(XZ_MAGIC),
        "the kernel in its image is not packed by xz, which is all that is unpacked here"
    );
    let elf = tool::filter(Command::new("xz").args(["-d", "-c", "-q"]), packed.to_owned())?;
    ensure!(
        elf.len() == usize::try_from(u32::from_le_bytes(*size))?,
        "the kernel in its image is not as long as the image says"
    );
    Ok(elf)
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| -> Option<usize> {
        let bytes = image.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let protocol = image.get(PROTOCOL..)?.first_chunk()?;
    if image.get(HEADER_MAGIC..)?.first_chunk()? != b"HdrS"
        || u32::from(u16::from_le_bytes(*protocol)) < FIRST_WITH_PAYLOAD
    {
        return None;
    }
    // 0 stands for 4.
    let setup_sectors = match image.get(SETUP_SECTORS)? {
        0 => 4,
        count => usize::from(*count),
    };
    let start = (setup_sectors + 1) * SECTOR + word(PAYLOAD_OFFSET)?;
    image.get(start..start.checked_add(word(PAYLOAD_LENGTH)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One setup sector, and `payload` 16 bytes into what follows.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR + 16];
        image[SETUP_SECTORS] = 1;
        image[HEADER_MAGIC..HEADER_MAGIC + 4].copy_from_slice(b"HdrS");
        image[PROTOCOL..PROTOCOL + 2].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&16_u32.to_le_bytes());
        let length = u32::try_from(payload.len()).unwrap();
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(payload);
        image.extend_from_slice(b"padding");
        image
    }

    fn packed(kernel: &[u8], size: u32) -> Vec<u8> {
        let mut packed = tool::filter(Command::new("xz").arg("-c"), kernel.to_owned()).unwrap();
        packed.extend_from_slice(&size.to_le_bytes());
        packed
    }

    #[test]
    fn the_kernel_comes_out_as_it_went_in() {
        let image = image(&packed(b"\x7fELF and more", 13));
        assert_eq!(unpack(&image).unwrap(), b"\x7fELF and more");
    }

    #[test]
    fn what_is_no_image_or_cut_short_is_refused() {
        let good = image(&packed(b"kernel", 6));
        assert!(unpack(b"MZ").is_err());
        assert!(unpack(&good[..good.len() - 20]).is_err());
        assert!(unpack(&image(&packed(b"kernel", 7))).is_err());
        assert!(unpack(&image(b"not xz at all")).is_err());
    }
}
