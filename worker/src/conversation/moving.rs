//! Bytes between R and the worker: pipes of which one end goes to the R process with the question.

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio_util::bytes::{Bytes, BytesMut};

use crate::files::FilesError;

/// What moving bytes comes to.
pub(crate) type Moved<T> = Result<T, FilesError>;

/// Bytes taken from the pipe at once.
const PIECE: usize = 256 * 1024;
/// Bytes that the kernel keeps between the two, where it allows so many: fewer turns for each.
const PIPE: usize = 1024 * 1024;

/// The end of a pipe into which R writes.
pub(crate) struct FromR {
    pipe: pipe::Receiver,
    /// How many bytes there are in all: told when R has written them.
    told: oneshot::Receiver<u64>,
    total: Option<u64>,
    read: u64,
}

/// The end of a pipe from which R reads.
pub(crate) struct IntoR {
    pipe: pipe::Sender,
}

impl FromR {
    /// Our end, R's, and by what ours is told how many bytes R wrote.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd, oneshot::Sender<u64>)> {
        let (ours, theirs) = make_pipe()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let (tell, told) = oneshot::channel();
        let from_r = Self {
            pipe: pipe::Receiver::from_owned_fd(ours)?,
            told,
            total: None,
            read: 0,
        };
        Ok((from_r, theirs, tell))
    }

    /// The next piece; none when all that R wrote has arrived. A process that user code left behind may hold R's end open, so
    /// the end is known by the number of bytes.
    pub(crate) async fn next(&mut self) -> Moved<Option<Bytes>> {
        let mut piece = BytesMut::with_capacity(PIECE);
        loop {
            if self.total == Some(self.read) {
                return Ok(None);
            }
            let told = self.total.is_none();
            tokio::select! {
                biased;
                total = &mut self.told, if told => {
                    // Nobody tells when R did not succeed; that is what the caller will hear.
                    self.total = Some(total.map_err(|_| cut())?);
                }
                read = self.pipe.read_buf(&mut piece) => match read {
                    Ok(0) if told => {
                        // R closed its end a moment before it answered.
                        self.total = Some((&mut self.told).await.map_err(|_| cut())?);
                        if self.total != Some(self.read) {
                            return Err(cut());
                        }
                    }
                    Ok(0) | Err(_) => return Err(cut()),
                    Ok(read) => {
                        self.read += read as u64;
                        if self.total.is_some_and(|total| self.read > total) {
                            return Err(cut());
                        }
                        return Ok(Some(piece.freeze()));
                    }
                }
            }
        }
    }
}

impl IntoR {
    /// Our end and R's.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (theirs, ours) = make_pipe()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let pipe = pipe::Sender::from_owned_fd(ours)?;
        Ok((Self { pipe }, theirs))
    }

    /// Gives R the next piece; false when it reads no more.
    pub(crate) async fn write(&mut self, piece: &[u8]) -> bool {
        self.pipe.write_all(piece).await.is_ok()
    }
}

fn cut() -> FilesError {
    FilesError::Failed("what the R process wrote did not arrive whole".to_owned())
}

/// Reading end and writing end.
fn make_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
    // A kernel that allows less gives what it has.
    let _ = rustix::pipe::fcntl_setpipe_size(&writing, PIPE);
    Ok((reading, writing))
}
