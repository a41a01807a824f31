//! Drives the real program over a real socket pair, as the worker does.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

pub(crate) mod native;

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Pid, Signal};
use serde_json::value::RawValue;
use tempfile::TempDir;
use warren_rhost::control::{Exit, FromParent, Hello, MAX_PACKET_BYTES, ToParent};
use warren_rhost::frame;
use warren_rhost::service::{FromService, ToService};
use warren_rhost::session::{
    Ask, Done, Ending, FromChild, Input, Output, RType, Run, ToChild, Workspace,
};

/// No wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const MAX_FRAME: usize = 1 << 30;

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

/// The R expressions of the value tests.
pub(crate) fn corpus() -> Vec<&'static str> {
    include_str!("../values.R")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// Equal, with `1` and `1.0` the same number, and members in the same order. Numbers may differ by this much of themselves.
pub(crate) fn same(one: &serde_json::Value, other: &serde_json::Value, tolerance: f64) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (one, other) {
        (Number(a), Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= tolerance * a.abs()
        }
        (Array(a), Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, tolerance))
        }
        (Object(a), Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((m, a), (n, b))| m == n && same(a, b, tolerance))
        }
        _ => one == other,
    }
}

/// The end of a child by a signal, for no reason that the host knows.
pub(crate) fn killed_by(signal: i32) -> Exit {
    Exit::Signal {
        signal,
        out_of_memory: false,
        stack_overflow: false,
    }
}

/// `WARREN_TEST_LANDLOCK_ABI` makes every test see what an older kernel has.
fn older_landlock() -> Option<String> {
    let abi = std::env::var("WARREN_TEST_LANDLOCK_ABI").ok()?;
    Some(format!("--landlock-abi={abi}"))
}

/// A child and the worker's ends of its channels.
pub(crate) struct Session {
    pub(crate) child: u64,
    pub(crate) pid: i32,
    frames: UnixStream,
    pipe: OwnedFd,
    pub(crate) pidfd: OwnedFd,
    dir: PathBuf,
    /// Removes it at the end. None of a call, whose directory is in another.
    whole: Option<TempDir>,
    rehearsing: bool,
    runs: u64,
    text: Vec<u8>,
}

/// The parent of a service's calls.
pub(crate) struct Service {
    /// What it was before.
    pub(crate) session: Session,
    control: OwnedFd,
    next_call: u64,
    /// Packets that came while another was waited for.
    waiting: Vec<FromService>,
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

    fn receive(&mut self) -> FromService {
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

/// How a run ended and what it printed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ending: Ending,
    pub(crate) console: String,
    pub(crate) outputs: Vec<String>,
    pub(crate) changed_files: Vec<String>,
}

impl Session {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// Runs code without inputs and outputs.
    pub(crate) fn run(&mut self, code: &str) -> Answer {
        self.run_with(code, &[], &[])
    }

    /// Runs code that must succeed and gives its console.
    pub(crate) fn console_of(&mut self, code: &str) -> String {
        let answer = self.run(code);
        assert_eq!(answer.ending, Ending::Succeeded, "{}", answer.console);
        answer.console
    }

    /// Runs code that must succeed and gives one output.
    pub(crate) fn output(&mut self, code: &str, name: &str) -> String {
        let answer = self.run_with(code, &[], &[(name, None)]);
        assert_eq!(answer.ending, Ending::Succeeded, "{}", answer.console);
        answer.outputs[0].clone()
    }

    pub(crate) fn run_with(
        &mut self,
        code: &str,
        inputs: &[(&str, Option<RType>, &str)],
        outputs: &[(&str, Option<RType>)],
    ) -> Answer {
        self.start(code, inputs, outputs);
        self.answer()
            .unwrap_or_else(|| panic!("the child ended: {}", self.console()))
    }

    /// Runs code for practice.
    pub(crate) fn rehearse(&mut self, code: &str) -> Answer {
        self.rehearsing = true;
        let answer = self.run(code);
        self.rehearsing = false;
        answer
    }

