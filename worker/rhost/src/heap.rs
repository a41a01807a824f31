//! The parent's heap, made so that its children write to few pages of it. Each page that a child writes to is copied, in the
//! middle of somebody's first answer.

use std::ffi::c_void;

/// Larger holes are few.
const LARGEST: usize = 64 << 10;
/// The step between two sizes of the C library's small pieces.
const STEP: usize = 16;
/// Below this every step has a size of its own, above it sizes double.
const SMALL: usize = 1024;

/// Fills the holes that R's start and warm-up left all over the heap. What a child allocates then comes from the end of the
/// heap, side by side, and not from wherever a hole happens to be. The memory is lost, once, in the parent.
pub(crate) fn close_gaps() {
    let doubling = std::iter::successors(Some(LARGEST), |size| Some(size / 2));
    let small = (1..SMALL / STEP).rev().map(|steps| steps * STEP);
    for size in doubling.take_while(|size| *size >= SMALL).chain(small) {
        let end = end_of_heap();
        loop {
            // SAFETY: no preconditions. What is not given back is never used.
            let piece = unsafe { libc::malloc(size) };
            if piece.is_null() {
                break;
            }
            if piece as usize >= end {
                // SAFETY: allocated just now.
                unsafe { libc::free(piece) };
                break;
            }
        }
    }
}

/// Where the part of the heap begins that was never handed out.
fn end_of_heap() -> usize {
    // SAFETY: neither call has preconditions; asked for 0 bytes more, `sbrk` only tells the end.
    let (end, free): (*mut c_void, usize) = unsafe { (libc::sbrk(0), libc::mallinfo2().keepcost) };
    end as usize - free
}

/// In a child: new memory comes in small pages. The first byte of a huge one would cost each session two megabytes.
pub(crate) fn small_pages() {
    // A kernel that does not know it gives larger ones.
    // SAFETY: reads no memory.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}
