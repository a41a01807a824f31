//! One run after another: frames in, lines of code to R's prompt, results out.
//!
//! R's own main loop drives this: it asks for a line ([`next_line`]) and evaluates what it gets. Everything here
//! that touches R is protected, so that no jump passes through these frames.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use warren_rhost::session::{Ending, FromChild, Run, ToChild};

use crate::console::{self, Reason};
use crate::eval::{self, Failure};
use crate::files::Files;
use crate::frames::{self, Reply};
use crate::setup::Helpers;
use crate::value;

/// The room R offers for a line, less its terminating NUL, is never smaller than this.
const MIN_ROOM: usize = 16;

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// What a child needs between two prompts.
pub(crate) struct Session {
    frames: OwnedFd,
    work: PathBuf,
    helpers: Helpers,
    running: Option<Running>,
}

struct Running {
    request: Run,
    code: String,
    /// Bytes of `code` that R has been given.
    given: usize,
    before: Files,
}

/// Takes over the frame socket and tells the worker that the child is ready.
pub(crate) fn open(frames: OwnedFd, work: PathBuf, helpers: Helpers) -> std::io::Result<()> {
    frames::send(&frames, &serde_json::to_vec(&FromChild::Ready)?)?;
    SESSION.set(Some(Session {
        frames,
        work,
        helpers,
        running: None,
    }));
    Ok(())
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
        if let Some(running) = &mut self.running {
            if !restarted && running.give(buffer) {
                return;
            }
            let ending = if restarted {
                jumped()
            } else {
                Ending::Succeeded
            };
            self.finish(ending);
        }
        loop {
            let request = frames::receive(&self.frames);
            // Not earlier: an interrupt that came while nothing ran was meant for a run that is over.
            console::begin_run();
            match request {
                Some(ToChild::Run(run)) => self.begin(run),
                // The worker is gone or wants the session to end.
                // SAFETY: ends the process; nothing of R's should run now, finalizers and `.Last` included.
                None => unsafe { libc::_exit(0) },
            }
            if self
                .running
                .as_mut()
                .is_some_and(|running| running.give(buffer))
            {
                return;
            }
            if self.running.is_some() {
                self.finish(Ending::Succeeded);
            }
        }
    }

    /// Parses the code and assigns the inputs. A refusal ends the run at once.
    fn begin(&mut self, request: Run) {
        let before = Files::scan(&self.work);
        let mut code = plain_line_ends(&request.code);
        if !code.is_empty() && !code.ends_with('\n') {
            code.push('\n');
        }
        let refusal = self.parse_error(&code).or_else(|| {
            let failed = request
                .inputs
                .iter()
                .find_map(|input| value::assign(input).err())?;
            Some(Ending::ValueError { message: failed })
        });
        self.running = Some(Running {
            request,
            code,
            given: 0,
            before,
        });
        if let Some(ending) = refusal {
            self.finish(ending);
        }
    }

    /// The whole text is parsed before any of it runs.
    fn parse_error(&self, code: &str) -> Option<Ending> {
        let failure = match eval::parses(code) {
            Ok(true) => return None,
            Ok(false) => eval::text_of(self.helpers.parse_message, code),
            Err(failure) => Err(failure),
        };
        Some(match failure {
            Ok(message) | Err(Failure::Error(message)) => {
                console::say(&format!("Error: {}\n", message.trim_end()));
                Ending::ParseError { message }
            }
            Err(Failure::Interrupted) => Ending::Interrupted,
        })
    }

    fn finish(&mut self, mut ending: Ending) {
        let Some(running) = self.running.take() else {
            return;
        };
        // Sinks and open plots belong to the run that opened them. What fails here has nobody to tell.
        let _ = eval::call_own(self.helpers.end_of_run);
        let mut reply = Reply::new(running.request.run);
        if ending == Ending::Succeeded {
            ending = read_outputs(&running.request, &mut reply);
        }
        let changed = running.before.changed(&Files::scan(&self.work));
        let frame = reply.into_frame(&ending, &changed);
        if frames::send(&self.frames, &frame).is_err() {
            // SAFETY: as above, the worker is gone.
            unsafe { libc::_exit(0) }
        }
    }
}

impl Running {
    /// Copies the next line, or as much of it as fits.
    fn give(&mut self, buffer: &mut [u8]) -> bool {
        let rest = &self.code[self.given..];
        if rest.is_empty() {
            return false;
        }
        let room = buffer.len().max(MIN_ROOM) - 1;
        let line = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let length = rest.floor_char_boundary(line.min(room));
        buffer[..length].copy_from_slice(&rest.as_bytes()[..length]);
        buffer[length] = 0;
        self.given += length;
        true
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
            Err(message) => return Ending::ValueError { message },
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

fn is_out_of_memory(message: &str) -> bool {
    message.contains("cannot allocate vector of size")
        || message.contains("cannot allocate memory block of size")
        || message.contains("memory exhausted")
}

/// R's parser takes `\n` only.
fn plain_line_ends(code: &str) -> String {
    if code.contains('\r') {
        code.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        code.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_becomes_a_newline() {
        assert_eq!(plain_line_ends("a\r\nb\rc\n"), "a\nb\nc\n");
    }

    #[test]
    fn running_out_of_memory_is_told_from_other_errors() {
        assert!(is_out_of_memory("cannot allocate vector of size 762.9 Mb"));
        assert!(!is_out_of_memory("object 'x' not found"));
    }
}
