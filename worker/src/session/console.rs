//! What a run prints: read as it comes, written to Postgres in chunks while R runs, bounded.

use std::io;

use tokio::net::unix::pipe;
use warren_common::id::JobId;
use warren_common::store::console::Chunk;

use super::text::Utf8Stream;

/// A chunk is written when it has this many bytes, however young it is.
pub(super) const CHUNK_BYTES: usize = 32 * 1024;
/// What one read takes from the pipe at most.
const READ_BYTES: usize = 64 * 1024;
/// Reads in a row: more than a pipe holds.
const READS: usize = 32;

/// The console text of one run.
#[derive(Debug)]
pub(super) struct RunConsole {
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
    pub(super) fn new(job: JobId, attempt: i32, limit: usize) -> Self {
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
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let (kept, over) = bytes.split_at(bytes.len().min(self.limit - self.kept));
        self.kept += kept.len();
        self.left_out += over.len() as u64;
        self.utf8.push(kept, &mut self.pending);
    }

    /// True when there is text that no chunk holds.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// True when the pending text makes a chunk by its size alone.
    pub(super) fn is_chunk_full(&self) -> bool {
        self.pending.len() >= CHUNK_BYTES
    }

    /// The pending text as the next chunk.
    pub(super) fn next_chunk(&mut self) -> Chunk {
        let chunk = Chunk {
            job: self.job,
            attempt: self.attempt,
            seq: self.next_seq,
            text: std::mem::take(&mut self.pending),
        };
        self.next_seq += 1;
        chunk
    }

    /// Puts back a chunk that was not written.
    pub(super) fn put_back(&mut self, chunk: Chunk) {
        let younger = std::mem::replace(&mut self.pending, chunk.text);
        self.pending.extend_from_slice(&younger);
        self.next_seq = chunk.seq;
    }

    /// The text that is in no chunk, and whether that is all of it.
    pub(super) fn finish(mut self) -> (Vec<u8>, bool) {
        self.utf8.finish(&mut self.pending);
        if self.left_out > 0 {
            let line = format!("\n[{} more bytes of output are not shown]\n", self.left_out);
            self.pending.extend_from_slice(line.as_bytes());
        }
        (self.pending, self.next_seq == 0)
    }
}

/// Reads what is in the pipe now, without waiting; of a flood a part, so that nobody else starves. False when nobody can
/// write to it any more.
pub(super) fn read_now(pipe: &pipe::Receiver, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
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
