//! Drives the R host over its sockets as the worker does, from one thread and without a runtime: what is measured is the
//! host and not who asks it.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Pid, PidfdFlags};
use serde_json::value::RawValue;
use warren_rhost::control::{FromParent, MAX_PACKET_BYTES, ToParent};
use warren_rhost::frame;
use warren_rhost::session::{Done, Ending, FromChild, Input, Output, Run, ToChild};

use crate::process::program;

/// No wait is longer.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest frame, as the worker has it.
const MAX_FRAME: usize = 512 << 20;
/// What one read takes from the console, as the worker has it.
const READ_BYTES: usize = 64 << 10;

/// What children of a parent are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Forks {
    /// Sessions as the worker has them, in their sandbox.
    Sessions,
    /// The fork, a word and the end: the least that there can be.
    Bare,
}

/// The process in which R was started, from which parents are forked. It ends when this is dropped.
struct Origin {
    process: std::process::Child,
    control: OwnedFd,
}

/// A parent. It ends when this is dropped, and so do its children.
pub(super) struct Parent {
    /// Shared with its twins; ends after the last of them.
    origin: Arc<Origin>,
    pid: i32,
    control: OwnedFd,
    forks: Forks,
    /// Holds the directories of children.
    dir: PathBuf,
    next_child: u64,
    /// Directories of children whose end was not told yet.
    living: HashMap<u64, PathBuf>,
}

/// What a parent tells.
pub(super) enum Told {
    /// A session's process exists.
    Forked(Session),
    /// A bare child was there.
    Bare,
    /// A child ended, and its directory is gone.
    Exited(u64),
}

impl Parent {
    /// Starts R and as many parents as asked, as the worker does, and waits until all of them serve. The calling thread must
    /// outlive them.
    pub(super) fn start(count: usize, forks: Forks, dir: &Path) -> io::Result<Vec<Self>> {
        let origin = Arc::new(Origin::start(forks)?);
        (0..count)
            .map(|place| {
                let dir = dir.join(place.to_string());
                fs::create_dir(&dir)?;
                let (control, pid) = origin.twin(place as u64)?;
                Ok(Self {
                    origin: Arc::clone(&origin),
                    pid,
                    control,
                    forks,
                    dir,
                    next_child: 0,
                    living: HashMap::new(),
                })
            })
            .collect()
    }

    /// Process ids: of all parents, and of the one that they were forked from.
    pub(super) fn pids(parents: &[Self]) -> Vec<u32> {
        let origin = parents.first().map(|parent| parent.origin.process.id());
        let own = parents.iter().map(|parent| parent.pid.unsigned_abs());
        own.chain(origin).collect()
    }

