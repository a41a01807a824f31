//! libR, loaded at run time.
//!
//! Nothing here is linked: the program builds and starts on a machine without R and says what is missing.

use std::ffi::{CStr, CString, c_char, c_double, c_int, c_uint, c_void};
use std::path::Path;
use std::sync::OnceLock;

/// An R object of any type: a pointer that R's garbage collector owns.
pub(crate) type Sexp = *mut c_void;

/// R's `Rboolean`.
pub(crate) type RBool = c_int;

/// What `R_ParseVector` says it met.
pub(crate) const PARSE_OK: c_int = 1;

/// `SEXPTYPE` numbers of `Rinternals.h`.
pub(crate) mod sexptype {
    use std::ffi::c_uint;

    pub(crate) const NIL: c_uint = 0;
    pub(crate) const SYMBOL: c_uint = 1;
    pub(crate) const PAIRLIST: c_uint = 2;
    pub(crate) const LOGICAL: c_uint = 10;
    pub(crate) const INTEGER: c_uint = 13;
    pub(crate) const REAL: c_uint = 14;
    pub(crate) const COMPLEX: c_uint = 15;
    pub(crate) const STRING: c_uint = 16;
    pub(crate) const LIST: c_uint = 19;
    pub(crate) const RAW: c_uint = 24;
}

/// `cetype_t` of `Rinternals.h`: text in UTF-8.
pub(crate) const CE_UTF8: c_int = 1;

/// A complex number as R stores it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Complex {
    pub(crate) re: c_double,
    pub(crate) im: c_double,
}

/// `R_pstream_format_t`: whichever the stream itself names.
pub(crate) const ANY_FORMAT: c_int = 0;
/// `R_pstream_format_t`: binary, big-endian.
pub(crate) const XDR_FORMAT: c_int = 3;

/// `struct R_outpstream_st`. Only its first member is touched here; R fills the rest, within the space left for it.
#[repr(C)]
pub(crate) struct OutStream {
    pub(crate) data: *mut c_void,
    rest: [usize; 31],
}

/// `struct R_inpstream_st`, likewise. R of today needs 136 bytes.
#[repr(C)]
pub(crate) struct InStream {
    pub(crate) data: *mut c_void,
    rest: [usize; 63],
}

impl OutStream {
    /// For `R_InitOutPStream` to fill.
    pub(crate) const EMPTY: Self = Self {
        data: std::ptr::null_mut(),
        rest: [0; 31],
    };
}

impl InStream {
    /// For `R_InitInPStream` to fill.
    pub(crate) const EMPTY: Self = Self {
        data: std::ptr::null_mut(),
        rest: [0; 63],
    };
}

/// A callback of `R_outpstream_st`.
pub(crate) type OutChar = unsafe extern "C-unwind" fn(*mut OutStream, c_int);
/// A callback of `R_outpstream_st`.
pub(crate) type OutBytes = unsafe extern "C-unwind" fn(*mut OutStream, *mut c_void, c_int);
/// A callback of `R_inpstream_st`.
pub(crate) type InChar = unsafe extern "C-unwind" fn(*mut InStream) -> c_int;
/// A callback of `R_inpstream_st`.
pub(crate) type InBytes = unsafe extern "C-unwind" fn(*mut InStream, *mut c_void, c_int);

macro_rules! functions {
    ($($name:ident($($arg:ty),*) $(-> $ret:ty)?;)*) => {
        /// Functions of libR under their own names. May jump unless their own documentation says otherwise.
        #[allow(non_snake_case, reason = "these are R's names")]
        pub(crate) struct Functions {
            $(pub(crate) $name: unsafe extern "C-unwind" fn($($arg),*) $(-> $ret)?,)*
        }

        impl Functions {
            fn load(library: &Library) -> Result<Self, String> {
                Ok(Self {
                    $($name: {
                        let symbol = library.symbol(stringify!($name))?;
                        // SAFETY: libR exports a function of this name with this C signature.
                        unsafe { std::mem::transmute::<*mut c_void,
                            unsafe extern "C-unwind" fn($($arg),*) $(-> $ret)?>(symbol) }
                    },)*
                })
            }
        }
    };
}

macro_rules! variables {
    ($($name:ident: $type:ty;)*) => {
        /// Addresses of libR's variables under their own names.
        #[allow(non_snake_case, reason = "these are R's names")]
        pub(crate) struct Variables {
            $(pub(crate) $name: *mut $type,)*
        }

        impl Variables {
            fn load(library: &Library) -> Result<Self, String> {
                Ok(Self { $($name: library.symbol(stringify!($name))?.cast(),)* })
            }
        }
    };
}

