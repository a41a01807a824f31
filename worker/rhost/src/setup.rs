//! R in the parent: started, prepared, quiet.

use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::console;
use crate::eval;
use crate::ffi::{self, Sexp, f, v};
use crate::places;

/// R functions that the host keeps for itself, whatever user code does to its environments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Helpers {
    /// From code that does not parse to R's message.
    pub(crate) parse_message: Sexp,
    /// From code to the name under which its expressions can be promised; empty when there is none.
    pub(crate) choose: Sexp,
    /// Binds that name to a promise of an expression.
    pub(crate) promise: Sexp,
    /// Takes down what a run left open.
    pub(crate) end_of_run: Sexp,
    /// Holds back warnings while the host itself evaluates the code of objects.
    pub(crate) hush: Sexp,
    /// No longer.
    pub(crate) speak: Sexp,
    /// From a name and a file to an object of that name; what is wrong with the file, or nothing.
    pub(crate) read_object: Sexp,
    /// Removes the object of a name; empty when there is none.
    pub(crate) remove_object: Sexp,
    /// Takes down what the calls of a service would share.
    pub(crate) before_calls: Sexp,
    /// Remembers what a rehearsal may change.
    pub(crate) remember: Sexp,
    /// Puts it back; what could not be, or nothing.
    pub(crate) put_back: Sexp,
    /// The device for plots, as the option `device` has it.
    pub(crate) device: Sexp,
    /// A call that tells how many sinks the output has: none without user code.
    pub(crate) sinks: Sexp,
    /// A call that tells the connection of messages: 2 without user code.
    pub(crate) messages: Sexp,
}

/// How many objects R makes between two collections while it is prepared. A collection takes a few milliseconds.
const ALLOCATIONS: u32 = 20_000;

/// Initialises R, loads the packages and runs the warm-up.
pub(crate) fn start(home: &Path, r_version: &str, preload: &[String]) -> Result<Helpers, String> {
    ffi::load(&home.join("lib/libR.so"), r_version)?;
    initialise();
    let prepared = prepare(preload);
    // Nobody needs the parent's own: children have theirs, and a parent that is killed could not remove it.
    // SAFETY: a C string that R set while it was initialised.
    let directory = unsafe { CStr::from_ptr(*v().R_TempDir) };
    let _ = std::fs::remove_dir_all(OsStr::from_bytes(directory.to_bytes()));
    prepared
}

/// Collects garbage often meanwhile: what R once asked for stays in the parent's memory, and R by itself asks for twice what it
/// needs.
fn prepare(preload: &[String]) -> Result<Helpers, String> {
    eval::run_own(&format!("gctorture2({ALLOCATIONS}L)"))?;
    let prepared = prepare_tidily(preload);
    eval::run_own("gctorture2(0L)")?;
    let helpers = prepared?;
    leave_no_trace()?;
    Ok(helpers)
}

fn prepare_tidily(preload: &[String]) -> Result<Helpers, String> {
    for package in preload {
        load_package(package)?;
    }
    eval::run_own(include_str!("prelude.R"))
        .map_err(|error| format!("R's warm-up failed: {error}"))?;
    let helpers = helpers()?;
    // Once each, so that they are warm, too.
    eval::text_of(helpers.parse_message, &["a b"]).map_err(eval::Failure::message)?;
    eval::call_own(helpers.end_of_run).map_err(eval::Failure::message)?;
    Ok(helpers)
}

fn initialise() {
    let arguments = ["R", "--vanilla", "--no-echo", "--no-readline"];
    let mut pointers: Vec<*mut c_char> = arguments
        .iter()
        .filter_map(|text| CString::new(*text).ok())
        // R keeps the pointers for the life of the process.
        .map(CString::into_raw)
        .collect();
    let count = c_int::try_from(pointers.len()).unwrap_or(0);
    // SAFETY: first calls into libR, on the main thread, in the order that Rinterface.h asks for.
    unsafe {
        // Handlers would pass user signals to R's own quit and save code.
        *v().R_SignalHandlers = 0;
        (f().Rf_initialize_R)(count, pointers.as_mut_ptr());
        *v().R_Interactive = 0;
        console::install();
        (f().setup_Rmainloop)();
        // Only with prompts can a browser's be told from the top level's; they are never printed.
        *v().R_NoEcho = 0;
        // From now on an error must never end the process.
        *v().R_Interactive = 1;
    }
}

fn helpers() -> Result<Helpers, String> {
    let make = eval::run_own(include_str!("helpers.R"))?;
    let list = eval::call_with_native(make, places::tell).map_err(eval::Failure::message)?;
    // SAFETY: the function of helpers.R returns a list of that length, which is kept from the collector.
    let item = |at| unsafe { (f().VECTOR_ELT)(list, at) };
    Ok(Helpers {
        parse_message: item(0),
        choose: item(1),
        promise: item(2),
        end_of_run: item(3),
        hush: item(4),
        speak: item(5),
        read_object: item(6),
        remove_object: item(7),
        before_calls: item(8),
        remember: item(9),
        put_back: item(10),
        sinks: item(11),
        messages: item(12),
        // R itself would hand out a copy.
        device: eval::kept_option(c"device").map_err(eval::Failure::message)?,
    })
}

fn load_package(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(format!("`{name}` is not the name of an R package"));
    }
    eval::run_own(&format!("loadNamespace('{name}')"))
        .map(|_| ())
        .map_err(|error| format!("package `{name}` cannot be preloaded: {error}"))
}

/// Whatever the warm-up and the packages did: no seed that every child would share, a heap in
/// order.
fn leave_no_trace() -> Result<(), String> {
    eval::run_own("suppressWarnings(rm(list = '.Random.seed', envir = globalenv()))")?;
    eval::protected(|| {
        // SAFETY: inside a protected call.
        unsafe { (f().R_gc)() }
    })
    .map_err(eval::Failure::message)
}

/// How long a thread that has done its work may take to be gone from the list of the process.
const THREADS_END: Duration = Duration::from_millis(500);
/// Between two looks at that list.
const LOOK: Duration = Duration::from_millis(10);

/// A fork copies one thread only; a lock that another one holds stays locked for ever.
pub(crate) fn single_threaded(preload: &[String]) -> Result<(), String> {
    let threads = threads()?;
    if threads == 1 {
        return Ok(());
    }
    Err(format!(
        "R has {threads} threads after loading its BLAS and the packages [{}], so it cannot be forked safely. Leave out \
         the package that starts threads, or use a BLAS without them.",
        preload.join(", ")
    ))
}

/// The same for the process of a service, after its own code has run.
pub(crate) fn single_threaded_service() -> Result<(), String> {
    let threads = threads()?;
    if threads == 1 {
        return Ok(());
    }
    Err(format!(
        "its code left {threads} threads running, so its process cannot be forked safely"
    ))
}

/// How many threads this process has, when it has more than one for longer than one takes to end.
fn threads() -> Result<usize, String> {
    let began = Instant::now();
    loop {
        let tasks = std::fs::read_dir("/proc/self/task")
            .map_err(|error| format!("/proc/self/task cannot be read: {error}"))?;
        let threads = tasks.count();
        if threads == 1 || began.elapsed() > THREADS_END {
            return Ok(threads);
        }
        std::thread::sleep(LOOK);
    }
}