    /// Its control socket, to be waited for.
    pub(super) fn readable(&self) -> PollFd<'_> {
        PollFd::new(&self.control, PollFlags::IN)
    }

    /// Asks for a child, with a directory when it is a session's: one for now, or `ahead` of demand. Does not wait for it.
    pub(super) fn ask(&mut self, ahead: bool) -> io::Result<u64> {
        let child = self.next_child;
        self.next_child += 1;
        let dir = self.dir.join(child.to_string());
        if self.forks == Forks::Sessions {
            DirBuilder::new().mode(0o700).create(&dir)?;
            self.living.insert(child, dir.clone());
        }
        send(
            &self.control,
            &ToParent::Fork {
                child,
                dir,
                ahead,
                service: false,
            },
        )?;
        Ok(child)
    }

    /// The next thing that the parent tells. Removes the directory of a child that has ended, as the worker does.
    pub(super) fn hear(&mut self) -> io::Result<Told> {
        let (message, descriptors) = self.receive()?;
        match (message, <[OwnedFd; 3]>::try_from(descriptors)) {
            (FromParent::Forked { child, pid }, Ok([frames, console, _pidfd])) => {
                rustix::io::ioctl_fionbio(&console, true)?;
                Ok(Told::Forked(Session {
                    child,
                    pid,
                    frames: UnixStream::from(frames),
                    console,
                    runs: 0,
                    printed: 0,
                    buffer: vec![0; READ_BYTES],
                }))
            }
            (FromParent::Forked { .. }, Err(none)) if none.is_empty() => Ok(Told::Bare),
            (FromParent::Exited { child, .. }, _) => {
                if let Some(dir) = self.living.remove(&child) {
                    fs::remove_dir_all(dir)?;
                }
                Ok(Told::Exited(child))
            }
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Forks a session on demand and waits until it takes code.
    pub(super) fn fork(&mut self) -> io::Result<Session> {
        self.ask(false)?;
        self.forked()
    }

    /// Forks a session as the worker does for its pool.
    pub(super) fn fork_ahead(&mut self) -> io::Result<Session> {
        self.ask(true)?;
        self.forked()
    }

    fn forked(&mut self) -> io::Result<Session> {
        loop {
            if let Told::Forked(mut session) = self.hear()? {
                session.ready()?;
                return Ok(session);
            }
        }
    }

    /// Ends a session and waits until nothing of it is left.
    pub(super) fn end(&mut self, session: Session) -> io::Result<()> {
        let child = session.child;
        drop(session);
        while !matches!(self.hear()?, Told::Exited(ended) if ended == child) {}
        Ok(())
    }

    fn receive(&mut self) -> io::Result<(FromParent, Vec<OwnedFd>)> {
        receive(&self.control)
    }
}

impl Origin {
    fn start(forks: Forks) -> io::Result<Self> {
        let (control, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let mut command = Command::new(program("warren-rhost"));
        command
            .args(["--worker-pid", &std::process::id().to_string()])
            // Nobody ticks here: the end of the socket ends the parent.
            .args(["--tick-limit-ms", "600000"])
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null());
        match forks {
            Forks::Sessions => command.args(["--sandbox", "on"]),
            Forks::Bare => command.args(["--sandbox", "off", "--bare-forks", "on"]),
        };
        let process = command.spawn()?;
        introduced(&control)?;
        Ok(Self { process, control })
    }

    /// Forks a parent: its control socket and its process id.
    fn twin(&self, child: u64) -> io::Result<(OwnedFd, i32)> {
        send(&self.control, &ToParent::Twin { child })?;
        let (message, descriptors) = receive(&self.control)?;
        match (message, <[OwnedFd; 1]>::try_from(descriptors)) {
            (FromParent::Forked { pid, .. }, Ok([control])) => {
                introduced(&control)?;
                Ok((control, pid))
            }
            (other, _) => Err(unexpected(&other)),
        }
    }
}

/// Waits until a new parent serves.
fn introduced(control: &OwnedFd) -> io::Result<()> {
    match receive(control)?.0 {
        FromParent::Ready(_) => Ok(()),
        FromParent::Refused { message } => Err(io::Error::other(message)),
        other => Err(unexpected(&other)),
    }
}

fn send(control: &OwnedFd, message: &ToParent) -> io::Result<()> {
    let packet = serde_json::to_vec(message)?;
    rustix::net::sendmsg(
        control,
        &[IoSlice::new(&packet)],
        &mut SendAncillaryBuffer::default(),
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

fn receive(control: &OwnedFd) -> io::Result<(FromParent, Vec<OwnedFd>)> {
    wait(&mut [PollFd::new(control, PollFlags::IN)])?;
    let mut packet = vec![0; MAX_PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        control,
        &mut [IoSliceMut::new(&mut packet)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptors = ancillary
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    let packet = packet
        .get(..received.bytes)
        .filter(|packet| !packet.is_empty());
    let message = serde_json::from_slice(packet.ok_or(io::ErrorKind::UnexpectedEof)?)?;
    Ok((message, descriptors))
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.control, rustix::net::Shutdown::Both);
        let _ = self.process.wait();
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        // The end of its control socket tells it to end its children; they are waited for, so that they are in nobody's way.
        let process = Pid::from_raw(self.pid)
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        let _ = rustix::net::shutdown(&self.control, rustix::net::Shutdown::Both);
        if let Some(process) = process {
            let _ = wait(&mut [PollFd::new(&process, PollFlags::IN)]);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A child and the worker's ends of its channels. It ends when this is dropped.
pub(super) struct Session {
    pub(super) child: u64,
    pub(super) pid: i32,
    frames: UnixStream,
    console: OwnedFd,
    runs: u64,
    /// Bytes of console text so far.
    pub(super) printed: u64,
    buffer: Vec<u8>,
}

/// What a run gets and gives.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
}

impl Session {
    /// Waits for its first frame.
    pub(super) fn ready(&mut self) -> io::Result<()> {
        match self.next_frame()? {
            FromChild::Ready => Ok(()),
            FromChild::Done(_) => Err(io::Error::other("a child answered before it was asked")),
        }
    }

    /// Runs code that must succeed, and reads the console as it comes.
    pub(super) fn run(&mut self, code: &str, values: Values) -> io::Result<Vec<Box<RawValue>>> {
        self.send(code, values)?;
        match self.next_frame()? {
            FromChild::Done(done) => outputs_of(done),
            FromChild::Ready => Err(io::Error::other("a child introduced itself twice")),
        }
    }

    /// Sends code without waiting for its end.
    pub(super) fn send(&mut self, code: &str, values: Values) -> io::Result<()> {
        self.runs += 1;
        let payload = serde_json::to_vec(&ToChild::Run(Run {
            run: self.runs,
            code: code.to_owned(),
            inputs: values.inputs,
            outputs: values.outputs,
            max_output_bytes: MAX_FRAME as u64,
            rehearsal: false,
        }))?;
        let mut whole = frame::header(&payload, MAX_FRAME)
            .map_err(io::Error::other)?
            .to_vec();
        whole.extend_from_slice(&payload);
        self.frames.write_all(&whole)
    }

    /// Its frame socket, to be waited for.
    pub(super) fn readable(&self) -> PollFd<'_> {
        PollFd::new(&self.frames, PollFlags::IN)
    }

    /// Reads a frame that has begun to come. A child sends its frames whole, so the rest is on its way.
    pub(super) fn read(&mut self) -> io::Result<FromChild> {
        let mut header = [0; frame::HEADER_BYTES];
        self.frames.read_exact(&mut header)?;
        let length = frame::payload_bytes(header, MAX_FRAME).map_err(io::Error::other)?;
        let mut payload = vec![0; length];
        self.frames.read_exact(&mut payload)?;
        Ok(serde_json::from_slice(&payload)?)
    }

    /// The next frame. The console is read meanwhile, and to its end when the frame is there.
    fn next_frame(&mut self) -> io::Result<FromChild> {
        loop {
            let mut ready = [
                PollFd::new(&self.frames, PollFlags::IN),
                PollFd::new(&self.console, PollFlags::IN),
            ];
            wait(&mut ready)?;
            let (frame, text) = (ready[0].revents(), ready[1].revents());
            if text.contains(PollFlags::IN) {
                self.drain()?;
            }
            if !frame.is_empty() {
                let message = self.read()?;
                self.drain()?;
                return Ok(message);
            }
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        loop {
            match rustix::io::read(&self.console, &mut self.buffer[..]) {
                Ok(0) | Err(Errno::WOULDBLOCK) => return Ok(()),
                Ok(count) => self.printed += count as u64,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Outputs of a run that succeeded.
pub(super) fn outputs_of(done: Done) -> io::Result<Vec<Box<RawValue>>> {
    match done.ending {
        Ending::Succeeded => Ok(done.outputs),
        other => Err(io::Error::other(format!("R code ended with {other:?}"))),
    }
}

/// Waits until one of these is ready.
pub(super) fn wait(ready: &mut [PollFd<'_>]) -> io::Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(ready, Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn unexpected(packet: &FromParent) -> io::Error {
    io::Error::other(format!("the R host said {packet:?}"))
}
