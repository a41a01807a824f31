//! A parent that does not speak as agreed, in the place of the real one.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use tokio::io::Interest;

use rustix::pipe::PipeFlags;
use tokio::sync::watch;
use warren_rhost::control::Exit;
use warren_rhost::service::ToService;

use super::super::child::{Birth, ChildExit};
use super::super::parent;
use super::*;

/// A service's parent, and the R host above it, in the hands of the test.
struct Fake {
    control: Control,
    /// What the R host is asked.
    asked: mpsc::UnboundedReceiver<parent::Order>,
    exited: watch::Sender<Option<ChildExit>>,
    _frames: tokio::net::UnixStream,
}

/// A parent that serves, whoever it is.
async fn service(dir: &Path) -> (ServiceParent, Fake) {
    let (frames, its_frames) = UnixStream::pair().unwrap();
    let (console, _its_console) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (orders, asked) = mpsc::unbounded_channel();
    let (exited, exit) = watch::channel(None);
    let child = Child::adopt(Birth {
        pid: 1,
        dir: dir.to_owned(),
        frames: frames.into(),
        console,
        exit,
        hold: Hold::Grip(Arc::new(Grip {
            number: 9,
            // Never signalled as long as the R host takes orders.
            pidfd: pidfd_open(getpid(), PidfdFlags::empty()).unwrap(),
            orders,
        })),
    });
    let fake = async {
        its_frames.set_nonblocking(true).unwrap();
        let frames = tokio::net::UnixStream::from_std(its_frames).unwrap();
        let control = Control::adopt(control_of(&frames).await).unwrap();
        control.send(&FromService::Serving).await.unwrap();
        Fake {
            control,
            asked,
            exited,
            _frames: frames,
        }
    };
    let (started, fake) = tokio::join!(ServiceParent::start(child.unwrap()), fake);
    (started.unwrap(), fake)
}

/// The socket that comes with the first frame.
async fn control_of(frames: &tokio::net::UnixStream) -> OwnedFd {
    let received = frames.async_io(Interest::READABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 1024];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        recvmsg(frames, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let mut messages = ancillary.drain();
        let Some(RecvAncillaryMessage::ScmRights(mut fds)) = messages.next() else {
            return Err(io::Error::other("no socket came"));
        };
        Ok(fds.next().unwrap())
    });
    received.await.unwrap()
}

impl Fake {
    /// Waits until the worker wants it dead, and dies.
    async fn die_when_asked(mut self) {
        let asked = tokio::time::timeout(Duration::from_secs(20), self.asked.recv()).await;
        assert!(matches!(asked, Ok(Some(parent::Order::Kill { child: 9 }))));
        let exit = Exit::Signal {
            signal: 9,
            out_of_memory: false,
            stack_overflow: false,
        };
        self.exited.send_replace(Some(ChildExit::Reaped(exit)));
    }

    async fn is_asked_to_fork(&self) -> Vec<OwnedFd> {
        let packet = self.control.receive::<ToService>().await.unwrap().unwrap();
        assert!(matches!(packet.message, ToService::Fork { .. }));
        packet.fds
    }
}

#[tokio::test]
async fn a_parent_that_says_what_it_was_not_asked_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let exit = Exit::Status { code: 0 };
    for unasked in [
        serde_json::to_value(FromService::Serving).unwrap(),
        serde_json::to_value(FromService::Exited { child: 1, exit }).unwrap(),
        serde_json::to_value(FromService::Forked { child: 7, pid: 1 }).unwrap(),
        serde_json::json!({"kind": "forked", "child": -1}),
        serde_json::json!("x".repeat(100_000)),
    ] {
        let (service, fake) = service(dir.path()).await;
        fake.control.send(&unasked).await.unwrap();
        fake.die_when_asked().await;
        service.gone().await;
        assert!(matches!(service.fork().await, Err(HostError::Silent)));
    }
}

#[tokio::test]
async fn a_call_ends_with_its_parent_and_is_never_signalled() {
    let dir = tempfile::tempdir().unwrap();
    let (service, fake) = service(dir.path()).await;
    let forking = async {
        let ends = fake.is_asked_to_fork().await;
        assert_eq!(ends.len(), 2);
        // Were it believed, the test would interrupt itself.
        let pid = getpid().as_raw_pid();
        let forked = FromService::Forked { child: 1, pid };
        fake.control.send(&forked).await.unwrap();
        let ready = br#"{"kind":"ready"}"#;
        rustix::io::write(&ends[0], &[&[16, 0, 0, 0], &ready[..]].concat()).unwrap();
        ends
    };
    let (call, ends) = tokio::join!(service.fork(), forking);
    let mut call = call.unwrap();
    assert_eq!(call.dir(), dir.path().join("calls/1"));
    assert_eq!(service.children(), 1);
    call.interrupt();
    let packet = fake.control.receive::<ToService>().await.unwrap().unwrap();
    assert_eq!(packet.message, ToService::Interrupt { child: 1 });
    call.kill();
    let packet = fake.control.receive::<ToService>().await.unwrap().unwrap();
    assert_eq!(packet.message, ToService::Kill { child: 1 });
    // It keeps its parent.
    drop(service);
    fake.control.send(&"nonsense").await.unwrap();
    fake.die_when_asked().await;
    assert_eq!(call.gone().await, ChildExit::ParentLost);
    drop(ends);
}

#[tokio::test]
async fn a_parent_that_nobody_has_any_more_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (service, fake) = service(dir.path()).await;
    drop(service);
    assert!(fake.control.receive::<ToService>().await.unwrap().is_none());
    fake.die_when_asked().await;
}

#[test]
fn memory_is_read_in_bytes() {
    let rollup = "55d0-7ffe ---p 00000000 00:00 0    [rollup]\nRss:    9000 kB\nPss:            2504 kB\nPss_Dirty: 12 kB\n";
    assert_eq!(proportional_bytes(rollup), Some(2504 * 1024));
    assert_eq!(proportional_bytes(""), None);
}
