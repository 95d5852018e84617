//! Frames: content that was packed, its lengths, and two checksums, so that a length is never believed before it was checked.

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

/// The version of the format: the latest that is read, and written where interrupts were counted.
pub const VERSION: u16 = 2;

/// The version of a recording in which no interrupts were counted, for the sake of those who read no other.
pub(crate) const WITHOUT_INTERRUPTS: u16 = 1;

/// Bytes before the first frame.
pub const FILE_HEADER_LEN: usize = 16;

/// Bytes before a frame's payload.
pub const FRAME_HEADER_LEN: usize = 24;

/// The most content of a frame, unpacked. The largest entry there can be, a VM of 4,096 vCPUs, takes less than half.
pub const MAX_CONTENT: usize = 1 << 20;

/// What a recording begins with: not text, and damaged by whatever takes it for text.
pub const MAGIC: [u8; 8] = *b"\x89LDR\r\n\x1a\n";

/// Bit 0 of the flags: names, ids and comms are pseudonyms.
pub(crate) const ANONYMISED: u16 = 1;

/// A frame with more content than [`MAX_CONTENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {length} bytes is too long for a recording")]
pub struct TooLong {
    /// How much it was.
    pub length: usize,
}

/// What stands before the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Of the payload, packed.
    pub(crate) payload_len: usize,
    /// Of the content, unpacked.
    pub(crate) content_len: usize,
    /// The moment that the content's first is counted from.
    pub(crate) base: u64,
    payload_crc: u32,
}

impl FrameHeader {
    /// Reads it; `None` where its own checksum, or one of its lengths, is wrong.
    pub(crate) fn read(bytes: &[u8; FRAME_HEADER_LEN]) -> Option<Self> {
        let (checked, _) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(checked) != word(bytes, 20) {
            return None;
        }
        let length = |at| usize::try_from(word(bytes, at)).ok();
        let header = Self {
            payload_len: length(0)?,
            content_len: length(4)?,
            base: u64::from(word(bytes, 12)) << 32 | u64::from(word(bytes, 8)),
            payload_crc: word(bytes, 16),
        };
        let fits = header.content_len <= MAX_CONTENT
            && header.payload_len <= get_maximum_output_size(header.content_len);
        fits.then_some(header)
    }

    /// Unpacks the payload into `content`; false where it is not what the header says.
    pub(crate) fn unpack(&self, payload: &[u8], content: &mut Vec<u8>) -> bool {
        content.resize(self.content_len, 0);
        crc32fast::hash(payload) == self.payload_crc
            && decompress_into(payload, content).is_ok_and(|length| length == self.content_len)
    }
}

/// Four bytes at `at`, which every header has.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |word| u32::from_le_bytes(*word))
}

/// Appends the frame of `content` to `out`, whatever that is.
///
/// # Errors
/// Where it is longer than any reader would take.
pub fn pack(content: &[u8], base: u64, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let length = content.len();
    let too_long = TooLong { length };
    let content_len = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_CONTENT)
        .ok_or(too_long)?;
    let start = out.len();
    let payload = start + FRAME_HEADER_LEN;
    out.resize(payload + get_maximum_output_size(length), 0);
    // There is room for the worst case, which is the only thing that could go wrong.
    let packed = compress_into(content, &mut out[payload..]).map_err(|_| too_long)?;
    out.truncate(payload + packed);
    let payload_len = u32::try_from(packed).map_err(|_| too_long)?;
    let payload_crc = crc32fast::hash(&out[payload..]);
    let header = &mut out[start..payload];
    header[0..4].copy_from_slice(&payload_len.to_le_bytes());
    header[4..8].copy_from_slice(&content_len.to_le_bytes());
    header[8..16].copy_from_slice(&base.to_le_bytes());
    header[16..20].copy_from_slice(&payload_crc.to_le_bytes());
    let own_crc = crc32fast::hash(&header[..20]);
    header[20..24].copy_from_slice(&own_crc.to_le_bytes());
    Ok(())
}
