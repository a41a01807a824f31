//! The program as the worker starts it.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendFlags, SocketFlags, SocketType,
};
use rustix::process::Pid;
use tempfile::TempDir;
use warren_rhost::control::{Exit, FromParent, Hello, MAX_PACKET_BYTES, ToParent};
use warren_rhost::session::FromChild;

use super::{PATIENCE, Session, readable};

/// A parent, stopped when dropped.
pub(crate) struct Parent {
    /// None of a twin.
    process: Option<Child>,
    control: Option<OwnedFd>,
    next_child: u64,
    /// Packets that came while another was waited for.
    waiting: Vec<FromParent>,
    pub(crate) hello: Hello,
}

impl Parent {
    pub(crate) fn start() -> Self {
        Self::start_with(&[]).unwrap_or_else(|message| panic!("refused: {message}"))
    }

    /// The refusal's message when the parent does not get ready.
    pub(crate) fn start_with(extra: &[&str]) -> Result<Self, String> {
        // Nobody ticks here, and a loaded machine may take its time.
        Self::start_program(&["--tick-limit-ms", "3600000"], extra)
    }

    pub(crate) fn start_program(ticks: &[&str], extra: &[&str]) -> Result<Self, String> {
        let (control, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_warren-rhost"))
            .args(["--worker-pid", &std::process::id().to_string()])
            .args(ticks)
            .args(older_landlock())
            .args(extra)
            .env("WARREN_SECRET", "not for user code")
            .stdin(Stdio::from(theirs))
            .spawn()
            .unwrap();
        Self::meet(Some(process), control)
    }

    /// Forks a parent.
    pub(crate) fn twin(&mut self) -> Self {
        let child = self.next_child;
        self.next_child += 1;
        self.send(&ToParent::Twin { child });
        let (message, descriptors) = self.receive();
        let FromParent::Forked { child: number, pid } = message else {
            panic!("no twin: {message:?}");
        };
        let [control] = <[OwnedFd; 1]>::try_from(descriptors).unwrap();
        let twin = Self::meet(None, control).unwrap();
        assert_eq!((number, pid), (child, twin.hello.pid));
        twin
    }

    fn meet(process: Option<Child>, control: OwnedFd) -> Result<Self, String> {
        let hello = Hello {
            r_version: String::new(),
            pid: 0,
            tick_limit_ms: 0,
            protections: Vec::new(),
        };
        let mut parent = Self {
            process,
            control: Some(control),
            next_child: 1,
            waiting: Vec::new(),
            hello,
        };
        match parent.receive().0 {
            FromParent::Ready(hello) => {
                parent.hello = hello;
                Ok(parent)
            }
            FromParent::Refused { message } => Err(message),
            other => panic!("unexpected first packet: {other:?}"),
        }
    }

    pub(crate) fn send(&self, message: &ToParent) {
        let packet = serde_json::to_vec(message).unwrap();
        rustix::net::sendmsg(
            self.control.as_ref().unwrap(),
            &[IoSlice::new(&packet)],
            &mut SendAncillaryBuffer::default(),
            SendFlags::NOSIGNAL,
        )
        .unwrap();
    }

    fn receive(&mut self) -> (FromParent, Vec<OwnedFd>) {
        let control = self.control.as_ref().unwrap();
        assert!(readable(control, PATIENCE), "the parent says nothing");
        let mut packet = vec![0; MAX_PACKET_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            control,
            &mut [IoSliceMut::new(&mut packet)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
        .unwrap();
        assert!(received.bytes > 0, "the parent has gone");
        let descriptors = ancillary
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .collect();
        (
            serde_json::from_slice(&packet[..received.bytes]).unwrap(),
            descriptors,
        )
    }

    /// Forks a session and waits until it is ready.
    pub(crate) fn fork(&mut self) -> Session {
        let mut session = self.fork_unready();
        assert!(
            matches!(session.receive(), Some(FromChild::Ready)),
            "{}",
            session.console()
        );
        session
    }

    pub(crate) fn fork_unready(&mut self) -> Session {
        self.fork_in(tempfile::tempdir().unwrap())
    }

    pub(crate) fn fork_in(&mut self, dir: TempDir) -> Session {
        self.fork_for(dir, false)
    }

    /// Forks a session that may become a service's parent.
    pub(crate) fn fork_for_service(&mut self) -> Session {
        let mut session = self.fork_for(tempfile::tempdir().unwrap(), true);
        assert!(matches!(session.receive(), Some(FromChild::Ready)));
        session
    }

    fn fork_for(&mut self, dir: TempDir, service: bool) -> Session {
        let child = self.next_child;
        self.next_child += 1;
        self.send(&ToParent::Fork {
            child,
            dir: dir.path().to_owned(),
            // Both ways must come to the same.
            ahead: child % 2 == 1,
            service,
        });
        loop {
            let (message, descriptors) = self.receive();
            match message {
                FromParent::Forked { child: number, pid } if number == child => {
                    let [frames, console, pidfd] = <[OwnedFd; 3]>::try_from(descriptors).unwrap();
                    return Session {
                        child,
                        pid,
                        frames: UnixStream::from(frames),
                        pipe: console,
                        pidfd,
                        dir: dir.path().to_owned(),
                        whole: Some(dir),
                        rehearsing: false,
                        runs: 0,
                        text: Vec::new(),
                    };
                }
                other => self.waiting.push(other),
            }
        }
    }

    /// Why no child can be forked in this directory.
    pub(crate) fn fork_failure(&mut self, dir: &Path) -> String {
        self.send(&ToParent::Fork {
            child: u64::MAX,
            dir: dir.to_owned(),
            ahead: false,
            service: false,
        });
        match self.receive().0 {
            FromParent::ForkFailed { message, .. } => message,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn kill(&self, session: &Session) {
        self.send(&ToParent::Kill {
            child: session.child,
        });
    }

    /// Waits until the parent says that the child has ended.
    pub(crate) fn exit_of(&mut self, session: &Session) -> Exit {
        loop {
            let found = self.waiting.iter().position(
                |message| matches!(message, FromParent::Exited { child, .. } if *child == session.child),
            );
            if let Some(at) = found
                && let FromParent::Exited { exit, .. } = self.waiting.remove(at)
            {
                return exit;
            }
            let message = self.receive().0;
            self.waiting.push(message);
        }
    }

    /// Closes the control socket, as a dying worker does, and waits for the end.
    pub(crate) fn hang_up(&mut self) {
        let process = self.process();
        self.control = None;
        assert!(readable(&process, PATIENCE), "the parent lives on");
        if let Some(process) = &mut self.process {
            process.wait().unwrap();
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.hello.pid.unsigned_abs()
    }

    /// Readable when it has ended.
    pub(crate) fn process(&self) -> OwnedFd {
        let pid = Pid::from_raw(self.hello.pid).unwrap();
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
    }

    /// The end of a twin, as this one tells it: the first of its children to end.
    pub(crate) fn exit_of_twin(&mut self) -> Exit {
        match self.receive().0 {
            FromParent::Exited { exit, .. } => exit,
            other => panic!("not an end: {other:?}"),
        }
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.control = None;
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// `WARREN_TEST_LANDLOCK_ABI` makes every test see what an older kernel has.
fn older_landlock() -> Option<String> {
    let abi = std::env::var("WARREN_TEST_LANDLOCK_ABI").ok()?;
    Some(format!("--landlock-abi={abi}"))
}