    /// Makes it the parent of a service's calls; the refusal's message when it cannot be one.
    pub(crate) fn serve(self) -> Result<Service, Box<(Self, String)>> {
        let (control, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        self.send_with(&ToChild::Serve, Some(theirs));
        let mut service = Service {
            session: self,
            control,
            next_call: 1,
            waiting: Vec::new(),
        };
        match service.receive() {
            FromService::Serving => Ok(service),
            FromService::Refused { message } => Err(Box::new((service.session, message))),
            other => panic!("unexpected first packet: {other:?}"),
        }
    }

    /// Sends a run without waiting for its end.
    pub(crate) fn start(
        &mut self,
        code: &str,
        inputs: &[(&str, Option<RType>, &str)],
        outputs: &[(&str, Option<RType>)],
    ) {
        self.runs += 1;
        let run = Run {
            run: self.runs,
            code: code.to_owned(),
            inputs: inputs
                .iter()
                .map(|(name, declared, value)| Input {
                    name: (*name).to_owned(),
                    r#type: *declared,
                    value: RawValue::from_string((*value).to_owned()).unwrap(),
                })
                .collect(),
            outputs: outputs
                .iter()
                .map(|(name, declared)| Output {
                    name: (*name).to_owned(),
                    r#type: *declared,
                })
                .collect(),
            max_output_bytes: 1 << 28,
            rehearsal: self.rehearsing,
        };
        self.send(&serde_json::to_vec(&ToChild::Run(run)).unwrap());
    }

    pub(crate) fn send(&mut self, payload: &[u8]) {
        let header = frame::header(payload, MAX_FRAME).unwrap();
        self.frames.write_all(&header).unwrap();
        self.frames.write_all(payload).unwrap();
    }

    /// Asks something of the workspace.
    pub(crate) fn ask(&mut self, ask: Ask) -> Answer {
        self.start_asking(ask, None);
        self.answer()
            .unwrap_or_else(|| panic!("the child ended: {}", self.console()))
    }

    /// Sends a question without waiting for its end.
    pub(crate) fn start_asking(&mut self, ask: Ask, pipe: Option<OwnedFd>) {
        self.runs += 1;
        let message = ToChild::Workspace(Workspace {
            run: self.runs,
            ask,
        });
        self.send_with(&message, pipe);
    }

    fn send_with(&self, message: &ToChild, pipe: Option<OwnedFd>) {
        let payload = serde_json::to_vec(message).unwrap();
        let mut frame = frame::header(&payload, MAX_FRAME).unwrap().to_vec();
        frame.extend_from_slice(&payload);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let end: Vec<_> = pipe.iter().map(AsFd::as_fd).collect();
        if !end.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&end));
        }
        let sent = rustix::net::sendmsg(
            &self.frames,
            &[IoSlice::new(&frame)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        );
        assert_eq!(sent, Ok(frame.len()));
        // The child has its own now; with ours open it would never see the end.
        drop(pipe);
    }

