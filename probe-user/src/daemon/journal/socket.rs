//! The way to journald: a datagram, or a sealed file in memory where the entry is too large for one.

use std::{
    fs::File,
    io::{self, IoSlice, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr},
};

/// Sends to journald without ever waiting for it.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UnixDatagram,
    /// Looked up anew for each entry, so that a journald that comes back is found.
    path: PathBuf,
}

impl Socket {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
        })
    }

    /// Sends one entry; on an error journald has nothing of it.
    pub(super) fn send(&self, entry: &[u8]) -> io::Result<()> {
        match self.socket.send_to(entry, &self.path) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => self.send_sealed(entry),
            Err(error) => Err(error),
        }
    }

    fn send_sealed(&self, entry: &[u8]) -> io::Result<()> {
        let memory = sealed(entry)?;
        let address = SocketAddrUnix::new(&self.path)?;
        let descriptors = [memory.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg_addr(&self.socket, &address, &[IoSlice::new(&[])], &mut control, flags)?;
        Ok(())
    }

    /// A small buffer makes entries too large for a datagram.
    #[cfg(test)]
    pub(super) fn shrink(&self) {
        rustix::net::sockopt::set_socket_send_buffer_size(&self.socket, 1).unwrap();
    }
}

/// journald reads a file only if nobody can change it any more.
fn sealed(entry: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    // Kernels before 6.3 do not know the flag, and later ones may insist on it.
    let memory = match memfd_create("ldrscope-journal", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("ldrscope-journal", flags)?,
        created => created?,
    };
    let mut file = File::from(memory);
    file.write_all(entry)?;
    fcntl_add_seals(
        &file,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
    )?;
    Ok(file.into())
}