functions! {
    Rf_initialize_R(c_int, *mut *mut c_char) -> c_int;
    setup_Rmainloop();
    run_Rmainloop();
    R_ToplevelExec(unsafe extern "C-unwind" fn(*mut c_void), *mut c_void) -> RBool;
    R_ParseVector(Sexp, c_int, *mut c_int, Sexp) -> Sexp;
    R_curErrorBuf() -> *const c_char;
    R_gc();
    Rf_eval(Sexp, Sexp) -> Sexp;
    Rf_protect(Sexp) -> Sexp;
    Rf_unprotect(c_int);
    R_PreserveObject(Sexp);
    R_ReleaseObject(Sexp);
    R_MakeExternalPtrFn(Native, Sexp, Sexp) -> Sexp;
    Rf_install(*const c_char) -> Sexp;
    Rf_installTrChar(Sexp) -> Sexp;
    Rf_defineVar(Sexp, Sexp, Sexp);
    Rf_findVarInFrame(Sexp, Sexp) -> Sexp;
    Rf_allocVector(c_uint, isize) -> Sexp;
    Rf_lang1(Sexp) -> Sexp;
    Rf_lang2(Sexp, Sexp) -> Sexp;
    Rf_lcons(Sexp, Sexp) -> Sexp;
    Rf_ScalarString(Sexp) -> Sexp;
    Rf_mkCharLenCE(*const c_char, c_int, c_int) -> Sexp;
    Rf_translateCharUTF8(Sexp) -> *const c_char;
    Rf_getCharCE(Sexp) -> c_int;
    R_CHAR(Sexp) -> *const c_char;
    Rf_GetOption1(Sexp) -> Sexp;
    Rf_getAttrib(Sexp, Sexp) -> Sexp;
    Rf_setAttrib(Sexp, Sexp, Sexp) -> Sexp;
    Rf_inherits(Sexp, *const c_char) -> RBool;
    Rf_xlength(Sexp) -> isize;
    Rf_PairToVectorList(Sexp) -> Sexp;
    TYPEOF(Sexp) -> c_int;
    LOGICAL(Sexp) -> *mut c_int;
    INTEGER(Sexp) -> *mut c_int;
    REAL(Sexp) -> *mut c_double;
    COMPLEX(Sexp) -> *mut Complex;
    RAW(Sexp) -> *mut u8;
    STRING_ELT(Sexp, isize) -> Sexp;
    SET_STRING_ELT(Sexp, isize, Sexp);
    VECTOR_ELT(Sexp, isize) -> Sexp;
    SET_VECTOR_ELT(Sexp, isize, Sexp) -> Sexp;
    Rf_allocList(c_int) -> Sexp;
    CAR(Sexp) -> Sexp;
    CDR(Sexp) -> Sexp;
    TAG(Sexp) -> Sexp;
    SETCAR(Sexp, Sexp) -> Sexp;
    SET_TAG(Sexp, Sexp);
    R_lsInternal3(Sexp, RBool, RBool) -> Sexp;
    R_CheckUserInterrupt();
    R_InitOutPStream(*mut OutStream, *mut c_void, c_int, c_int, OutChar, OutBytes, *mut c_void, Sexp);
    R_InitInPStream(*mut InStream, *mut c_void, c_int, InChar, InBytes, *mut c_void, Sexp);
    R_Serialize(Sexp, *mut OutStream);
    R_Unserialize(*mut InStream) -> Sexp;
    vmaxget() -> *mut c_void;
    vmaxset(*const c_void);
}

/// A function of the host's own for `.Call`, without arguments.
pub(crate) type Native = unsafe extern "C-unwind" fn() -> Sexp;
/// `ptr_R_ReadConsole`.
pub(crate) type ReadConsole =
    unsafe extern "C-unwind" fn(*const c_char, *mut u8, c_int, c_int) -> c_int;
/// `ptr_R_WriteConsoleEx`.
pub(crate) type WriteConsoleEx = unsafe extern "C-unwind" fn(*const c_char, c_int, c_int);
/// `ptr_R_Busy`.
pub(crate) type Busy = unsafe extern "C-unwind" fn(c_int);
/// `ptr_R_CleanUp`.
pub(crate) type CleanUp = unsafe extern "C-unwind" fn(c_int, c_int, c_int);
/// A callback without arguments.
pub(crate) type Nothing = unsafe extern "C-unwind" fn();
/// `ptr_R_Suicide` and `ptr_R_ShowMessage`.
pub(crate) type Message = unsafe extern "C-unwind" fn(*const c_char);