    /// What R writes when it is asked to.
    pub(crate) fn saved(&mut self, ask: Ask) -> (Answer, Vec<u8>) {
        let (reading, writing) = pipe();
        self.start_asking(ask, Some(writing));
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::fs::File::from(reading)
                .read_to_end(&mut bytes)
                .unwrap();
            bytes
        });
        let answer = self
            .answer()
            .unwrap_or_else(|| panic!("the child ended: {}", self.console()));
        (answer, reader.join().unwrap())
    }

    /// Gives R these bytes as a saved workspace.
    pub(crate) fn load(&mut self, bytes: Vec<u8>) -> Answer {
        let (reading, writing) = pipe();
        self.start_asking(Ask::LoadImage, Some(reading));
        let writer = std::thread::spawn(move || {
            // R may have seen enough.
            let _ = std::fs::File::from(writing).write_all(&bytes);
        });
        let answer = self
            .answer()
            .unwrap_or_else(|| panic!("the child ended: {}", self.console()));
        writer.join().unwrap();
        answer
    }

    /// Sends bytes that need not be a frame.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        // The child may have had enough of them already.
        let _ = self.frames.write_all(bytes);
    }

    /// The end of the run that was started last; none when the child ended first.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let done = match self.receive()? {
            FromChild::Done(Done {
                run,
                ending,
                outputs,
                changed_files,
            }) => {
                assert_eq!(run, self.runs);
                (ending, outputs, changed_files)
            }
            FromChild::Ready => panic!("ready twice"),
        };
        let (ending, outputs, changed_files) = done;
        let outputs = outputs.iter().map(|value| value.get().to_owned()).collect();
        Some(Answer {
            ending,
            console: self.console(),
            outputs,
            changed_files,
        })
    }

    /// Reads a frame, and the console meanwhile so that a full pipe stops nobody.
    pub(crate) fn receive(&mut self) -> Option<FromChild> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut ready = [
                PollFd::new(&self.frames, PollFlags::IN),
                PollFd::new(&self.pipe, PollFlags::IN),
            ];
            let left = deadline.saturating_duration_since(Instant::now());
            poll(&mut ready, Some(&Timespec::try_from(left).unwrap())).unwrap();
            assert!(
                !left.is_zero(),
                "the child says nothing; console: {}",
                self.console()
            );
            let (frame, text) = (ready[0].revents(), ready[1].revents());
            if text.contains(PollFlags::IN) {
                self.drain();
            }
            if !frame.is_empty() {
                return self.read_frame();
            }
        }
    }

    fn read_frame(&mut self) -> Option<FromChild> {
        let mut header = [0; frame::HEADER_BYTES];
        self.frames.read_exact(&mut header).ok()?;
        let mut payload = vec![0; frame::payload_bytes(header, MAX_FRAME).unwrap()];
        self.frames.read_exact(&mut payload).ok()?;
        Some(serde_json::from_slice(&payload).unwrap())
    }

    /// Waits until the console holds the text.
    pub(crate) fn console_until(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !String::from_utf8_lossy(&self.text).contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(readable(&self.pipe, left), "never printed: {text}");
            self.drain();
        }
    }

    fn drain(&mut self) {
        while readable(&self.pipe, Duration::ZERO) {
            let mut buffer = vec![0; 1 << 16];
            match rustix::io::read(&self.pipe, &mut buffer[..]).unwrap() {
                0 => return,
                count => self.text.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// What was printed since the last look.
    pub(crate) fn console(&mut self) -> String {
        self.drain();
        String::from_utf8(std::mem::take(&mut self.text)).unwrap()
    }

    pub(crate) fn interrupt(&self) {
        rustix::process::pidfd_send_signal(&self.pidfd, Signal::INT).unwrap();
    }

    /// Interrupts again and again: what comes before the child has begun is forgotten.
    pub(crate) fn interrupt_until_answered(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !readable(&self.frames, Duration::from_millis(5)) {
            assert!(Instant::now() < deadline, "the child does not unwind");
            self.interrupt();
        }
    }

    /// Closes the frame socket: the child must end.
    pub(crate) fn hang_up(&mut self) {
        // The child may have gone first.
        let _ = self.frames.shutdown(std::net::Shutdown::Both);
    }
}

/// Reading end and writing end.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

/// Whether the descriptor has something to say within the time.
pub(crate) fn readable(descriptor: impl AsFd, within: Duration) -> bool {
    let mut ready = [PollFd::new(&descriptor, PollFlags::IN)];
    let within = Timespec::try_from(within).unwrap();
    poll(&mut ready, Some(&within)).unwrap() > 0
        && ready[0]
            .revents()
            .intersects(PollFlags::IN | PollFlags::HUP)
        && !(ready[0].revents() == PollFlags::HUP)
}
