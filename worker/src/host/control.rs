//! Packets on the control socket of a parent or of a service's parent, with the descriptors that travel with them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;
use warren_rhost::control::MAX_PACKET_BYTES;

/// The descriptors that one packet carries at most.
const MAX_FDS: usize = 3;

/// The worker's end.
pub(super) struct Control {
    /// Only its readiness is tokio's: every packet goes through `sendmsg` and `recvmsg`.
    socket: UnixStream,
}

/// A packet and what came with it.
pub(super) struct Packet<M> {
    pub(super) message: M,
    pub(super) fds: Vec<OwnedFd>,
}

impl Control {
    /// A pair: ours, and the parent's end for its standard input.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self::adopt(ours)?, theirs))
    }

    /// The worker's end of a pair that a parent made.
    pub(super) fn adopt(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let socket = UnixStream::from_std(socket.into())?;
        Ok(Self { socket })
    }

    /// Sends one packet.
    pub(super) async fn send(&self, message: &impl Serialize) -> io::Result<()> {
        self.send_with(message, &[]).await
    }

    /// Sends one packet and descriptors. Cancel safe: it is sent as a whole or not at all.
    pub(super) async fn send_with(
        &self,
        message: &impl Serialize,
        fds: &[OwnedFd],
    ) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        self.socket
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                if !fds.is_empty() {
                    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
                }
                let parts = [IoSlice::new(&bytes)];
                Ok(sendmsg(&self.socket, &parts, &mut ancillary, SendFlags::NOSIGNAL).map(drop)?)
            })
            .await
    }

    /// The next packet; `None` when the parent is gone.
    pub(super) async fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<Packet<M>>> {
        self.socket
            .async_io(Interest::READABLE, || receive_now(&self.socket))
            .await
    }
}

fn receive_now<M: DeserializeOwned>(socket: &UnixStream) -> io::Result<Option<Packet<M>>> {
    let mut bytes = vec![0; MAX_PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a packet is longer than either side sends",
        ));
    }
    let message = serde_json::from_slice(&bytes[..received.bytes])?;
    Ok(Some(Packet { message, fds }))
}
