//! A child that forks others, for calls.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::Pid;
use warren_rhost::control::{Exit, MAX_PACKET_BYTES};
use warren_rhost::service::{FromService, ToService};
use warren_rhost::session::FromChild;

use super::{PATIENCE, Session, pipe, readable};

/// The parent of a service's calls.
pub(crate) struct Service {
    /// What it was before.
    pub(crate) session: Session,
    pub(super) control: OwnedFd,
    pub(super) next_call: u64,
    /// Packets that came while another was waited for.
    pub(super) waiting: Vec<FromService>,
}

impl Service {
    /// Forks a call and waits until it is ready.
    pub(crate) fn call(&mut self) -> Session {
        let child = self.next_call;
        self.next_call += 1;
        let (frames, its_frames) = UnixStream::pair().unwrap();
        let (console, its_console) = pipe();
        let data = std::fs::metadata(self.session.dir()).unwrap();
        std::os::unix::fs::fchown(&its_console, Some(data.uid()), Some(data.gid())).unwrap();
        // Both ways must come to the same.
        let ahead = child % 2 == 1;
        let fork = ToService::Fork {
            child,
            place: child,
            ahead,
        };
        self.send(&fork, &[its_frames.as_fd(), its_console.as_fd()]);
        drop((its_frames, its_console));
        let pid = loop {
            match self.receive() {
                FromService::Forked { child: number, pid } if number == child => break pid,
                other => self.waiting.push(other),
            }
        };
        let process = Pid::from_raw(pid).unwrap();
        let pidfd =
            rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).unwrap();
        let mut call = Session {
            child,
            pid,
            frames,
            pipe: console,
            pidfd,
            dir: self.session.dir().join("calls").join(child.to_string()),
            whole: None,
            rehearsing: false,
            runs: 0,
            text: Vec::new(),
        };
        let first = call.receive();
        assert!(
            matches!(first, Some(FromChild::Ready)),
            "{}",
            call.console()
        );
        call
    }

    /// The console of one call that runs this and must succeed.
    pub(crate) fn console_of(&mut self, code: &str) -> String {
        self.call().console_of(code)
    }

    pub(crate) fn send(&self, message: &ToService, ends: &[BorrowedFd<'_>]) {
        let packet = serde_json::to_vec(message).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ends.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(ends));
        }
        let parts = [IoSlice::new(&packet)];
        rustix::net::sendmsg(&self.control, &parts, &mut ancillary, SendFlags::NOSIGNAL).unwrap();
    }

    pub(super) fn receive(&mut self) -> FromService {
        assert!(
            readable(&self.control, PATIENCE),
            "the service's parent says nothing"
        );
        let mut packet = vec![0; MAX_PACKET_BYTES];
        let (_, length) =
            rustix::net::recv(&self.control, &mut packet[..], RecvFlags::empty()).unwrap();
        assert!(length > 0, "the service's parent has gone");
        serde_json::from_slice(&packet[..length]).unwrap()
    }

    pub(crate) fn interrupt(&self, call: &Session) {
        self.send(&ToService::Interrupt { child: call.child }, &[]);
    }

    pub(crate) fn kill(&self, call: &Session) {
        self.send(&ToService::Kill { child: call.child }, &[]);
    }

    /// Waits until the parent says that the call has ended.
    pub(crate) fn exit_of(&mut self, call: &Session) -> Exit {
        loop {
            let found = self.waiting.iter().position(
                |message| matches!(message, FromService::Exited { child, .. } if *child == call.child),
            );
            if let Some(at) = found
                && let FromService::Exited { exit, .. } = self.waiting.remove(at)
            {
                return exit;
            }
            let message = self.receive();
            self.waiting.push(message);
        }
    }

    /// Closes the control socket. What is left is the session that it was.
    pub(crate) fn hang_up(self) -> Session {
        self.session
    }
}
