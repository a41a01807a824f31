//! R's console callbacks.
//!
//! In the parent nobody listens and output is dropped. In a child everything goes to descriptor 1 at once: the kernel's
//! pipe is what keeps it in order with `system()`, C code and forked processes, so nothing is buffered here.
//!
//! The callbacks run below R frames. Those that raise an R error own nothing when they do.

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::ffi::{CStr, c_char, c_int};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::ffi::{self, f, v};
use crate::run;

/// Process id of the session's process once it has forked; 0 in a parent.
static CHILD: AtomicI32 = AtomicI32::new(0);
/// R evaluates something, as far as it says so: downloads of R's own end with "not busy", too.
static BUSY: AtomicBool = AtomicBool::new(false);
/// The buffer of R's main loop. A request for input into any other is not the top-level prompt.
static TOP_LEVEL: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
/// Output belongs to the host's own evaluation and is dropped.
static MUTED: AtomicBool = AtomicBool::new(false);
/// A SIGINT came during this run.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// A digest of R's error buffer when an interrupt seemed to be printed.
static BEFORE_INTERRUPT: AtomicU64 = AtomicU64::new(0);
/// A digest of R's error buffer when the run began: until then it holds an earlier error, for `geterrmessage()`.
static BEFORE_RUN: AtomicU64 = AtomicU64::new(0);
/// The last thing on the error stream that looked like the reason of a jump to top level.
static REASON: AtomicU8 = AtomicU8::new(Reason::Unknown as u8);
/// The code that user code wants run after an error failed itself: R's buffer no longer holds the error that counts.
static WRAPUP_FAILED: AtomicBool = AtomicBool::new(false);

/// What R prints before the error of such code.
const WRAPUP: &[u8] = b"Error during wrapup: ";

thread_local! {
    /// The last error that R printed.
    static PRINTED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why R left the code and returned to its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    /// Nothing was printed: an invoked `abort` restart, or messages are switched off or diverted.
    Unknown,
    Error,
    Interrupt,
    Browser,
}

/// Text that `browser()` and `debug()` are answered with.
const NO_BROWSER: &str = "browser() is not available: nobody can answer it";

/// Puts the callbacks in place. Before R's main loop is set up.
pub(crate) fn install() {
    // SAFETY: R has been initialised and runs no code yet; the callbacks have the signatures of Rinterface.h.
    unsafe {
        *v().R_Consolefile = std::ptr::null_mut();
        *v().R_Outputfile = std::ptr::null_mut();
        *v().ptr_R_WriteConsole = None;
        *v().ptr_R_WriteConsoleEx = Some(write_console);
        *v().ptr_R_ReadConsole = Some(read_console);
        *v().ptr_R_Busy = Some(busy);
        *v().ptr_R_CleanUp = Some(clean_up);
        *v().ptr_R_ResetConsole = Some(reset_console);
        *v().ptr_R_FlushConsole = Some(nothing);
        *v().ptr_R_ClearerrConsole = Some(nothing);
        *v().ptr_R_ShowMessage = Some(show_message);
        *v().ptr_R_Suicide = Some(suicide);
    }
}

/// From here on this process is a session's.
pub(crate) fn become_child(pid: i32) {
    CHILD.store(pid, Relaxed);
}

/// Installs the SIGINT handler of a child.
pub(crate) fn handle_interrupts() {
    // SAFETY: the handler only stores to memory; `sigaction` is zeroed and then filled.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_interrupt as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGINT, &raw const action, std::ptr::null_mut());
    }
}

/// Forgets what an earlier run left: late interrupts, the reason of its end.
pub(crate) fn begin_run() {
    INTERRUPTED.store(false, Relaxed);
    REASON.store(Reason::Unknown as u8, Relaxed);
    WRAPUP_FAILED.store(false, Relaxed);
    BEFORE_RUN.store(digest(error_buffer()), Relaxed);
    // SAFETY: a plain store to a variable of libR's.
    unsafe { *v().R_interrupts_pending = 0 };
}

