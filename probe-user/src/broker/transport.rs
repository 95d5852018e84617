//! One message at a time over a socket that keeps their bounds, JSON with descriptors beside it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};

/// The longest message in bytes: the verifier's answer to a program it refuses is the longest part of any.
pub(super) const LONGEST: usize = 64 * 1024;

/// Descriptors beside one message (`SCM_MAX_FD` is 253).
const MOST_DESCRIPTORS: usize = 64;

const ANCILLARY: usize = rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS));

pub(super) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); ANCILLARY];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// The next message; `None` where the other side has ended.
pub(super) fn receive<M: DeserializeOwned>(
    socket: impl AsFd,
    flags: RecvFlags,
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); ANCILLARY];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        flags | RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            descriptors.extend(sent);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&bytes[..received.bytes])?;
    Ok(Some((message, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _};

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn descriptors_arrive_with_their_message_and_an_end_is_told() {
        let pair = || {
            socketpair(
                AddressFamily::UNIX,
                SocketType::SEQPACKET,
                SocketFlags::CLOEXEC,
                None,
            )
        };
        let (one, other) = pair().unwrap();
        let zero = File::open("/dev/zero").unwrap();
        send(&one, &"first", &[zero.as_fd()]).unwrap();
        send(&one, &"second", &[]).unwrap();
        let next = || receive::<String>(&other, RecvFlags::empty()).unwrap();
        let (message, descriptors) = next().unwrap();
        assert_eq!(message, "first");
        let mut byte = [1];
        File::from(descriptors.into_iter().next().unwrap())
            .read_exact(&mut byte)
            .unwrap();
        assert_eq!(byte, [0]);
        assert_eq!(next().unwrap().0, "second");
        drop(one);
        assert!(receive::<String>(&other, RecvFlags::empty()).unwrap().is_none());
    }
}
