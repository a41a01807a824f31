//! One child: its frames, its console pipe, and how to interrupt and kill it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, kill_process_group, pidfd_send_signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use warren_rhost::control::Exit;
use warren_rhost::frame;
use warren_rhost::session::{FromChild, ToChild};

use super::parent::{HostError, Order};
use super::service::Call;
use crate::tree::WORK;

/// The longest frame to a child, in bytes.
const MAX_FRAME_BYTES: usize = 512 * 1024 * 1024;
/// The longest frame from a child that has not been asked anything, in bytes.
const FIRST_FRAME_BYTES: usize = 64 * 1024;
/// What an answer may hold beside its outputs, in bytes: the names of changed files, an error's text, and how JSON writes them.
const BESIDE_OUTPUTS: usize = 32 * 1024 * 1024;

/// How a child ended, as far as the worker can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildExit {
    /// As its parent saw it.
    Reaped(Exit),
    /// Its parent went away, and it with it.
    ParentLost,
}

impl std::fmt::Display for ChildExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reaped(Exit::Status { code }) => {
                write!(f, "the R process ended by itself with status {code}")
            }
            Self::Reaped(Exit::Signal {
                out_of_memory: true,
                ..
            }) => f.write_str("the R process ran out of memory and was killed by the kernel"),
            Self::Reaped(Exit::Signal {
                stack_overflow: true,
                ..
            }) => f.write_str(
                "the R process crashed: C code used up the stack, by endless recursion for example (signal 11)",
            ),
            Self::Reaped(Exit::Signal { signal, .. }) => match signal {
                4 => f.write_str("the R process crashed: illegal instruction (signal 4)"),
                6 => f.write_str("the R process crashed: it aborted itself (signal 6)"),
                7 => f.write_str("the R process crashed: bus error (signal 7)"),
                8 => f.write_str("the R process crashed: arithmetic fault (signal 8)"),
                11 => f.write_str("the R process crashed: segmentation fault (signal 11)"),
                other => write!(f, "the R process was killed by signal {other}"),
            },
            Self::ParentLost => f.write_str("the R host that its process belonged to was lost"),
        }
    }
}

