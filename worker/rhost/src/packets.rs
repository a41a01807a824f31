//! The parent's end of the control socket: one JSON message per packet, descriptors attached.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use warren_rhost::control::{FromParent, MAX_PACKET_BYTES, ToParent};

/// Sends one message with up to three descriptors.
pub(crate) fn send(
    control: impl AsFd,
    message: &FromParent,
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

/// Reads one message. None at the end of the socket, or when the worker does not speak as agreed.
pub(crate) fn receive(control: impl AsFd) -> Option<ToParent> {
    // Not filled with zeros: after a fork each page of it that is written to would be copied.
    let mut packet = Vec::with_capacity(MAX_PACKET_BYTES);
    loop {
        match rustix::net::recv(&control, spare_capacity(&mut packet), RecvFlags::empty()) {
            Ok((_, 0)) => return None,
            Ok(_) => return serde_json::from_slice(&packet).ok(),
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}
