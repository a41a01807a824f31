//! The child's end of its frame socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg,
};
use warren_rhost::frame::{self, HEADER_BYTES};
use warren_rhost::session::{Ending, ToChild};

/// The header can say no more. The worker, which the child trusts, sets the limits that matter.
const MAX_FRAME_BYTES: usize = u32::MAX as usize;

/// What one read takes: most requests as a whole.
const READ_BYTES: usize = 4096;

/// The frame socket.
pub(crate) struct Frames {
    socket: OwnedFd,
    /// What was read and is no part of a request yet.
    held: Vec<u8>,
    buffer: Box<[u8; READ_BYTES]>,
}

/// A request, and the end of a pipe that came with it.
pub(crate) struct Request {
    pub(crate) message: ToChild,
    pub(crate) pipe: Option<OwnedFd>,
}

impl Frames {
    /// Takes over the socket.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            held: Vec::with_capacity(READ_BYTES),
            buffer: Box::new([0; READ_BYTES]),
        }
    }

    /// The socket itself, to see its end.
    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Waits for the next request. None when the worker closed the socket or does not speak as agreed.
    pub(crate) fn receive(&mut self) -> Option<Request> {
        let mut pipe = None;
        while self.held.len() < HEADER_BYTES {
            self.hear(&mut pipe)?;
        }
        let header = *self.held.first_chunk()?;
        let mut payload = vec![0; frame::payload_bytes(header, MAX_FRAME_BYTES).ok()?];
        let here = (self.held.len() - HEADER_BYTES).min(payload.len());
        payload[..here].copy_from_slice(&self.held[HEADER_BYTES..HEADER_BYTES + here]);
        self.held.drain(..HEADER_BYTES + here);
        fill(&self.socket, &mut payload[here..])?;
        let message = serde_json::from_slice(&payload).ok()?;
        Some(Request { message, pipe })
    }

    /// Reads what is there, and takes a descriptor that comes with it: it travels on the first byte of a header. None at the end
    /// of the socket.
    fn hear(&mut self, pipe: &mut Option<OwnedFd>) -> Option<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer[..])];
            match recvmsg(
                &self.socket,
                &mut parts,
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Ok(received) if received.bytes == 0 => return None,
                Ok(received) => break received.bytes,
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        };
        self.held.extend_from_slice(&self.buffer[..received]);
        let came = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        *pipe = came.or(pipe.take());
        Some(())
    }

    /// Sends one frame whose payload comes in parts.
    pub(crate) fn send(&self, payload: &[&[u8]]) -> io::Result<()> {
        send(&self.socket, payload)
    }
}

fn fill(socket: &OwnedFd, mut buffer: &mut [u8]) -> Option<()> {
    while !buffer.is_empty() {
        match rustix::io::read(socket, &mut *buffer) {
            Ok(0) => return None,
            Ok(count) => buffer = &mut buffer[count..],
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// The parts are not copied together: one may be as large as memory allows.
fn send(socket: impl AsFd, payload: &[&[u8]]) -> io::Result<()> {
    let bytes = payload.iter().map(|part| part.len()).sum();
    let header = frame::header_of_length(bytes, MAX_FRAME_BYTES).map_err(io::Error::other)?;
    let mut parts = vec![IoSlice::new(&header)];
    parts.extend(payload.iter().map(|part| IoSlice::new(part)));
    let mut rest = parts.as_mut_slice();
    // One call for what fits the socket's buffer: a small answer wakes the worker once.
    while !rest.is_empty() {
        let mut nothing = SendAncillaryBuffer::default();
        match rustix::net::sendmsg(&socket, rest, &mut nothing, SendFlags::NOSIGNAL) {
            Ok(count) => IoSlice::advance_slices(&mut rest, count),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A [`warren_rhost::session::Done`] written piece by piece, so that large values are written once and not read again.
pub(crate) struct Reply {
    run: u64,
    outputs: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(run: u64) -> Self {
        Self {
            run,
            outputs: Vec::new(),
        }
    }

    /// Where the next output's JSON goes.
    pub(crate) fn next_output(&mut self) -> &mut Vec<u8> {
        if !self.outputs.is_empty() {
            self.outputs.push(b',');
        }
        &mut self.outputs
    }

    /// The whole payload, in parts. Outputs are only told when every one of them could be read.
    pub(crate) fn into_parts(mut self, ending: &Ending, changed_files: &[String]) -> [Vec<u8>; 3] {
        if *ending != Ending::Succeeded {
            self.outputs = Vec::new();
        }
        let ending = serde_json::to_string(ending).unwrap_or_default();
        let changed = serde_json::to_string(changed_files).unwrap_or_default();
        let head = format!(
            r#"{{"kind":"done","run":{},"ending":{ending},"changed_files":{changed},"outputs":["#,
            self.run
        );
        [head.into_bytes(), self.outputs, b"]}".to_vec()]
    }
}

#[cfg(test)]
mod tests {
    use warren_rhost::session::FromChild;

    use super::*;

    #[test]
    fn a_reply_reads_as_the_message_it_is() {
        let mut reply = Reply::new(7);
        reply.next_output().extend_from_slice(b"[1]");
        reply.next_output().extend_from_slice(b"null");
        let frame = reply
            .into_parts(&Ending::Succeeded, &["a \"b\"".to_owned()])
            .concat();
        let FromChild::Done(done) = serde_json::from_slice(&frame).unwrap() else {
            panic!("not a done frame");
        };
        assert_eq!(done.run, 7);
        assert_eq!(done.ending, Ending::Succeeded);
        assert_eq!(
            done.outputs
                .iter()
                .map(|value| value.get())
                .collect::<Vec<_>>(),
            ["[1]", "null"]
        );
        assert_eq!(done.changed_files, ["a \"b\""]);
    }

    #[test]
    fn a_failed_run_tells_no_outputs() {
        let mut reply = Reply::new(1);
        reply.next_output().extend_from_slice(b"[1,");
        let frame = reply.into_parts(&Ending::Interrupted, &[]).concat();
        let FromChild::Done(done) = serde_json::from_slice(&frame).unwrap() else {
            panic!("not a done frame");
        };
        assert!(done.outputs.is_empty());
    }
}
