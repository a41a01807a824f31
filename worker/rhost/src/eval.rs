//! Evaluation on the host's own account: protected against jumps, silent, leaving no trace.

use std::ffi::{CStr, c_int, c_void};

use crate::console;
use crate::ffi::{PARSE_OK, Sexp, f, v};

/// R jumped out of a protected call.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An R error, as R prints it after `Error`.
    Error(String),
    /// An interrupt.
    Interrupted,
}

impl Failure {
    /// The text for a message.
    pub(crate) fn message(self) -> String {
        match self {
            Self::Error(text) => text,
            Self::Interrupted => "interrupted".to_owned(),
        }
    }
}

/// Calls `body`, in which R may jump.
///
/// The jump skips every destructor between R and here, so `body` must own nothing while it calls R; what it fills
/// belongs to the caller.
pub(crate) fn protected<F: FnMut()>(mut body: F) -> Result<(), Failure> {
    unsafe extern "C-unwind" fn call<F: FnMut()>(body: *mut c_void) {
        // SAFETY: `body` is the closure below, alive for the whole call.
        unsafe { (*body.cast::<F>())() }
    }

    let saved = console::begin_private();
    // SAFETY: a plain read.
    let protected_before = unsafe { *v().R_PPStackTop };
    // SAFETY: the error buffer is a static array of libR's; emptied to tell an error from an interrupt. `call` is given
    // the closure of this frame. R restores its own stacks after a jump.
    let done = unsafe {
        (f().R_curErrorBuf)().cast_mut().write(0);
        (f().R_ToplevelExec)(call::<F>, (&raw mut body).cast())
    };
    console::end_private(saved);
    // After a jump R sees to it itself.
    // SAFETY: a plain read.
    debug_assert_eq!(protected_before, unsafe { *v().R_PPStackTop });
    if done != 0 {
        return Ok(());
    }
    let text = console::error_text();
    Err(if text.is_empty() {
        Failure::Interrupted
    } else {
        Failure::Error(after_error(&text))
    })
}

/// What R prints after the word `Error`, without the summary of the call stack that follows it.
pub(crate) fn after_error(text: &str) -> String {
    let text = text.strip_prefix("Error").unwrap_or(text);
    let text = text.strip_prefix(": ").unwrap_or(text).trim();
    match text.rsplit_once('\n') {
        Some((message, calls)) if calls.starts_with("Calls: ") => message.trim_end().to_owned(),
        _ => text.to_owned(),
    }
}

/// Parses and evaluates code of the host's own in the base environment; the last value is kept from the collector for good.
pub(crate) fn run_own(code: &str) -> Result<Sexp, String> {
    let mut value = std::ptr::null_mut();
    let mut status = 0;
    protected(|| {
        // SAFETY: inside a protected call; fresh objects are protected while others are made.
        unsafe {
            let parsed = (f().Rf_protect)(parse_vector(code, &raw mut status));
            if status == PARSE_OK {
                for at in 0..(f().Rf_xlength)(parsed) {
                    value = (f().Rf_eval)((f().VECTOR_ELT)(parsed, at), *v().R_BaseEnv);
                }
                (f().R_PreserveObject)(value);
            }
            (f().Rf_unprotect)(1);
        }
    })
    .map_err(Failure::message)?;
    if status == PARSE_OK {
        Ok(value)
    } else {
        Err("the host's own R code does not parse".to_owned())
    }
}

/// Calls a function of the host's own without arguments.
pub(crate) fn call_own(function: Sexp) -> Result<(), Failure> {
    protected(|| {
        // SAFETY: inside a protected call; the function is preserved, the call is protected while it is evaluated.
        unsafe {
            let call = (f().Rf_protect)((f().Rf_lang1)(function));
            (f().Rf_eval)(call, *v().R_BaseEnv);
            (f().Rf_unprotect)(1);
        }
    })
}

