//! R's serialization streams over a pipe: what R writes or reads is never whole in memory.
//!
//! The callbacks run below R's serializer. A [`Sink`] or [`Source`] belongs to a frame outside the protected call, so nothing is
//! owned where R jumps: at an interrupt, and when the other end of the pipe is gone.

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::slice;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::ffi::{self, ANY_FORMAT, InStream, OutStream, Sexp, XDR_FORMAT, f, v};

/// Bytes that are gathered for one system call.
const BUFFER_BYTES: usize = 256 * 1024;

/// What every file of `save()` begins with, in the version that is written: any R since 1.4 reads it.
pub(crate) const MAGIC: &[u8; 5] = b"RDX2\n";
/// The version that R writes by default since 3.6.
const MAGIC_3: &[u8; 5] = b"RDX3\n";

/// How long a wait for the pipe goes on without a look whether an interrupt came.
const LOOK_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// The version of the serialization that is written.
const VERSION: c_int = 2;

/// Why the pipe did not take or give bytes.
#[derive(Clone, Copy)]
enum Stop {
    /// A signal came, or it is time to look whether one did.
    Look,
    /// The worker closed its end.
    Broken,
}

/// Where R writes.
pub(crate) struct Sink {
    pipe: OwnedFd,
    buffer: Vec<u8>,
    /// How much of the buffer the pipe took already.
    taken: usize,
    written: u64,
}

/// Where R reads.
pub(crate) struct Source {
    pipe: OwnedFd,
    buffer: Vec<u8>,
    /// How much of the buffer was read from the pipe.
    read: usize,
    /// How much of that R took already.
    given: usize,
}

impl Sink {
    /// Writes into this end of a pipe.
    pub(crate) fn new(pipe: OwnedFd) -> io::Result<Self> {
        // A write that blocks is begun again after a signal, and nobody would look at the interrupt.
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self {
            pipe,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            taken: 0,
            written: 0,
        })
    }

    /// Bytes that went into the pipe.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes bytes that are not R's.
    ///
    /// # Safety
    ///
    /// Runs inside a protected call, and jumps as R does: the caller owns nothing.
    pub(crate) unsafe fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.buffer.len() == BUFFER_BYTES {
                // SAFETY: the caller's promise.
                unsafe { self.flush() };
            }
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Writes an object of R in its binary format.
    ///
    /// # Safety
    ///
    /// As for [`Sink::write`]; the object is protected.
    pub(crate) unsafe fn serialize(&mut self, object: Sexp) {
        let mut stream = OutStream::EMPTY;
        // SAFETY: the stream has more room than R needs; the sink outlives the call; neither has a destructor that a jump
        // would skip, since the sink's owner is the caller's caller.
        unsafe {
            (f().R_InitOutPStream)(
                &raw mut stream,
                std::ptr::from_mut(self).cast(),
                XDR_FORMAT,
                VERSION,
                out_char,
                out_bytes,
                std::ptr::null_mut(),
                *v().R_NilValue,
            );
            (f().R_Serialize)(object, &raw mut stream);
        }
    }

    /// Gives everything to the pipe.
    ///
    /// # Safety
    ///
    /// As for [`Sink::write`].
    pub(crate) unsafe fn flush(&mut self) {
        loop {
            match self.push() {
                Ok(()) => break,
                // SAFETY: the caller's promise.
                Err(stop) => unsafe { heed(stop, c"the worker stopped reading") },
            }
        }
        // Even while the pipe takes everything at once somebody may want this to end.
        // SAFETY: the caller's promise.
        unsafe { (f().R_CheckUserInterrupt)() };
    }

    fn push(&mut self) -> Result<(), Stop> {
        while self.taken < self.buffer.len() {
            match rustix::io::write(&self.pipe, &self.buffer[self.taken..]) {
                Ok(count) => {
                    self.taken += count;
                    self.written += count as u64;
                }
                Err(Errno::AGAIN) => wait_for(&self.pipe, PollFlags::OUT)?,
                Err(Errno::INTR) => return Err(Stop::Look),
                Err(_) => return Err(Stop::Broken),
            }
        }
        self.buffer.clear();
        self.taken = 0;
        Ok(())
    }
}

