//! Values between JSON and R, both ways without a detour over R text.

mod build;
mod json;
mod plan;
mod table;
mod text;
mod write;

pub(crate) use build::char;

use warren_rhost::session::{Ending, Input, Output, RType};

use crate::eval::{self, Failure};
use crate::ffi::{self, Sexp, f, v};
use json::Json;
use write::{Form, Refusal, Writer};

/// Assigns one input in the global environment. When that cannot be, how the run ends; the message names the input.
pub(crate) fn assign(input: &Input) -> Result<(), Ending> {
    let blame = |reason: String| refused(format!("input `{}`: {reason}", input.name));
    if input.name.is_empty() {
        return Err(refused("an input has an empty name".to_owned()));
    }
    ffi::c_string(&input.name).map_err(blame)?;
    let json = Json::parse(input.value.get()).map_err(blame)?;
    let plan = plan::plan(json, input.r#type).map_err(blame)?;
    eval::protected(|| {
        // SAFETY: inside a protected call; plan and name outlive it.
        unsafe {
            let value = (f().Rf_protect)(build::build(&plan));
            let symbol = symbol(&input.name);
            (f().Rf_defineVar)(symbol, value, *v().R_GlobalEnv);
            (f().Rf_unprotect)(1);
        }
    })
    .map_err(|failure| stopped(failure, blame))
}

fn refused(message: String) -> Ending {
    Ending::ValueError { message }
}

/// An active binding or a promise is code of the session's, which may be interrupted like any other.
fn stopped(failure: Failure, blame: impl Fn(String) -> Ending) -> Ending {
    match failure {
        Failure::Error(reason) => blame(reason),
        Failure::Interrupted => Ending::Interrupted,
    }
}

/// What reading an output gave.
pub(crate) struct Reading {
    /// Said on the console when a value has no JSON form.
    pub(crate) note: Option<String>,
}

/// Writes one output as JSON behind what `out` holds. When that cannot be, how the run ends; the message names the output.
pub(crate) fn read(output: &Output, out: &mut Vec<u8>, limit: usize) -> Result<Reading, Ending> {
    let blame = |reason: String| refused(format!("output `{}`: {reason}", output.name));
    if output.name.is_empty() {
        return Err(refused("an output has an empty name".to_owned()));
    }
    ffi::c_string(&output.name).map_err(blame)?;
    let (form, nested) = form_of(output.r#type);
    let mut writer = Writer {
        out,
        limit,
        nested,
        dropped: None,
    };
    let mut written = Ok(());
    eval::protected(|| {
        // SAFETY: inside a protected call; writer and name outlive it.
        unsafe {
            let value = (f().Rf_protect)(global(symbol(&output.name)));
            written = writer.value(value, form, 0);
            (f().Rf_unprotect)(1);
        }
    })
    .map_err(|failure| stopped(failure, blame))?;
    written.map_err(|refusal| {
        blame(match refusal {
            Refusal::TooLong => format!("its JSON is longer than the limit of {limit} bytes"),
            Refusal::TooDeep => "it is nested too deep".to_owned(),
            Refusal::NoMemory => "there is not enough memory for its JSON".to_owned(),
        })
    })?;
    let note = writer.dropped.map(|what| {
        format!(
            "Warning message:\noutput `{}` holds {what}, which has no JSON form: null is sent \n",
            output.name
        )
    });
    Ok(Reading { note })
}

fn form_of(declared: Option<RType>) -> (Form, Form) {
    match declared {
        None => (Form::Boxed, Form::Boxed),
        Some(RType::Vector) => (Form::Flat, Form::Unboxed),
        Some(RType::Matrix | RType::DataFrame) => (Form::Boxed, Form::Unboxed),
        Some(_) => (Form::Unboxed, Form::Unboxed),
    }
}

/// The symbol of a name.
///
/// # Safety
///
/// Runs inside a protected call.
pub(crate) unsafe fn symbol(name: &str) -> Sexp {
    // SAFETY: the fresh string is protected while it is interned as a symbol.
    unsafe {
        let text = (f().Rf_protect)(build::char(name));
        let symbol = (f().Rf_installTrChar)(text);
        (f().Rf_unprotect)(1);
        symbol
    }
}

/// The value of a global variable, promises forced; `NULL` when there is none.
///
/// # Safety
///
/// Runs inside a protected call.
unsafe fn global(symbol: Sexp) -> Sexp {
    // SAFETY: the global environment is always alive.
    unsafe {
        let value = (f().Rf_findVarInFrame)(*v().R_GlobalEnv, symbol);
        if value == *v().R_UnboundValue {
            return *v().R_NilValue;
        }
        forced(value)
    }
}

/// The value of a promise; anything else as it is.
///
/// # Safety
///
/// Runs inside a protected call.
pub(crate) unsafe fn forced(value: Sexp) -> Sexp {
    const PROMISE: i32 = 5;
    // SAFETY: a promise is protected while it is forced.
    unsafe {
        if (f().TYPEOF)(value) != PROMISE {
            return value;
        }
        (f().Rf_protect)(value);
        let forced = (f().Rf_eval)(value, *v().R_GlobalEnv);
        (f().Rf_unprotect)(1);
        forced
    }
}
