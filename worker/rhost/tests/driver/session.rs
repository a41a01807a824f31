//! A child: what it is asked and says, and its console.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::Signal;
use serde_json::value::RawValue;
use tempfile::TempDir;
use warren_rhost::frame;
use warren_rhost::service::FromService;
use warren_rhost::session::{
    Ask, Done, Ending, FromChild, Input, Output, RType, Run, ToChild, Workspace,
};

use super::{MAX_FRAME, PATIENCE, Service, pipe, readable};

/// A child and the worker's ends of its channels.
pub(crate) struct Session {
    pub(crate) child: u64,
    pub(crate) pid: i32,
    pub(super) frames: UnixStream,
    pub(super) pipe: OwnedFd,
    pub(crate) pidfd: OwnedFd,
    pub(super) dir: PathBuf,
    /// Removes it at the end. None of a call, whose directory is in another.
    pub(super) whole: Option<TempDir>,
    pub(super) rehearsing: bool,
    pub(super) runs: u64,
    pub(super) text: Vec<u8>,
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