variables! {
    R_SignalHandlers: c_int;
    R_Interactive: RBool;
    R_NoEcho: RBool;
    R_Consolefile: *mut c_void;
    R_Outputfile: *mut c_void;
    R_TempDir: *mut c_char;
    R_isForkedChild: RBool;
    R_CStackStart: usize;
    R_PPStackTop: c_int;
    R_interrupts_pending: c_int;
    R_GlobalEnv: Sexp;
    R_BaseEnv: Sexp;
    R_NilValue: Sexp;
    R_UnboundValue: Sexp;
    R_NaString: Sexp;
    R_NamesSymbol: Sexp;
    R_ClassSymbol: Sexp;
    R_DimSymbol: Sexp;
    R_LevelsSymbol: Sexp;
    R_RowNamesSymbol: Sexp;
    ptr_R_ReadConsole: Option<ReadConsole>;
    ptr_R_WriteConsole: Option<WriteConsoleEx>;
    ptr_R_WriteConsoleEx: Option<WriteConsoleEx>;
    ptr_R_Busy: Option<Busy>;
    ptr_R_CleanUp: Option<CleanUp>;
    ptr_R_ResetConsole: Option<Nothing>;
    ptr_R_FlushConsole: Option<Nothing>;
    ptr_R_ClearerrConsole: Option<Nothing>;
    ptr_R_ShowMessage: Option<Message>;
    ptr_R_Suicide: Option<Message>;
}

/// Raises an R error: format and arguments. Never returns.
type Raise = unsafe extern "C-unwind" fn(*const c_char, ...) -> !;

/// All of libR that the host uses.
struct Api {
    raise: Raise,
    f: Functions,
    v: Variables,
}

// SAFETY: R and everything that touches it lives on the one thread of this program.
unsafe impl Send for Api {}
// SAFETY: as above.
unsafe impl Sync for Api {}

static API: OnceLock<Api> = OnceLock::new();

/// The loaded libR. Only code that runs after [`load`] calls this.
fn api() -> &'static Api {
    API.get()
        .expect("libR is loaded before anything asks for it")
}

/// Functions of libR.
pub(crate) fn f() -> &'static Functions {
    &api().f
}

/// Variables of libR.
pub(crate) fn v() -> &'static Variables {
    &api().v
}

/// Raises an R error with this text.
///
/// # Safety
///
/// Called below an R frame. Jumps: no frame from here up to R's own may own anything.
pub(crate) unsafe fn raise(text: &CStr) -> ! {
    // SAFETY: the caller's promise; R copies the text.
    unsafe { (api().raise)(c"%s".as_ptr(), text.as_ptr()) }
}

/// Opens libR for the life of the process and binds every symbol the host needs.
pub(crate) fn load(path: &Path, r_version: &str) -> Result<(), String> {
    let library = Library::open(path, r_version)?;
    let raise = library.symbol("Rf_error")?;
    // SAFETY: libR exports a function of this name with this C signature.
    let raise = unsafe { std::mem::transmute::<*mut c_void, Raise>(raise) };
    let api = Api {
        raise,
        f: Functions::load(&library)?,
        v: Variables::load(&library)?,
    };
    API.set(api).map_err(|_| "libR was loaded twice".to_owned())
}

struct Library<'a> {
    handle: *mut c_void,
    path: &'a Path,
    r_version: &'a str,
}

impl<'a> Library<'a> {
    fn open(path: &'a Path, r_version: &'a str) -> Result<Self, String> {
        let name = c_string(&path.to_string_lossy())?;
        // SAFETY: `name` is a C string; R's constructors expect to run on the main thread, which this is.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if handle.is_null() {
            return Err(format!(
                "{} cannot be loaded: {}",
                path.display(),
                dl_error()
            ));
        }
        Ok(Self {
            handle,
            path,
            r_version,
        })
    }

    fn symbol(&self, name: &str) -> Result<*mut c_void, String> {
        let c_name = c_string(name)?;
        // SAFETY: the handle came from dlopen and is never closed.
        let symbol = unsafe { libc::dlsym(self.handle, c_name.as_ptr()) };
        if symbol.is_null() {
            return Err(format!(
                "{} of R {} has no symbol `{name}`; warren-rhost needs R 4.0 or later",
                self.path.display(),
                self.r_version
            ));
        }
        Ok(symbol)
    }
}

fn dl_error() -> String {
    // SAFETY: dlerror returns a C string or null, valid until the next dl call on this thread.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "no reason given".to_owned();
    }
    // SAFETY: not null, so a C string.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// A C string of text that must not hold NUL.
pub(crate) fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("`{}` holds a NUL", text.escape_debug()))
}