/// Calls a function of the host's own with texts and copies the text it returns.
pub(crate) fn text_of(function: Sexp, arguments: &[&str]) -> Result<String, Failure> {
    let mut answer = String::new();
    protected(|| {
        // SAFETY: inside a protected call; objects are protected while used; `answer` belongs to the frame outside, and
        // no R function is called while it grows.
        unsafe {
            let count = c_int::try_from(arguments.len()).unwrap_or(0);
            let texts = (f().Rf_protect)((f().Rf_allocList)(count));
            let mut slot = texts;
            for argument in arguments {
                let text = (f().Rf_protect)(crate::value::char(argument));
                (f().SETCAR)(slot, (f().Rf_ScalarString)(text));
                (f().Rf_unprotect)(1);
                slot = (f().CDR)(slot);
            }
            let call = (f().Rf_protect)((f().Rf_lcons)(function, texts));
            let value = (f().Rf_protect)((f().Rf_eval)(call, *v().R_BaseEnv));
            let bytes = (f().Rf_translateCharUTF8)((f().STRING_ELT)(value, 0));
            answer.push_str(&CStr::from_ptr(bytes).to_string_lossy());
            (f().Rf_unprotect)(3);
        }
    })?;
    Ok(answer)
}

/// Makes `.Last.value` what it is in an R that has run nothing: unbound.
pub(crate) fn forget_last_value() {
    // It cannot be locked yet: no code of a user has run.
    let _ = protected(|| {
        // SAFETY: inside a protected call; symbols and the unbound value are never collected.
        unsafe {
            let name = (f().Rf_install)(c".Last.value".as_ptr());
            (f().Rf_defineVar)(name, *v().R_UnboundValue, *v().R_BaseEnv);
        }
    });
}

/// Parsed code, kept from the collector until it is dropped.
pub(crate) struct Parsed(Sexp);

impl Drop for Parsed {
    fn drop(&mut self) {
        // SAFETY: preserved when it was made; releasing does not jump.
        unsafe { (f().R_ReleaseObject)(self.0) }
    }
}

/// Parses code. None when R's parser does not take it.
pub(crate) fn parse(code: &str) -> Result<Option<Parsed>, Failure> {
    let mut status = 0;
    let mut parsed = std::ptr::null_mut();
    protected(|| {
        // SAFETY: inside a protected call; the result is protected until it is preserved.
        unsafe {
            let fresh = (f().Rf_protect)(parse_vector(code, &raw mut status));
            if status == PARSE_OK {
                (f().R_PreserveObject)(fresh);
                parsed = fresh;
            }
            (f().Rf_unprotect)(1);
        }
    })?;
    Ok((!parsed.is_null()).then_some(Parsed(parsed)))
}

/// Promises one of the expressions by the host's own function. False when there are no more.
pub(crate) fn promise_next(function: Sexp, parsed: &Parsed, at: isize) -> Result<bool, Failure> {
    let mut promised = false;
    protected(|| {
        // SAFETY: inside a protected call; `parsed` is preserved, the calls are protected while used. The expression is
        // quoted, or it would be evaluated as an argument.
        unsafe {
            if at < (f().Rf_xlength)(parsed.0) {
                let expression = (f().VECTOR_ELT)(parsed.0, at);
                let quote = (f().Rf_install)(c"quote".as_ptr());
                let quoted = (f().Rf_protect)((f().Rf_lang2)(quote, expression));
                let call = (f().Rf_protect)((f().Rf_lang2)(function, quoted));
                (f().Rf_eval)(call, *v().R_BaseEnv);
                (f().Rf_unprotect)(2);
                promised = true;
            }
        }
    })?;
    Ok(promised)
}

/// # Safety
///
/// Runs inside a protected call; `status` is valid.
unsafe fn parse_vector(code: &str, status: *mut c_int) -> Sexp {
    // SAFETY: the text is protected while it is parsed.
    unsafe {
        let text = (f().Rf_protect)((f().Rf_ScalarString)(crate::value::char(code)));
        let parsed = (f().R_ParseVector)(text, -1, status, *v().R_NilValue);
        (f().Rf_unprotect)(1);
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_text_keeps_its_call_and_loses_the_stack() {
        assert_eq!(after_error("Error: no\n"), "no");
        assert_eq!(
            after_error("Error in f(1) : no\nCalls: g -> f\n"),
            "in f(1) : no"
        );
        assert_eq!(
            after_error("Error in f(1) : \n  long\n"),
            "in f(1) : \n  long"
        );
    }
}