impl Source {
    /// Reads from this end of a pipe.
    pub(crate) fn new(pipe: OwnedFd) -> io::Result<Self> {
        // As in `Sink::new`.
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self {
            pipe,
            buffer: vec![0; BUFFER_BYTES],
            read: 0,
            given: 0,
        })
    }

    /// Reads the beginning of a file of `save()`.
    ///
    /// # Safety
    ///
    /// Runs inside a protected call, and jumps as R does: the caller owns nothing.
    pub(crate) unsafe fn read_magic(&mut self) {
        let mut magic = [0; MAGIC.len()];
        // SAFETY: the caller's promise.
        unsafe {
            self.fill(&mut magic);
            if magic != *MAGIC && magic != *MAGIC_3 {
                ffi::raise(c"these bytes are no workspace that was saved in binary form");
            }
        }
    }

    /// Reads an object of R, which the caller has to protect.
    ///
    /// # Safety
    ///
    /// As for [`Source::read_magic`].
    pub(crate) unsafe fn unserialize(&mut self) -> Sexp {
        let mut stream = InStream::EMPTY;
        // SAFETY: as in `Sink::serialize`.
        unsafe {
            (f().R_InitInPStream)(
                &raw mut stream,
                std::ptr::from_mut(self).cast(),
                ANY_FORMAT,
                in_char,
                in_bytes,
                std::ptr::null_mut(),
                *v().R_NilValue,
            );
            (f().R_Unserialize)(&raw mut stream)
        }
    }

    /// # Safety
    ///
    /// As for [`Source::read_magic`].
    unsafe fn fill(&mut self, mut to: &mut [u8]) {
        while !to.is_empty() {
            if self.given == self.read {
                // SAFETY: the caller's promise.
                unsafe { self.refill() };
            }
            let ready = &self.buffer[self.given..self.read];
            let count = ready.len().min(to.len());
            to[..count].copy_from_slice(&ready[..count]);
            self.given += count;
            to = &mut to[count..];
        }
    }

    /// # Safety
    ///
    /// As for [`Source::read_magic`].
    unsafe fn refill(&mut self) {
        loop {
            match self.pull() {
                Ok(()) => break,
                // SAFETY: the caller's promise.
                Err(stop) => unsafe { heed(stop, c"the saved object ends before its end") },
            }
        }
        // SAFETY: the caller's promise.
        unsafe { (f().R_CheckUserInterrupt)() };
    }

    fn pull(&mut self) -> Result<(), Stop> {
        loop {
            match rustix::io::read(&self.pipe, &mut self.buffer[..]) {
                Ok(0) => return Err(Stop::Broken),
                Ok(count) => {
                    (self.read, self.given) = (count, 0);
                    return Ok(());
                }
                Err(Errno::AGAIN) => wait_for(&self.pipe, PollFlags::IN)?,
                Err(Errno::INTR) => return Err(Stop::Look),
                Err(_) => return Err(Stop::Broken),
            }
        }
    }
}

/// Waits until the pipe is ready. A signal ends the wait, and one that came just before it is seen a moment later.
fn wait_for(pipe: impl AsFd, what: PollFlags) -> Result<(), Stop> {
    match poll(&mut [PollFd::new(&pipe, what)], Some(&LOOK_AGAIN)) {
        Ok(0) | Err(Errno::INTR) => Err(Stop::Look),
        Ok(_) => Ok(()),
        Err(_) => Err(Stop::Broken),
    }
}

/// # Safety
///
/// Runs inside a protected call, and jumps as R does: the caller owns nothing.
unsafe fn heed(stop: Stop, broken: &CStr) {
    // SAFETY: the caller's promise.
    unsafe {
        match stop {
            Stop::Look => (f().R_CheckUserInterrupt)(),
            Stop::Broken => ffi::raise(broken),
        }
    }
}

unsafe extern "C-unwind" fn out_char(stream: *mut OutStream, byte: c_int) {
    // SAFETY: R hands back the stream whose data is the sink; R calls this within `Sink::serialize`. A byte is all it means.
    unsafe { (*(*stream).data.cast::<Sink>()).write(&byte.to_le_bytes()[..1]) }
}

unsafe extern "C-unwind" fn out_bytes(stream: *mut OutStream, bytes: *mut c_void, length: c_int) {
    // SAFETY: as above; `length` bytes are valid during the call.
    unsafe {
        let bytes = slice::from_raw_parts(bytes.cast::<u8>(), usize::try_from(length).unwrap_or(0));
        (*(*stream).data.cast::<Sink>()).write(bytes);
    }
}

unsafe extern "C-unwind" fn in_char(stream: *mut InStream) -> c_int {
    let mut byte = [0];
    // SAFETY: R hands back the stream whose data is the source; R calls this within `Source::unserialize`.
    unsafe { (*(*stream).data.cast::<Source>()).fill(&mut byte) };
    c_int::from(byte[0])
}

unsafe extern "C-unwind" fn in_bytes(stream: *mut InStream, to: *mut c_void, length: c_int) {
    // SAFETY: as above; R has room for `length` bytes, and has initialised it or does not care.
    unsafe {
        let to = slice::from_raw_parts_mut(to.cast::<u8>(), usize::try_from(length).unwrap_or(0));
        (*(*stream).data.cast::<Source>()).fill(to);
    }
}
