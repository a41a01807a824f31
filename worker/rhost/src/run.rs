//! One run after another: frames in, lines of code to R's prompt, results out.
//!
//! R's own main loop drives this: it asks for a line ([`next_line`]) and evaluates what it gets. Everything here
//! that touches R is protected, so that no jump passes through these frames.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use warren_rhost::session::{Ending, FromChild, Run, ToChild, Workspace};

use crate::calls::{self, Home};
use crate::console::{self, Reason};
use crate::eval::{self, Failure};
use crate::files::Files;
use crate::frames::{Frames, Reply, Request};
use crate::places;
use crate::setup::Helpers;
use crate::source::Source;
use crate::value;
use crate::workspace;

thread_local! {
    /// Never dropped, so that nothing is noted down for the end of the thread: a child leaves by `_exit`.
    static SESSION: RefCell<Option<ManuallyDrop<Session>>> = const { RefCell::new(None) };
}

/// What a child needs between two prompts.
pub(crate) struct Session {
    frames: Frames,
    work: PathBuf,
    helpers: Helpers,
    /// Of a process that may become the parent of a service's calls.
    home: Option<Home>,
    running: Option<Running>,
    /// The worker has not been told yet that this child is ready: what runs is the child's own, for practice.
    warming: bool,
}

struct Running {
    request: Run,
    source: Option<Source>,
    before: Files,
}

/// Takes over the frame socket and tells the worker that the child is ready: at once, or `ahead` of demand after a run that
/// touches what every run does.
pub(crate) fn open(
    frames: OwnedFd,
    work: PathBuf,
    helpers: Helpers,
    ahead: bool,
    home: Option<Home>,
) -> std::io::Result<()> {
    let frames = Frames::new(frames);
    if !ahead {
        say_ready(&frames)?;
    }
    SESSION.set(Some(ManuallyDrop::new(Session {
        frames,
        work,
        helpers,
        home,
        running: None,
        warming: ahead,
    })));
    Ok(())
}

fn say_ready(frames: &Frames) -> std::io::Result<()> {
    frames.send(&[&serde_json::to_vec(&FromChild::Ready)?])
}