/// Why the run that was just left ended early, and R's text of the error.
pub(crate) fn reason() -> (Reason, String) {
    let now = digest(error_buffer());
    let unchanged = BEFORE_INTERRUPT.load(Relaxed) == now;
    let text = if WRAPUP_FAILED.load(Relaxed) {
        PRINTED.with_borrow(|printed| String::from_utf8_lossy(printed).into_owned())
    } else {
        error_text()
    };
    let reason = match REASON.load(Relaxed) {
        1 => Reason::Error,
        2 if unchanged => Reason::Interrupt,
        3 => Reason::Browser,
        _ if BEFORE_RUN.load(Relaxed) != now => Reason::Error,
        _ if INTERRUPTED.load(Relaxed) => Reason::Interrupt,
        _ => Reason::Unknown,
    };
    match reason {
        Reason::Browser => (reason, NO_BROWSER.to_owned()),
        _ => (reason, text),
    }
}

/// What R printed, or would have printed, for its last error.
pub(crate) fn error_text() -> String {
    String::from_utf8_lossy(error_buffer()).into_owned()
}

/// Empties R's error buffer, so that an error to come can be told from none, and gives what it held.
pub(crate) fn take_error() -> Vec<u8> {
    let earlier = error_buffer().to_vec();
    // SAFETY: the buffer is a static array that R itself writes.
    unsafe { (f().R_curErrorBuf)().cast_mut().write(0) };
    earlier
}

/// Puts back what [`take_error`] gave.
pub(crate) fn put_back_error(earlier: &[u8]) {
    // SAFETY: it came from this static array, so it and the end of a C string fit.
    unsafe {
        let buffer = (f().R_curErrorBuf)().cast_mut();
        std::ptr::copy_nonoverlapping(earlier.as_ptr(), buffer.cast(), earlier.len());
        buffer.add(earlier.len()).write(0);
    }
}

/// R's buffer for the text of its last error.
fn error_buffer() -> &'static [u8] {
    // SAFETY: a C string in a static buffer of libR; nobody keeps the slice while R runs.
    unsafe { CStr::from_ptr((f().R_curErrorBuf)()) }.to_bytes()
}

/// State that an evaluation of the host's own must not disturb.
#[derive(Clone, Copy)]
pub(crate) struct Saved {
    busy: bool,
    muted: bool,
    reason: u8,
}

/// Before the host evaluates something itself: no output, no input.
pub(crate) fn begin_private() -> Saved {
    let saved = Saved {
        busy: BUSY.load(Relaxed),
        muted: MUTED.load(Relaxed),
        reason: REASON.load(Relaxed),
    };
    BUSY.store(true, Relaxed);
    MUTED.store(true, Relaxed);
    saved
}

/// After it.
pub(crate) fn end_private(saved: Saved) {
    BUSY.store(saved.busy, Relaxed);
    MUTED.store(saved.muted, Relaxed);
    REASON.store(saved.reason, Relaxed);
}

/// Drops what R prints, or no longer.
pub(crate) fn mute(mute: bool) {
    MUTED.store(mute, Relaxed);
}

/// Writes text of the host's own to the console.
pub(crate) fn say(text: &str) {
    put(text.as_bytes());
}

unsafe extern "C-unwind" fn write_console(text: *const c_char, length: c_int, stream: c_int) {
    if MUTED.load(Relaxed) || CHILD.load(Relaxed) == 0 {
        return;
    }
    // SAFETY: R hands over `length` bytes that stay valid during the call.
    let bytes = unsafe {
        std::slice::from_raw_parts(text.cast::<u8>(), usize::try_from(length).unwrap_or(0))
    };
    if stream != 0 {
        note_reason(bytes);
    }
    put(bytes);
}

