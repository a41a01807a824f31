//! What a run prints: read as it comes, written to Postgres in chunks while R runs, bounded.

use std::io;

use tokio::net::unix::pipe;
use warren_common::id::JobId;
use warren_common::store::console::Chunk;

use super::text::Utf8Stream;

/// A chunk is written when it has this many bytes, however young it is.
const CHUNK_BYTES: usize = 32 * 1024;
/// A chunk has this many bytes at most: one is copied for its way to Postgres, the rest of a flood is not.
const LONGEST_CHUNK: usize = 1024 * 1024;
/// What one read takes from the pipe at most.
const READ_BYTES: usize = 64 * 1024;
/// Reads in a row: more than a pipe holds.
const READS: usize = 32;

/// The console text of one run.
#[derive(Debug)]
pub(crate) struct RunConsole {
    job: JobId,
    attempt: i32,
    /// Text that is in no chunk yet.
    pending: Vec<u8>,
    utf8: Utf8Stream,
    next_seq: i32,
    kept: usize,
    limit: usize,
    left_out: u64,
}

impl RunConsole {
    pub(crate) fn new(job: JobId, attempt: i32, limit: usize) -> Self {
        Self {
            job,
            attempt,
            pending: Vec::new(),
            utf8: Utf8Stream::default(),
            next_seq: 0,
            kept: 0,
            limit,
            left_out: 0,
        }
    }

    /// Takes what R printed; beyond the limit it is only counted.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.kept);
        let (kept, over) = bytes.split_at(bytes.len().min(room));
        self.left_out += over.len() as u64;
        let before = self.pending.len();
        self.utf8.push(kept, &mut self.pending);
        // The mark for a byte that is no text is longer than the byte.
        self.kept += kept.len().max(self.pending.len() - before);
    }

    /// True when there is text that no chunk holds.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// True when the pending text makes a chunk by its size alone.
    pub(crate) fn is_chunk_full(&self) -> bool {
        self.pending.len() >= CHUNK_BYTES
    }

    /// The pending text, or the beginning of a long one, as the next chunk.
    pub(crate) fn next_chunk(&mut self) -> Chunk {
        let mut cut = self.pending.len().min(LONGEST_CHUNK);
        while self
            .pending
            .get(cut)
            .is_some_and(|byte| !starts_character(*byte))
        {
            cut -= 1;
        }
        let rest = self.pending.split_off(cut);
        let chunk = Chunk {
            job: self.job,
            attempt: self.attempt,
            seq: self.next_seq,
            text: std::mem::replace(&mut self.pending, rest),
        };
        self.next_seq += 1;
        chunk
    }

    /// Puts back a chunk that was not written.
    pub(crate) fn put_back(&mut self, chunk: Chunk) {
        let younger = std::mem::replace(&mut self.pending, chunk.text);
        self.pending.extend_from_slice(&younger);
        self.next_seq = chunk.seq;
    }

    /// The text that is in no chunk, and whether that is all of it.
    pub(crate) fn finish(mut self) -> (Vec<u8>, bool) {
        if self.left_out == 0 {
            self.utf8.finish(&mut self.pending);
        } else {
            // A character that the limit cut in two is left out whole.
            self.left_out += self.utf8.incomplete() as u64;
            let line = format!("\n[{} more bytes of output are not shown]\n", self.left_out);
            self.pending.extend_from_slice(line.as_bytes());
        }
        (self.pending, self.next_seq == 0)
    }
}

/// True for the first byte of a character of UTF-8.
fn starts_character(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

/// Reads what is in the pipe now, without waiting; of a flood a part, so that nobody else starves. False when nobody can
/// write to it any more.
pub(crate) fn read_now(pipe: &pipe::Receiver, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
    let mut bytes = vec![0; READ_BYTES];
    for _ in 0..READS {
        match pipe.try_read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(read) => take(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_bytes_are_counted_and_told() {
        let mut console = RunConsole::new(JobId::new(), 1, 4);
        console.take(b"abc");
        console.take(b"defg");
        let (text, whole) = console.finish();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "abcd\n[3 more bytes of output are not shown]\n"
        );
        assert!(whole);
    }

    #[test]
    fn a_character_that_the_limit_cuts_is_left_out_whole() {
        let mut console = RunConsole::new(JobId::new(), 1, 4);
        console.take("ab€c".as_bytes());
        let (text, _) = console.finish();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "ab\n[4 more bytes of output are not shown]\n"
        );
    }

    #[test]
    fn a_long_text_makes_several_chunks_of_whole_characters() {
        let text = "a€".repeat(LONGEST_CHUNK);
        let mut console = RunConsole::new(JobId::new(), 1, text.len());
        console.take(text.as_bytes());
        let mut joined = String::new();
        while console.has_pending() {
            let chunk = console.next_chunk();
            assert!(chunk.text.len() <= LONGEST_CHUNK);
            joined.push_str(std::str::from_utf8(&chunk.text).unwrap());
        }
        assert!(joined == text, "the chunks are not the text");
    }

    #[test]
    fn bytes_that_are_no_text_do_not_grow_past_the_limit() {
        let mut console = RunConsole::new(JobId::new(), 1, 6);
        console.take(&[0xff; 2]);
        console.take(&[0xff; 100]);
        let (text, _) = console.finish();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "\u{fffd}\u{fffd}\n[100 more bytes of output are not shown]\n"
        );
    }

    #[test]
    fn chunks_are_numbered_and_one_that_failed_is_not_missing() {
        let mut console = RunConsole::new(JobId::new(), 1, 100);
        console.take(b"one");
        assert_eq!(console.next_chunk().seq, 0);
        console.take(b"two");
        let failed = console.next_chunk();
        console.take(b"three");
        console.put_back(failed);
        let again = console.next_chunk();
        assert_eq!(
            (again.seq, again.text.as_slice()),
            (1, b"twothree".as_slice())
        );
    }
}