/// What a child runs for practice.
fn practice() -> Run {
    Run {
        run: 0,
        code: "1 + 1".to_owned(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        max_output_bytes: 0,
        rehearsal: false,
    }
}

/// Fills R's buffer with the next line of code, waiting for the next run when this one is over.
///
/// `restarted`: R came back to its prompt by a jump, so the run ends here whatever code is left.
pub(crate) fn next_line(buffer: &mut [u8], restarted: bool) {
    SESSION.with_borrow_mut(|session| {
        let session = session
            .as_mut()
            .expect("the session is opened before R's main loop starts");
        session.next_line(buffer, restarted);
    });
}

impl Session {
    fn next_line(&mut self, buffer: &mut [u8], restarted: bool) {
        if self.running.is_some() {
            if !restarted && self.give(buffer) {
                return;
            }
            self.finish(if restarted {
                jumped()
            } else {
                Ending::Succeeded
            });
        }
        loop {
            let request = if self.warming {
                console::mute(true);
                let message = ToChild::Run(practice());
                Some(Request {
                    message,
                    pipe: None,
                })
            } else {
                self.frames.receive()
            };
            // Not earlier: an interrupt that came while nothing ran was meant for a run that is over.
            console::begin_run();
            let Some(Request { message, pipe }) = request else {
                // The worker is gone or wants the session to end.
                // SAFETY: ends the process; nothing of R's should run now, finalizers and `.Last` included.
                unsafe { libc::_exit(0) }
            };
            match message {
                ToChild::Run(request) => match self.begin(request) {
                    Ok(()) if self.give(buffer) => return,
                    Ok(()) => self.finish(Ending::Succeeded),
                    Err(ending) => self.finish(ending),
                },
                ToChild::Workspace(request) => self.answer(&request, pipe),
                ToChild::Serve => self.serve(pipe),
            }
        }
    }

    /// Becomes the parent of a service's calls. Comes back in each of these, and where that cannot be.
    fn serve(&mut self, control: Option<OwnedFd>) {
        let Some(control) = control else {
            return;
        };
        let home = self.home.as_ref();
        let Some(call) = calls::serve(control, self.frames.socket(), home, self.helpers) else {
            return;
        };
        // The old socket is closed in this process; its number is not to be closed again.
        std::mem::forget(std::mem::replace(
            &mut self.frames,
            Frames::new(call.frames),
        ));
        self.work = call.work;
        self.home = None;
        self.warming = call.ahead;
        if !call.ahead {
            or_end(&say_ready(&self.frames));
        }
    }

    /// Parses the code and assigns the inputs. A refusal ends the run at once.
    fn begin(&mut self, request: Run) -> Result<(), Ending> {
        let before = Files::scan(&self.work);
        let running = self.running.insert(Running {
            request,
            source: None,
            before,
        });
        if running.request.rehearsal {
            eval::call_own(self.helpers.remember).map_err(|failure| Ending::Error {
                message: failure.message(),
            })?;
        }
        running.source = Some(Source::parse(&running.request.code, self.helpers)?);
        for input in &running.request.inputs {
            value::assign(input)?;
        }
        Ok(())
    }

    fn give(&mut self, buffer: &mut [u8]) -> bool {
        let source = self
            .running
            .as_mut()
            .and_then(|running| running.source.as_mut());
        source.is_some_and(|source| source.give(buffer, self.helpers))
    }

    /// Does something with the workspace and says how it ended.
    fn answer(&self, request: &Workspace, pipe: Option<OwnedFd>) {
        let mut reply = Reply::new(request.run);
        let ending = workspace::answer(&request.ask, pipe, self.helpers, &mut reply);
        // The code of objects may have opened sinks and plots as well.
        let _ = eval::call_own(self.helpers.end_of_run);
        self.send(reply, &ending, &[]);
    }

    fn finish(&mut self, mut ending: Ending) {
        let Some(running) = self.running.take() else {
            return;
        };
        // Sinks and open plots belong to the run that opened them.
        let plotted = places::were_asked();
        let promised = matches!(running.source, Some(Source::Expressions { .. }));
        let rehearsed = running.request.rehearsal;
        if plotted || promised || rehearsed || eval::is_diverted(self.helpers) {
            // What fails here has nobody to tell.
            let _ = eval::call_own(self.helpers.end_of_run);
        }
        let mut reply = Reply::new(running.request.run);
        if ending == Ending::Succeeded {
            ending = read_outputs(&running.request, &mut reply);
        }
        let changes = running.before.changed(&self.work);
        if changes.unnamed > 0 {
            console::say(&format!(
                "Warning message:\n{} files changed that are not named in changedFiles \n",
                changes.unnamed
            ));
        }
        if rehearsed && let Some(message) = self.put_back() {
            ending = Ending::Error { message };
        }
        if self.warming {
            self.warming = false;
            eval::forget_last_value();
            console::mute(false);
            or_end(&say_ready(&self.frames));
        } else {
            self.send(reply, &ending, &changes.names);
        }
    }

    /// Undoes what a rehearsal did. What is wrong when it cannot be undone.
    fn put_back(&self) -> Option<String> {
        let failed = eval::text_of(self.helpers.put_back, &[]).unwrap_or_else(Failure::message);
        eval::forget_last_value();
        (!failed.is_empty()).then(|| format!("what it did cannot be undone: {failed}"))
    }

    fn send(&self, reply: Reply, ending: &Ending, changed_files: &[String]) {
        let [head, outputs, tail] = reply.into_parts(ending, changed_files);
        or_end(&self.frames.send(&[&head, &outputs, &tail]));
    }
}

/// Ends the process when the worker could not be told: it is gone.
fn or_end(sent: &std::io::Result<()>) {
    if sent.is_err() {
        // SAFETY: ends the process; nothing of R's should run now.
        unsafe { libc::_exit(0) }
    }
}

fn read_outputs(request: &Run, reply: &mut Reply) -> Ending {
    let limit = usize::try_from(request.max_output_bytes).unwrap_or(usize::MAX);
    for output in &request.outputs {
        match value::read(output, reply.next_output(), limit) {
            Ok(reading) => {
                if let Some(note) = reading.note {
                    console::say(&note);
                }
            }
            Err(ending) => return ending,
        }
    }
    Ending::Succeeded
}

/// How a run ended that R left by a jump.
fn jumped() -> Ending {
    let (reason, text) = console::reason();
    let message = eval::after_error(&text);
    match reason {
        Reason::Interrupt => Ending::Interrupted,
        Reason::Error if is_out_of_memory(&message) => Ending::OutOfMemory { message },
        Reason::Error | Reason::Browser => Ending::Error { message },
        Reason::Unknown => Ending::Error {
            message: "the code jumped to top level".to_owned(),
        },
    }
}

/// Whether an error of R says that there is not enough memory.
pub(crate) fn is_out_of_memory(message: &str) -> bool {
    message.contains("cannot allocate vector of size")
        || message.contains("cannot allocate memory block of size")
        || message.contains("memory exhausted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_memory_is_told_from_other_errors() {
        assert!(is_out_of_memory("cannot allocate vector of size 762.9 Mb"));
        assert!(!is_out_of_memory("object 'x' not found"));
    }
}