/// An error is printed whole and equals R's error buffer; an interrupt prints a lone line end and leaves the buffer as
/// it is. The signal itself is no proof: `Sys.sleep` puts R's own handler in place of ours.
fn note_reason(bytes: &[u8]) {
    let error = error_buffer();
    if !bytes.is_empty() && bytes == error {
        REASON.store(Reason::Error as u8, Relaxed);
        PRINTED.with_borrow_mut(|printed| {
            printed.clear();
            printed.extend_from_slice(bytes);
        });
    } else if bytes == WRAPUP {
        WRAPUP_FAILED.store(true, Relaxed);
    } else if bytes == b"\n" {
        BEFORE_INTERRUPT.store(digest(error), Relaxed);
        REASON.store(Reason::Interrupt as u8, Relaxed);
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn put(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the slice is valid; descriptor 1 may be anything, the kernel checks it.
        let written = unsafe { libc::write(1, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {
            }
            // Nobody reads any more, or user code closed the descriptor.
            Err(_) => return,
        }
    }
}

unsafe extern "C-unwind" fn read_console(
    prompt: *const c_char,
    buffer: *mut u8,
    length: c_int,
    _history: c_int,
) -> c_int {
    // The main loop asks first, and always with the same buffer of its own frame.
    let top_level = TOP_LEVEL
        .compare_exchange(std::ptr::null_mut(), buffer, Relaxed, Relaxed)
        .map_or_else(|first| first == buffer, |_| true);
    // SAFETY: R passes a C string and a buffer of `length` bytes.
    let (prompt, buffer) = unsafe {
        (
            CStr::from_ptr(prompt),
            std::slice::from_raw_parts_mut(buffer, usize::try_from(length).unwrap_or(0)),
        )
    };
    if !top_level {
        // The host evaluates something itself, and comes upon a function that the session debugs, or a promise that asks:
        // at the end of its input a browser goes on, without a trace in the buffer from which R parses.
        if MUTED.load(Relaxed) {
            return 0;
        }
        // R makes up a browser's prompt, and says that it is not busy before it asks.
        if !BUSY.load(Relaxed) && prompt.to_bytes().starts_with(b"Browse[") {
            REASON.store(Reason::Browser as u8, Relaxed);
            say("Error: ");
            say(NO_BROWSER);
            say("\n");
            buffer[..3].copy_from_slice(b"Q\n\0");
            return 1;
        }
        // SAFETY: jumps to R's error handling; this frame and its callers below R own nothing.
        unsafe {
            ffi::raise(c"there is no standard input: nobody can answer");
        }
    }
    // SAFETY: getpid has no preconditions.
    if unsafe { libc::getpid() } != CHILD.load(Relaxed) {
        // A process that user code forked fell back to the prompt: the session's socket is not its own.
        // SAFETY: ends this process without running anything of R's.
        unsafe { libc::_exit(1) };
    }
    // SAFETY: a plain store. At the prompt R must be interactive, or it would end the process after an error.
    unsafe { *v().R_Interactive = 1 };
    // R clears the buffer when it (re)starts its loop, and only then: so the code was left by a jump.
    let restarted = buffer[0] == 0;
    run::next_line(buffer, restarted);
    1
}

/// R says so right before it evaluates (1), and right before it asks for input at a prompt or after a download (0).
unsafe extern "C-unwind" fn busy(which: c_int) {
    BUSY.store(which != 0, Relaxed);
    if which != 0 {
        // SAFETY: a plain store. While code runs `interactive()` is FALSE, as for any script.
        unsafe { *v().R_Interactive = 0 };
    }
}

/// Called on the way to the prompt after an error or interrupt, before R asks whether it is interactive.
unsafe extern "C-unwind" fn reset_console() {
    // SAFETY: a plain store.
    unsafe { *v().R_Interactive = 1 };
}

unsafe extern "C-unwind" fn nothing() {}

unsafe extern "C-unwind" fn show_message(text: *const c_char) {
    // SAFETY: R passes a C string.
    let text = unsafe { CStr::from_ptr(text) };
    if CHILD.load(Relaxed) != 0 {
        put(text.to_bytes());
        put(b"\n");
    }
}

/// R cannot go on. The text is the last thing the session says.
unsafe extern "C-unwind" fn suicide(text: *const c_char) {
    // SAFETY: R passes a C string; the process ends without running anything of R's.
    unsafe {
        put(b"Fatal error: ");
        put(CStr::from_ptr(text).to_bytes());
        put(b"\n");
        libc::_exit(2);
    }
}

/// `quit()` in any spelling ends here. It is an R error: a session is ended by its owner's call, not by its code.
unsafe extern "C-unwind" fn clean_up(_save: c_int, status: c_int, _run_last: c_int) {
    // SAFETY: getpid has no preconditions; `_exit` ends a process that user code forked; the error jumps, and this frame
    // owns nothing.
    unsafe {
        if libc::getpid() != CHILD.load(Relaxed) {
            libc::_exit(status);
        }
        ffi::raise(c"code cannot quit R here: close the session instead");
    }
}

extern "C" fn on_interrupt(_signal: c_int) {
    INTERRUPTED.store(true, Relaxed);
    // SAFETY: R polls this flag; storing an int is safe in a signal handler.
    unsafe { v().R_interrupts_pending.write_volatile(1) };
}
