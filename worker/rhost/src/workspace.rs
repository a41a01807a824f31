//! What is done with the objects of the global environment without running code: named, written, read, removed.
//!
//! Everything here happens between two runs. Objects may still be code: promises and active bindings are evaluated as `save()`
//! would, so R may raise any error on the way.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use warren_rhost::session::{Ask, Ending, Form};

use crate::eval::{self, Failure};
use crate::ffi::{self, RBool, Sexp, f, sexptype, v};
use crate::frames::Reply;
use crate::run::is_out_of_memory;
use crate::setup::Helpers;
use crate::source;
use crate::stream::{MAGIC, Sink, Source};
use crate::value;

const FALSE: RBool = 0;
const TRUE: RBool = 1;

/// Why something was not done.
enum Refusal {
    NoObject,
    Failure(Failure),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Failure(Failure::Error(format!(
            "the pipe that came with the question cannot be used: {error}"
        )))
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Does what was asked. `pipe` came with the question.
pub(crate) fn answer(
    ask: &Ask,
    pipe: Option<OwnedFd>,
    helpers: Helpers,
    reply: &mut Reply,
) -> Ending {
    if let Ask::Parse { code } = ask {
        return source::Source::parse(code, helpers)
            .map_or_else(|ending| ending, |_code| Ending::Succeeded);
    }
    // What objects that are code have to say is for nobody: this is no run.
    let done = eval::call_own(helpers.hush)
        .map_err(Refusal::from)
        .and_then(|()| perform(ask, pipe, helpers, reply));
    // An error here could only be that the code of an object took away what it needs.
    let _ = eval::call_own(helpers.speak);
    match done {
        Ok(()) => Ending::Succeeded,
        Err(Refusal::NoObject) => Ending::NoObject,
        Err(Refusal::Failure(Failure::Interrupted)) => Ending::Interrupted,
        Err(Refusal::Failure(Failure::Error(message))) if is_out_of_memory(&message) => {
            Ending::OutOfMemory { message }
        }
        Err(Refusal::Failure(Failure::Error(message))) => Ending::Error { message },
    }
}

fn perform(
    ask: &Ask,
    pipe: Option<OwnedFd>,
    helpers: Helpers,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let the_pipe = || pipe.ok_or_else(|| io::Error::other("there is none"));
    match ask {
        // Answered before.
        Ask::Parse { .. } => {}
        Ask::List => list(reply)?,
        Ask::Save { name, form } => save(name, *form, the_pipe()?, reply)?,
        Ask::SaveImage => save_image(the_pipe()?, reply)?,
        Ask::LoadImage => load_image(the_pipe()?)?,
        Ask::Read { name, file } => {
            let refused = eval::text_of(helpers.read_object, &[name, &file.to_string_lossy()])?;
            if !refused.is_empty() {
                return Err(Failure::Error(refused).into());
            }
        }
        Ask::Remove { name } => {
            if eval::text_of(helpers.remove_object, &[name])?.is_empty() {
                return Err(Refusal::NoObject);
            }
        }
    }
    Ok(())
}

fn list(reply: &mut Reply) -> Result<(), Failure> {
    let mut names = Vec::new();
    eval::protected(|| {
        // SAFETY: inside a protected call; the strings are protected while they are copied, which allocates nothing of R's.
        unsafe {
            let found = (f().Rf_protect)((f().R_lsInternal3)(*v().R_GlobalEnv, FALSE, TRUE));
            for at in 0..(f().Rf_xlength)(found) {
                let name = CStr::from_ptr((f().R_CHAR)((f().STRING_ELT)(found, at)));
                names.push(name.to_string_lossy().into_owned());
            }
            (f().Rf_unprotect)(1);
        }
    })?;
    // Strings as JSON cannot fail.
    let names = serde_json::to_vec(&names).unwrap_or_default();
    reply.next_output().extend_from_slice(&names);
    Ok(())
}

fn save(name: &str, form: Form, pipe: OwnedFd, reply: &mut Reply) -> Result<(), Refusal> {
    let mut sink = Sink::new(pipe)?;
    let mut found = false;
    eval::protected(|| {
        // SAFETY: inside a protected call; sink and name outlive it, and objects are protected while others are made.
        unsafe {
            let symbol = value::symbol(name);
            let Some(object) = current(symbol) else {
                return;
            };
            found = true;
            (f().Rf_protect)(object);
            match form {
                Form::Serialize => sink.serialize(object),
                Form::Save => {
                    let list = (f().Rf_protect)((f().Rf_allocList)(1));
                    (f().SETCAR)(list, object);
                    (f().SET_TAG)(list, symbol);
                    sink.write(MAGIC);
                    sink.serialize(list);
                    (f().Rf_unprotect)(1);
                }
            }
            sink.flush();
            (f().Rf_unprotect)(1);
        }
    })?;
    if !found {
        return Err(Refusal::NoObject);
    }
    tell_length(&sink, reply);
    Ok(())
}

fn save_image(pipe: OwnedFd, reply: &mut Reply) -> Result<(), Refusal> {
    let mut sink = Sink::new(pipe)?;
    eval::protected(|| {
        // SAFETY: as in `save`.
        unsafe {
            let list = (f().Rf_protect)(everything());
            sink.write(MAGIC);
            sink.serialize(list);
            sink.flush();
            (f().Rf_unprotect)(1);
        }
    })?;
    tell_length(&sink, reply);
    Ok(())
}

/// The worker counts as well: what it read is whole when the numbers agree.
fn tell_length(sink: &Sink, reply: &mut Reply) {
    let length = sink.written().to_string();
    reply.next_output().extend_from_slice(length.as_bytes());
}

fn load_image(pipe: OwnedFd) -> Result<(), Refusal> {
    let mut source = Source::new(pipe)?;
    eval::protected(|| {
        // SAFETY: inside a protected call; the source outlives it, and the list is protected while it is assigned.
        unsafe {
            source.read_magic();
            let list = (f().Rf_protect)(source.unserialize());
            // All of it is looked at first, so that what is no workspace assigns nothing.
            if !is_list_of_named(list) {
                ffi::raise(c"these bytes are no workspace that was saved");
            }
            let mut rest = list;
            while rest != *v().R_NilValue {
                (f().Rf_defineVar)((f().TAG)(rest), (f().CAR)(rest), *v().R_GlobalEnv);
                rest = (f().CDR)(rest);
            }
            (f().Rf_unprotect)(1);
        }
    })?;
    Ok(())
}

/// # Safety
///
/// The list is protected.
unsafe fn is_list_of_named(list: Sexp) -> bool {
    // SAFETY: nothing here allocates; each cell is reached from the protected list.
    unsafe {
        let mut rest = list;
        while (f().TYPEOF)(rest) == sexptype::PAIRLIST.cast_signed() {
            if (f().TYPEOF)((f().TAG)(rest)) != sexptype::SYMBOL.cast_signed() {
                return false;
            }
            rest = (f().CDR)(rest);
        }
        rest == *v().R_NilValue
    }
}

/// A list of every variable of the global environment, tagged with its name. It shares the values.
///
/// # Safety
///
/// Runs inside a protected call.
unsafe fn everything() -> Sexp {
    // SAFETY: names and list are protected while the code of objects may run.
    unsafe {
        let names = (f().Rf_protect)((f().R_lsInternal3)(*v().R_GlobalEnv, TRUE, FALSE));
        let count = (f().Rf_xlength)(names);
        let Ok(length) = i32::try_from(count) else {
            ffi::raise(c"the workspace has too many objects");
        };
        let list = (f().Rf_protect)((f().Rf_allocList)(length));
        let mut cell = list;
        for at in 0..count {
            let symbol = (f().Rf_installTrChar)((f().STRING_ELT)(names, at));
            let Some(object) = current(symbol) else {
                ffi::raise(c"an object vanished while the workspace was being saved");
            };
            (f().SETCAR)(cell, object);
            (f().SET_TAG)(cell, symbol);
            cell = (f().CDR)(cell);
        }
        (f().Rf_unprotect)(2);
        list
    }
}

/// The value of a global variable; promises and active bindings are evaluated. None when there is none of that name.
///
/// # Safety
///
/// Runs inside a protected call; owns nothing.
unsafe fn current(symbol: Sexp) -> Option<Sexp> {
    // SAFETY: the global environment is always alive; looking there evaluates an active binding, and a promise found there
    // is protected while it is forced.
    unsafe {
        let object = (f().Rf_findVarInFrame)(*v().R_GlobalEnv, symbol);
        if object == *v().R_UnboundValue {
            return None;
        }
        Some(value::forced(object))
    }
}
