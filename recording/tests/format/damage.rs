//! Cut, changed, and made up.

use probe_apic::id::{BootTime, VmId};
use probe_apic::observation::Observation;
use proptest::{collection::vec, prelude::*};
use recording::{Ending, Entry, Error, FILE_HEADER_LEN, FRAME_HEADER_LEN, Reader, VERSION, file_header};

use crate::{Story, record, replay, strategy};

/// One entry a frame, so that every frame boundary is known by the entries before it.
fn small() -> (Story, Vec<u8>) {
    let story: Story = (1..=5)
        .map(|number| {
            let entry = match number % 2 {
                0 => Entry::Observed(Observation::Skipped(VmId(number))),
                _ => Entry::Dropped(number),
            };
            (BootTime(number * 1000), entry)
        })
        .collect();
    let bytes = record(&story, 1);
    (story, bytes)
}

/// Where each frame begins.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut at = FILE_HEADER_LEN;
    let mut boundaries = vec![at];
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        at += FRAME_HEADER_LEN + usize::try_from(length).unwrap();
        boundaries.push(at);
    }
    boundaries
}

#[test]
fn a_cut_anywhere_loses_nothing_before_it_and_is_said() {
    let (story, bytes) = small();
    let boundaries = boundaries(&bytes);
    for cut in 1..bytes.len() {
        let (replayed, ending) = replay(&bytes[..cut]);
        let whole = boundaries.iter().rposition(|at| *at <= cut);
        let frames = whole.unwrap_or(0).min(story.len());
        assert_eq!(replayed, story[..frames], "cut at {cut}");
        let whole_until = whole.map_or(0, |frame| boundaries[frame]) as u64;
        assert_eq!(ending.unwrap(), Ending::Cut { whole_until }, "cut at {cut}");
    }
    assert!(matches!(replay(&[]).1, Err(Error::NotARecording)));
}

#[test]
fn every_changed_byte_is_found_in_its_place() {
    let (story, bytes) = small();
    let boundaries = boundaries(&bytes);
    for at in 0..bytes.len() {
        for bit in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            let (replayed, ending) = replay(&changed);
            let frame = boundaries.iter().rposition(|begin| *begin <= at);
            assert_eq!(
                replayed,
                story[..frame.unwrap_or(0).min(story.len())],
                "byte {at}"
            );
            match ending {
                Err(Error::NotARecording) => assert!(at < 8, "byte {at}"),
                Err(Error::Damaged { place, .. }) => {
                    let at = at as u64;
                    assert!(
                        place.from <= at && at < place.to,
                        "byte {at} is said to be in {place}"
                    );
                    let length = place.to - place.from;
                    assert!(length < 60, "byte {at} is said to be in {place}");
                }
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn bytes_after_the_end_are_found() {
    let (story, bytes) = small();
    let longer = [bytes.as_slice(), &[0]].concat();
    let (replayed, ending) = replay(&longer);
    assert_eq!(replayed, story);
    assert!(matches!(ending, Err(Error::Damaged { .. })), "{ending:?}");
    let twice = [bytes.as_slice(), bytes.as_slice()].concat();
    assert!(matches!(replay(&twice).1, Err(Error::Damaged { .. })));
}

#[test]
fn another_version_is_refused_by_its_number() {
    let mut header = file_header(Default::default());
    header[8..10].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let crc = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    let error = Reader::open(&header[..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this recording is of version 3 of the format, and this ldrscope reads up to version 2"
    );
}

#[test]
fn what_is_no_recording_is_refused() {
    for bytes in [&b"{\"schema\":\"ldrscope.event.v1\"}\n"[..], b"\x7fELF", b"\n"] {
        assert!(matches!(replay(bytes).1, Err(Error::NotARecording)));
    }
}

/// Headers that say whatever lengths, with checksums that are right.
#[test]
fn no_length_makes_room_for_more_than_a_frame() {
    for (payload, content) in [
        (u32::MAX, 1),
        (1, u32::MAX),
        (u32::MAX, u32::MAX),
        (1 << 24, 1 << 20),
    ] {
        let mut bytes = file_header(Default::default()).to_vec();
        let mut header = [0; FRAME_HEADER_LEN];
        header[0..4].copy_from_slice(&payload.to_le_bytes());
        header[4..8].copy_from_slice(&content.to_le_bytes());
        let crc = crc32fast::hash(&header[..20]);
        header[20..].copy_from_slice(&crc.to_le_bytes());
        bytes.extend(header);
        assert!(
            matches!(replay(&bytes).1, Err(Error::Damaged { .. })),
            "{payload} {content}"
        );
    }
}

proptest! {
    #![proptest_config(strategy::config())]

    /// Content with right checksums, and nothing else right.
    #[test]
    fn no_content_does_harm(content in vec(any::<u8>(), 1..300), base in any::<u64>()) {
        let mut bytes = file_header(Default::default()).to_vec();
        let payload = lz4_flex::block::compress(&content);
        let mut header = [0; FRAME_HEADER_LEN];
        header[0..4].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        header[4..8].copy_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
        header[8..16].copy_from_slice(&base.to_le_bytes());
        header[16..20].copy_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        let crc = crc32fast::hash(&header[..20]);
        header[20..].copy_from_slice(&crc.to_le_bytes());
        bytes.extend(header);
        bytes.extend(payload);
        let (_, ending) = replay(&bytes);
        let acceptable = matches!(ending, Ok(_) | Err(Error::Damaged { .. }));
        prop_assert!(acceptable);
    }

    #[test]
    fn a_changed_byte_of_any_recording_is_found(
        story in strategy::any_story(),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut bytes = record(&story, 3);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let (replayed, ending) = replay(&bytes);
        prop_assert!(ending.is_err());
        prop_assert_eq!(&replayed[..], &story[..replayed.len()]);
    }
}
