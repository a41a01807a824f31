//! The parent's memory, made so that it is small and its children write to few pages of its heap. Each page that a child writes to
//! is copied, in the middle of somebody's first answer.

use std::ffi::c_void;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

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

/// Lets go of the parts of program files that R's start and warm-up read: most of them are never needed again. They stay in the
/// kernel's cache as long as there is room, and whoever runs that code, in a parent or a child, finds them there.
pub(crate) fn let_go_of_files() {
    let Ok(maps) = fs::read_to_string("/proc/self/smaps") else {
        return;
    };
    let mut mapping = None;
    for line in maps.lines() {
        if let Some(file) = unwritable_file(line) {
            mapping = file;
        } else if let (Some((start, length)), Some("0 kB")) =
            (mapping, line.strip_prefix("Anonymous:").map(str::trim))
        {
            // SAFETY: a mapping of a file of which this process has changed nothing: what is dropped is read again.
            unsafe { libc::madvise(start as *mut c_void, length, libc::MADV_DONTNEED) };
        }
    }
}

/// Of the first line of a mapping in `smaps`: where it is and how long, if it is private to this process and shows a file that cannot
/// be written to. None for any other line.
#[expect(
    clippy::option_option,
    reason = "no mapping at all is not the same as one of another kind"
)]
fn unwritable_file(line: &str) -> Option<Option<(usize, usize)>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let rights = fields.next()?;
    let is_file = fields.nth(3).is_some_and(|path| path.starts_with('/'));
    let fits = is_file && rights.starts_with("r-") && rights.ends_with('p');
    Some(fits.then_some((start, end - start)))
}

/// In a child: new memory comes in small pages. The first byte of a huge one would cost each session two megabytes.
pub(crate) fn small_pages() {
    // A kernel that does not know it gives larger ones.
    // SAFETY: reads no memory.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

/// The size of a huge page.
const HUGE: usize = 2 << 20;
const PAGE: usize = 4096;

/// In a service's parent: where it has more memory of its own than it shares with the process that it was forked from, that lies in
/// huge pages again, so that a fork has few pages to go through. A kernel that cannot do it forks more slowly.
pub(crate) fn own_huge_pages() {
    /// The bit of a page that this process alone has mapped, from Linux 4.2.
    const EXCLUSIVE: u64 = 1 << 56;
    gather(EXCLUSIVE);
}

/// The same for all of the memory. What was shared until now is copied: tens of megabytes for a fork that takes half as long.
pub(crate) fn huge_pages() {
    /// The bit of a page that is in memory.
    const PRESENT: u64 = 1 << 63;
    gather(PRESENT);
}

/// Puts memory into huge pages wherever more than half of one has this bit.
fn gather(bit: u64) {
    /// `MADV_COLLAPSE`, from Linux 6.1.
    const COLLAPSE: i32 = 25;

    // SAFETY: reads no memory.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 0, 0, 0, 0) };
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Ok(pages) = File::open("/proc/self/pagemap") else {
        return;
    };
    for (start, end) in maps.lines().filter_map(own_memory) {
        let wholes = (start.next_multiple_of(HUGE)..).step_by(HUGE);
        for start in wholes.take_while(|start| start + HUGE <= end) {
            if most_have(bit, &pages, start) {
                // SAFETY: what the pages hold stays as it is.
                unsafe { libc::madvise(start as *mut c_void, HUGE, COLLAPSE) };
            }
        }
    }
}

/// Whether more than half of the pages of a huge one have this bit in `pagemap`.
fn most_have(bit: u64, pages: &File, start: usize) -> bool {
    let mut entries = [0; HUGE / PAGE * 8];
    let read = pages.read_exact_at(&mut entries, (start / PAGE * 8) as u64);
    let entries = entries.as_chunks().0.iter().copied();
    let having = entries.filter(|entry| u64::from_ne_bytes(*entry) & bit != 0);
    read.is_ok() && having.count() > HUGE / PAGE / 2
}

/// Of a mapping in `maps`: where it is, if it is private memory that shows no file.
fn own_memory(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let rights = fields.next()?;
    let shows = fields.nth(3);
    if rights != "rw-p" || !matches!(shows, None | Some("[heap]")) {
        return None;
    }
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some((address(start)?, address(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_nobody_here_writes_to_are_let_go_of() {
        let text = "7f00-7f10 r-xp 00001000 fe:00 12 /usr/lib/R/lib/libR.so";
        assert_eq!(unwritable_file(text), Some(Some((0x7f00, 0x10))));
        for other in [
            "7f00-7f10 rw-p 00001000 fe:00 12 /usr/lib/R/lib/libR.so",
            "7f00-7f10 r--s 00001000 fe:00 12 /dev/shm/shared",
            "7f00-7f10 r-xp 00000000 00:00 0 [vdso]",
            "7f00-7f10 r--p 00000000 00:00 0",
        ] {
            assert_eq!(unwritable_file(other), Some(None), "{other}");
        }
        assert_eq!(unwritable_file("Anonymous:  0 kB"), None);
    }

    #[test]
    fn memory_of_the_process_s_own_is_found() {
        for line in [
            "7f00-7f10 rw-p 00000000 00:00 0 ",
            "7f00-7f10 rw-p 00000000 00:00 0    [heap]",
        ] {
            assert_eq!(own_memory(line), Some((0x7f00, 0x7f10)), "{line}");
        }
        for line in [
            "7f00-7f10 rw-s 00000000 00:01 9    /dev/zero (deleted)",
            "7f00-7f10 rw-p 00001000 fe:00 12   /usr/lib/R/lib/libR.so",
            "7f00-7f10 rw-p 00000000 00:00 0    [stack]",
            "7f00-7f10 ---p 00000000 00:00 0 ",
        ] {
            assert_eq!(own_memory(line), None, "{line}");
        }
    }
}
