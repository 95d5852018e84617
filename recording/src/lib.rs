//! Recordings: what was observed on a host, as a file that any machine can analyse later.
//!
//! Only the format is here: [`Packer`] turns what happened into frames, [`Writer`] puts frames into a file, [`Reader`]
//! takes a file apart again, [`Pseudonyms`] hides who is who. Where what is recorded comes from, and what is made of it,
//! is left to others. The format is described for other implementers in `docs/recordings.md`.
//!
//! A frame stands alone: its numbers are relative to nothing outside it, and it carries checksums of its own. A file that
//! was cut ends after its last whole frame; a byte that changed is found, and said where.
#![forbid(unsafe_code)]

mod decode;
mod encode;
mod entry;
mod frame;
mod layout;
mod pseudonyms;
mod reader;
mod wire;
mod writer;

pub use self::{
    encode::Packer,
    entry::{Belongs, Entry, Host, Identity, Namer},
    frame::{FILE_HEADER_LEN, FRAME_HEADER_LEN, MAGIC, MAX_CONTENT, TooLong, VERSION, pack as pack_frame},
    pseudonyms::Pseudonyms,
    reader::{Ending, Error, Place, Reader},
    writer::{Flags, Writer, end_frame, file_header},
};
