//! A session's own places: its directories, and how R and whatever it starts learn of them.
//!
//! Both are made with as little as will do. Each directory costs the file system more than most of what a child does, and each
//! page of the parent's heap that a child writes to is copied: so R asks for its places when it needs them, and the environment is
//! put down in one piece.

use std::ffi::{CStr, CString, OsString, c_char};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};

use crate::ffi::{Sexp, f, sexptype, v};
use crate::value;

/// Where `install.packages` puts what a session needs: in the working directory, so that it travels with a snapshot.
const LIBRARY: &str = ".library";

/// What the worker puts beside the files of a snapshot: the objects. They are loaded, and no call's business.
const OBJECTS: &str = ".RData";

/// What [`tell`] tells, once this process is a session's. Never freed.
static OWN: AtomicPtr<Own> = AtomicPtr::new(ptr::null_mut());

/// R has asked since the last run.
static ASKED: AtomicBool = AtomicBool::new(false);

struct Own {
    work: String,
    library: String,
}

/// The places of a service's parent that its calls see.
pub(crate) struct Seen {
    work: PathBuf,
    /// What lies in the working directory.
    names: Vec<OsString>,
}

impl Seen {
    /// Looks at the places of this process below `dir`.
    pub(crate) fn look(dir: &Path) -> io::Result<Self> {
        let work = dir.join("work");
        let mut names = Vec::new();
        for entry in fs::read_dir(&work)? {
            let name = entry?.file_name();
            if name != LIBRARY && name != OBJECTS {
                names.push(name);
            }
        }
        Ok(Self { work, names })
    }
}

/// Makes the directories of a session below `dir`, goes there, and names them in the environment. What comes back is the
/// working directory.
pub(crate) fn take(dir: &Path) -> io::Result<PathBuf> {
    let work = dir.join("work");
    make(&work)?;
    let library = work.join(LIBRARY);
    settle(dir, work, library)
}

/// The same for a call. Its service's library is its own, too, and links stand for the other files.
pub(crate) fn take_for_call(dir: &Path, seen: &Seen) -> io::Result<PathBuf> {
    let work = dir.join("work");
    make(&work)?;
    for name in &seen.names {
        symlink(seen.work.join(name), work.join(name))?;
    }
    settle(dir, work, seen.work.join(LIBRARY))
}

fn settle(dir: &Path, work: PathBuf, library: PathBuf) -> io::Result<PathBuf> {
    let tmp = dir.join("tmp");
    make(&tmp)?;
    std::env::set_current_dir(&work).map_err(|error| {
        io::Error::other(format!("{} cannot be entered: {error}", work.display()))
    })?;
    name_in_environment(&[
        ("HOME", &work),
        ("PWD", &work),
        ("R_LIBS_USER", &library),
        ("R_SESSION_TMPDIR", &tmp),
        ("TMPDIR", &tmp),
        // Where R makes another directory for itself when code has removed the first.
        ("TMP", dir),
        ("XDG_CACHE_HOME", &tmp.join(".cache")),
    ])?;
    // SAFETY: a plain store; R keeps the name for ever.
    unsafe { *v().R_TempDir = c_string(&tmp)?.into_raw() };
    let text = |path: PathBuf| {
        path.into_os_string()
            .into_string()
            .map_err(|_| io::Error::other("its directory's name is not UTF-8"))
    };
    let own = Own {
        work: text(work.clone())?,
        library: text(library)?,
    };
    OWN.store(Box::into_raw(Box::new(own)), Relaxed);
    Ok(work)
}

/// Makes a directory that may be there already.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io::Error::other(format!(
                "{} cannot be made: {error}; the session's user must be able to pass through every directory above it",
                path.display()
            )))
        }
        _ => Ok(()),
    }
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Puts these variables in place of the parent's, and leaves out what was meant for its loader. Not with `setenv`, which looks for
/// each value in a tree that it keeps all over the heap.
fn name_in_environment(own: &[(&str, &Path)]) -> io::Result<()> {
    unsafe extern "C" {
        static mut environ: *mut *mut c_char;
    }
    let mut variables = Vec::with_capacity(64);
    for (name, path) in own {
        let mut entry = Vec::with_capacity(name.len() + path.as_os_str().len() + 2);
        entry.extend_from_slice(name.as_bytes());
        entry.push(b'=');
        entry.extend_from_slice(path.as_os_str().as_bytes());
        variables.push(CString::new(entry)?.into_raw());
    }
    let replaced = |entry: &[u8]| {
        let name = entry.split(|byte| *byte == b'=').next();
        name == Some(b"GLIBC_TUNABLES") || own.iter().any(|(own, _)| name == Some(own.as_bytes()))
    };
    // SAFETY: the process has one thread; `environ` is an array of C strings that a null pointer ends, and may be replaced by
    // another, which is never freed.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            if !replaced(CStr::from_ptr(*at).to_bytes()) {
                variables.push(*at);
            }
            at = at.add(1);
        }
        variables.push(std::ptr::null_mut());
        environ = Vec::leak(variables).as_mut_ptr();
    }
    Ok(())
}

/// Whether R has asked for its places since this was asked last: without that it has made no plot.
pub(crate) fn were_asked() -> bool {
    ASKED.swap(false, Relaxed)
}

/// For R, by way of `.Call`: the working directory and the session's library. `NULL` in a parent.
pub(crate) unsafe extern "C-unwind" fn tell() -> Sexp {
    ASKED.store(true, Relaxed);
    // SAFETY: R calls this; what is made is protected while more is made, and this frame owns nothing when R jumps. What was
    // stored is valid for good.
    unsafe {
        let Some(own) = OWN.load(Relaxed).as_ref() else {
            return *v().R_NilValue;
        };
        let both = (f().Rf_protect)((f().Rf_allocVector)(sexptype::STRING, 2));
        (f().SET_STRING_ELT)(both, 0, value::char(&own.work));
        (f().SET_STRING_ELT)(both, 1, value::char(&own.library));
        (f().Rf_unprotect)(1);
        both
    }
}
