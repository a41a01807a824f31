//! A crash that can tell why: C code that used up the stack.
//!
//! On a full stack no handler can run, so this one has a stack of its own. It only takes a note and lets the signal do
//! its work. The note lies on a page that the child shares with its parent, because the child itself cannot tell any more.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering::Relaxed};

use crate::ffi::v;

/// The note of this process, once it is a session's.
static NOTE: AtomicPtr<AtomicBool> = AtomicPtr::new(ptr::null_mut());
/// Whose note it is: a process that user code forked has none.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Where the stack begins, and the lowest address that it might have grown to.
static STACK_START: AtomicUsize = AtomicUsize::new(0);
static STACK_END: AtomicUsize = AtomicUsize::new(0);

/// What R itself says of it.
const TEXT: &[u8] = b"Error: segfault from C stack overflow\n";

/// Below the stack the kernel leaves at least this much room, so a fault there is nothing else.
const ROOM_BELOW: usize = 128 << 20;

const PAGE: usize = 4096;

/// The page that parent and child share.
pub(crate) struct Note(*mut c_void);

impl Note {
    /// Before the fork. The page costs no memory until something is written.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: a new mapping at a place of the kernel's choice.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self(page))
        }
    }

    /// After the fork, in the parent: children to come do not get this page.
    pub(crate) fn keep(&self) {
        // SAFETY: the mapping is this value's own. Should it fail, a sibling could forge a note, and no more.
        unsafe { libc::madvise(self.0, PAGE, libc::MADV_DONTFORK) };
    }

    /// Whether the child noted that its C stack was full.
    pub(crate) fn says_stack_overflow(&self) -> bool {
        // SAFETY: the mapping lives as long as this value and is aligned. The child may write any byte, so it is read as one.
        unsafe { self.0.cast::<u8>().read_volatile() != 0 }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own.
        unsafe { libc::munmap(self.0, PAGE) };
    }
}

/// Room for the handler: larger than what any processor's registers take.
struct Alternate(UnsafeCell<[u8; 1 << 16]>);

// SAFETY: only the kernel writes there, for the one thread of this process.
unsafe impl Sync for Alternate {}

static ALTERNATE: Alternate = Alternate(UnsafeCell::new([0; 1 << 16]));

/// In the child: from here on a full C stack is noted before the process dies of it.
pub(crate) fn watch(note: &Note) -> io::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Stack)
        .current
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(0);
    // SAFETY: a plain read; R found the start of the stack when it was initialised.
    let start = unsafe { *v().R_CStackStart };
    STACK_START.store(start, Relaxed);
    STACK_END.store(start.saturating_sub(limit.max(ROOM_BELOW)), Relaxed);
    NOTE.store(note.0.cast(), Relaxed);
    OWNER.store(rustix::process::getpid().as_raw_pid(), Relaxed);
    let alternate = libc::stack_t {
        ss_sp: ALTERNATE.0.get().cast(),
        ss_flags: 0,
        ss_size: 1 << 16,
    };
    // SAFETY: the stack is static; the action is zeroed and then filled; the handler does what a handler may. It is taken
    // away as it is called, so the signal comes again and ends the process.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        match libc::sigaltstack(&raw const alternate, ptr::null_mut()) {
            0 => libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()),
            failed => failed,
        }
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes valid information; everything called here may be called in a signal handler; the note is
    // mapped for the life of the process.
    unsafe {
        // A signal that somebody sent has no address.
        let from_kernel = (*info).si_code > 0;
        let address = (*info).si_addr() as usize;
        let in_stack = (STACK_END.load(Relaxed)..STACK_START.load(Relaxed)).contains(&address);
        if from_kernel && in_stack {
            if libc::getpid() == OWNER.load(Relaxed) {
                (*NOTE.load(Relaxed)).store(true, Relaxed);
            }
            libc::write(1, TEXT.as_ptr().cast(), TEXT.len());
        }
        libc::raise(signal);
    }
}
