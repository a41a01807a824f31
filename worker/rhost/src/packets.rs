//! A parent's end of its control socket, and that of a service's parent: one JSON message per packet, descriptors attached.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use warren_rhost::control::{MAX_PACKET_BYTES, ToParent};
use warren_rhost::service::ToService;

/// Sends one message with up to three descriptors.
pub(crate) fn send(
    control: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let packet = serde_json::to_vec(message)?;
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let sent = rustix::net::sendmsg(
            &control,
            &[IoSlice::new(&packet)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        );
        match sent {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Room for the longest packet. Made once, before the holes of the heap are filled: made for each packet, it would leave a new hole
/// behind, and what children allocate would lie here and there again.
pub(crate) struct Room(Vec<u8>);

impl Room {
    /// Not filled with zeros: after a fork each page of it that is written to is copied.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(MAX_PACKET_BYTES))
    }
}

/// Reads one message. None at the end of the socket, or when the worker does not speak as agreed.
pub(crate) fn receive(control: impl AsFd, Room(packet): &mut Room) -> Option<ToParent> {
    packet.clear();
    loop {
        match rustix::net::recv(&control, spare_capacity(packet), RecvFlags::empty()) {
            Ok((_, 0)) => return None,
            Ok(_) => return serde_json::from_slice(packet).ok(),
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Reads one message to a service's parent, and the ends of socket and pipe that come with it. None as with [`receive`].
pub(crate) fn receive_for_service(
    control: impl AsFd,
    buffer: &mut [u8],
) -> Option<(ToService, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let bytes = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(&control, &mut parts, &mut ancillary, flags) {
            Ok(received) => break received.bytes,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    };
    let ends = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(ends) => Some(ends),
            _ => None,
        })
        .flatten()
        .collect();
    let message = serde_json::from_slice(&buffer[..bytes]).ok()?;
    Some((message, ends))
}