/// A frame could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The socket broke: the process is gone or going.
    #[error("the R process does not answer")]
    Gone(#[source] io::Error),
    /// It sent what the R host never sends.
    #[error("the R process sent bytes that are no frame")]
    Nonsense(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An R process that belongs to nobody, to one session, or to one call of a service.
pub struct Child {
    /// Process id, for people.
    pub pid: i32,
    /// Frames to the child.
    pub writer: FrameWriter,
    /// Frames from the child.
    pub reader: FrameReader,
    /// Everything it prints.
    pub console: pipe::Receiver,
    /// How it ended, once it has.
    pub exit: watch::Receiver<Option<ChildExit>>,
    pub(super) dir: PathBuf,
    pub(super) hold: Hold,
}

/// What is known of a new child.
pub(super) struct Birth {
    pub(super) pid: i32,
    pub(super) dir: PathBuf,
    pub(super) frames: OwnedFd,
    pub(super) console: OwnedFd,
    pub(super) exit: watch::Receiver<Option<ChildExit>>,
    pub(super) hold: Hold,
}

/// How a child is interrupted and killed.
pub(super) enum Hold {
    /// By the R host's word: what it says is believed.
    Grip(Arc<Grip>),
    /// By way of its service's parent, which runs a publisher's code: the worker signals no process that it names.
    Call(Call),
}

/// What ends a process that the R host forked.
pub(super) struct Grip {
    pub(super) number: u64,
    pub(super) pidfd: OwnedFd,
    pub(super) orders: mpsc::UnboundedSender<Order>,
}

impl Grip {
    /// Kills the process with everything that descends from it.
    pub(super) fn kill(&self) {
        let child = self.number;
        if self.orders.send(Order::Kill { child }).is_err() {
            self.kill_process();
        }
    }

    /// Kills the process alone.
    pub(super) fn kill_process(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

impl Child {
    pub(super) fn adopt(birth: Birth) -> io::Result<Self> {
        let frames = std::os::unix::net::UnixStream::from(birth.frames);
        frames.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(frames)?.into_split();
        rustix::io::ioctl_fionbio(&birth.console, true)?;
        Ok(Self {
            pid: birth.pid,
            writer: FrameWriter { half: Some(writer) },
            reader: FrameReader {
                half: reader,
                buffer: Vec::new(),
                limit: FIRST_FRAME_BYTES,
            },
            console: pipe::Receiver::from_owned_fd(birth.console)?,
            exit: birth.exit,
            dir: birth.dir,
            hold: birth.hold,
        })
    }

    /// The directory that is the child's own. That of a call is in the hands of its service, which may put links in its place: see
    /// [`Child::work`].
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its working directory: a directory whose own name is no trap, and the way from there, on which every name may be one.
    pub fn work(&self) -> (PathBuf, PathBuf) {
        let of_call = match &self.hold {
            Hold::Grip(_) => None,
            Hold::Call(_) => self.dir.parent().and_then(Path::parent),
        };
        let base = of_call.unwrap_or(&self.dir);
        let way = self.dir.strip_prefix(base).unwrap_or(&self.dir);
        (base.to_owned(), way.join(WORK))
    }

    /// Waits until it takes code.
    pub(super) async fn until_ready(mut self) -> Result<Self, HostError> {
        match self.reader.next().await {
            Ok(FromChild::Ready) => Ok(self),
            Ok(FromChild::Done(_)) => Err(HostError::Fork(
                "it answered before it was asked".to_owned(),
            )),
            Err(error) => Err(HostError::Fork(match self.last_words() {
                Some(words) => words,
                None => warren_common::telemetry::chain(&error),
            })),
        }
    }

    /// What a child that could not be set up said of it.
    fn last_words(&self) -> Option<String> {
        let mut bytes = [0; 4096];
        let read = self.console.try_read(&mut bytes).ok()?;
        let words = String::from_utf8_lossy(&bytes[..read]).trim().to_owned();
        (!words.is_empty()).then_some(words)
    }

    /// Asks R to unwind, and with it what R waits for: inside `system()` R itself does not listen.
    pub fn interrupt(&self) {
        if self.is_gone() {
            return;
        }
        match &self.hold {
            Hold::Grip(_) => {
                // The child leads its process group. It may be gone this very moment; its exit tells.
                if let Some(group) = Pid::from_raw(self.pid) {
                    let _ = kill_process_group(group, Signal::INT);
                }
            }
            Hold::Call(call) => call.interrupt(),
        }
    }

    /// Kills the process with everything that descends from it.
    pub fn kill(&self) {
        match &self.hold {
            Hold::Grip(grip) => grip.kill(),
            Hold::Call(call) => call.kill(),
        }
    }

    /// Kills the process alone: for when its parent does not do it in time. Of a call, kills that parent, and all its calls.
    pub fn kill_process(&self) {
        match &self.hold {
            Hold::Grip(grip) => grip.kill_process(),
            Hold::Call(call) => call.kill_service(),
        }
    }

    /// True once its end is known.
    pub fn is_gone(&self) -> bool {
        self.exit.borrow().is_some() || self.exit.has_changed().is_err()
    }

    /// Waits until its end is known.
    pub async fn gone(&mut self) -> ChildExit {
        match self.exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or(ChildExit::ParentLost),
            Err(_parent_task_is_gone) => ChildExit::ParentLost,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_gone() {
            self.kill();
        }
    }
}

/// Frames to a child.
pub struct FrameWriter {
    /// Absent while [`Sending`] has it.
    half: Option<OwnedWriteHalf>,
}

/// The rest of a frame that did not fit into the socket at once. Gives the socket back.
pub type Sending = BoxFuture<'static, io::Result<OwnedWriteHalf>>;

impl FrameWriter {
    /// Begins to send a frame, and with it the end of a pipe. What the socket does not take at once is left to the caller, who
    /// has other things to hear while a child that was stopped reads nothing.
    pub fn begin(
        &mut self,
        message: &ToChild,
        pipe: Option<OwnedFd>,
    ) -> Result<Option<Sending>, ChildError> {
        let payload =
            serde_json::to_vec(message).map_err(|error| ChildError::Nonsense(error.into()))?;
        let header = frame::header(&payload, MAX_FRAME_BYTES)
            .map_err(|error| ChildError::Nonsense(error.into()))?;
        let mut bytes = Vec::with_capacity(header.len() + payload.len());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&payload);
        let Some(mut half) = self.half.take() else {
            return Err(ChildError::Gone(io::ErrorKind::NotConnected.into()));
        };
        let sent = match pipe {
            // The pipe goes with the first byte. A child that takes not even that, though it has nothing else to do, is gone.
            Some(pipe) => send_with(half.as_ref(), &bytes, &pipe).map_err(ChildError::Gone)?,
            None => match half.try_write(&bytes) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(ChildError::Gone(error)),
            },
        };
        if sent == bytes.len() {
            self.half = Some(half);
            return Ok(None);
        }
        Ok(Some(Box::pin(async move {
            half.write_all(&bytes[sent..]).await?;
            Ok(half)
        })))
    }

    /// The frame is sent.
    pub fn put_back(&mut self, half: OwnedWriteHalf) {
        self.half = Some(half);
    }
}

/// Sends what the socket takes, and a descriptor.
fn send_with(socket: &UnixStream, bytes: &[u8], descriptor: &OwnedFd) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let parts = [IoSlice::new(bytes)];
    Ok(sendmsg(
        socket,
        &parts,
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?)
}

/// Frames from a child.
pub struct FrameReader {
    half: OwnedReadHalf,
    buffer: Vec<u8>,
    /// The longest frame, in bytes: user code can write to the socket, and the worker's memory is everybody's.
    limit: usize,
}

impl FrameReader {
    /// From now on takes answers with so many bytes of outputs.
    pub fn allow(&mut self, outputs: u64) {
        self.limit = usize::try_from(outputs)
            .unwrap_or(usize::MAX)
            .saturating_add(BESIDE_OUTPUTS);
    }

    /// The next frame. Cancel safe: what has arrived is kept for the next call.
    pub async fn next(&mut self) -> Result<FromChild, ChildError> {
        loop {
            if let Some(message) = self.take_whole_frame()? {
                return Ok(message);
            }
            let read = self
                .half
                .read_buf(&mut self.buffer)
                .await
                .map_err(ChildError::Gone)?;
            if read == 0 {
                return Err(ChildError::Gone(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn take_whole_frame(&mut self) -> Result<Option<FromChild>, ChildError> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<{ frame::HEADER_BYTES }>()
        else {
            return Ok(None);
        };
        let length = frame::payload_bytes(*header, self.limit)
            .map_err(|error| ChildError::Nonsense(error.into()))?;
        if rest.len() < length {
            return Ok(None);
        }
        let message = serde_json::from_slice(&rest[..length])
            .map_err(|error| ChildError::Nonsense(error.into()))?;
        self.buffer.drain(..frame::HEADER_BYTES + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_by_a_signal_is_told_with_what_is_known_of_it() {
        let told = |signal, out_of_memory, stack_overflow| {
            ChildExit::Reaped(Exit::Signal {
                signal,
                out_of_memory,
                stack_overflow,
            })
            .to_string()
        };
        assert!(told(11, false, false).ends_with("segmentation fault (signal 11)"));
        assert!(told(11, false, true).contains("used up the stack"));
        assert!(told(9, true, false).contains("ran out of memory"));
        assert!(told(9, false, false).ends_with("killed by signal 9"));
    }

    #[tokio::test]
    async fn a_frame_is_no_longer_than_what_was_asked_for() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (half, _writer) = ours.into_split();
        let mut reader = FrameReader {
            half,
            buffer: Vec::new(),
            limit: FIRST_FRAME_BYTES,
        };
        let header = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
        theirs
            .write_all(&header(FIRST_FRAME_BYTES + 1))
            .await
            .unwrap();
        assert!(matches!(reader.next().await, Err(ChildError::Nonsense(_))));
        reader.buffer.clear();
        reader.allow(1000);
        theirs
            .write_all(&header(BESIDE_OUTPUTS + 1001))
            .await
            .unwrap();
        assert!(matches!(reader.next().await, Err(ChildError::Nonsense(_))));
    }
}
