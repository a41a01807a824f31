//! Files of sessions: listed, given out, taken in and removed without R.
//!
//! User code owns the working directory and may put anything there under any name: links, pipes, files of millions of names.
//! Nothing here follows what it planted; see `WorkDir`.

mod arrival;
mod offers;
mod read;
mod work_dir;
mod write;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;
use warren_common::blobs::{BlobError, Blobs, GatherError};
use warren_common::id::{PrincipalId, TransferId};
use warren_common::model::{
    Content, DeleteRequest, GetFileRequest, GotFile, JobKind, Names, PutFilesRequest, Refusal,
    RefusalKind, UploadedFile,
};
use warren_common::store::Db;
use warren_common::telemetry::chain;

pub(crate) use arrival::ARRIVING;
pub use offers::Offers;
use work_dir::WorkDir;
pub(crate) use work_dir::beneath;

/// Transfers between this worker and the store at one moment: each may hold two parts in memory.
const TRANSFERS: usize = 8;

/// What every session's files share.
#[derive(Clone)]
pub struct Transfers {
    /// The object store.
    pub blobs: Blobs,
    /// Postgres.
    pub db: Db,
    /// What goes past the store.
    pub offers: Offers,
    places: Arc<Semaphore>,
    /// The longest file that may arrive, and the longest list of names, in bytes.
    limits: Limits,
}

/// How much may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a file that arrives.
    pub file_bytes: u64,
    /// Bytes of a list of names.
    pub names_bytes: u64,
}

impl Transfers {
    /// Nothing is under way.
    pub fn new(blobs: Blobs, db: Db, offers: Offers, limits: Limits) -> Self {
        Self {
            blobs,
            db,
            offers,
            places: Arc::new(Semaphore::new(TRANSFERS)),
            limits,
        }
    }
}

/// Why an operation on files came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The caller can do something about it.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// It cannot.
    #[error("{0}")]
    Failed(String),
}

/// The files of one session.
#[derive(Clone)]
pub struct Files {
    /// The session's directory. It stands in one of the worker's, so its name is no trap.
    dir: PathBuf,
    owner: PrincipalId,
    shared: Transfers,
}

/// The transfers that a job brought with it, which nobody needs when it has ended.
pub fn sent_with(kind: JobKind, request: &[u8]) -> Vec<TransferId> {
    let read = (kind == JobKind::PutFiles).then(|| read_request::<PutFilesRequest>(request));
    let files = read
        .and_then(Result::ok)
        .map_or_else(Vec::new, |put| put.files);
    let transfer = |file: UploadedFile| match file.content {
        Content::Transfer { id, .. } => Some(id),
        Content::Row { .. } => None,
    };
    files.into_iter().filter_map(transfer).collect()
}

impl Files {
    /// Those of the session whose R process lives in `dir`.
    pub fn new(dir: PathBuf, owner: PrincipalId, shared: Transfers) -> Self {
        Self { dir, owner, shared }
    }

    /// Does what a job asks, and gives the result as it is stored. Dropped on the way it leaves nothing, and what it was to
    /// change as it was.
    pub async fn perform(
        &self,
        kind: JobKind,
        request: &[u8],
    ) -> Result<Option<Vec<u8>>, FilesError> {
        match kind {
            JobKind::ListFiles => stored(&self.list().await?).map(Some),
            JobKind::GetFile => stored(&self.get(read_request(request)?).await?).map(Some),
            JobKind::PutFiles => {
                write::put(self, read_request(request)?).await?;
                Ok(None)
            }
            JobKind::DeleteFile => {
                self.delete(read_request(request)?).await?;
                Ok(None)
            }
            other => Err(FilesError::Failed(format!(
                "{} is not done aside",
                other.word()
            ))),
        }
    }

    async fn list(&self) -> Result<Names, FilesError> {
        let longest = self.shared.limits.names_bytes;
        let names = self.blocking(move |work| work.names(longest)).await?;
        let names = names.ok_or_else(|| {
            refused(
                RefusalKind::TooLarge,
                format!("the names of the files are more than {longest} bytes"),
            )
        })?;
        Ok(Names { names })
    }

    async fn get(&self, request: GetFileRequest) -> Result<GotFile, FilesError> {
        let name = request.name.clone();
        let opened = self.blocking(move |work| work.open_file(&name)).await?;
        let opened = opened.ok_or_else(|| no_file(&request.name))?;
        read::got(self, request, opened).await
    }

    async fn delete(&self, request: DeleteRequest) -> Result<(), FilesError> {
        let name = request.name.clone();
        if self.blocking(move |work| work.remove(&name)).await? {
            Ok(())
        } else {
            Err(no_file(&request.name))
        }
    }

    /// Runs something on the working directory where it may wait for a disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(WorkDir) -> io::Result<T> + Send + 'static,
    ) -> Result<T, FilesError> {
        let dir = self.dir.clone();
        blocking(move || WorkDir::open(&dir).and_then(work)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FilesError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| FilesError::of_disk(&error)),
        Err(_panic) => Err(FilesError::Failed("a fault of the worker".to_owned())),
    }
}

fn stored(result: &impl serde::Serialize) -> Result<Vec<u8>, FilesError> {
    serde_json::to_vec(result)
        .map_err(|_error| FilesError::Failed("what it left cannot be written".to_owned()))
}

fn read_request<T: serde::de::DeserializeOwned>(request: &[u8]) -> Result<T, FilesError> {
    // The API wrote these bytes; serde's own text may repeat a name.
    serde_json::from_slice(request)
        .map_err(|_error| FilesError::Failed("this worker cannot read the request".to_owned()))
}

fn refused(refusal: RefusalKind, message: String) -> FilesError {
    FilesError::refused(refusal, message)
}

fn no_file(name: &str) -> FilesError {
    refused(
        RefusalKind::NotFound,
        format!("the working directory has no file {name:?}"),
    )
}

impl FilesError {
    /// The caller can do something about it.
    pub(crate) fn refused(refusal: RefusalKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Refused(Refusal { refusal, message })
    }

    fn of_disk(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => refused(
                RefusalKind::Invalid,
                "the session's own code has made it inaccessible".to_owned(),
            ),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => refused(
                RefusalKind::TooLarge,
                "the disk of the sessions is full".to_owned(),
            ),
            _ => Self::Failed(format!("the working directory cannot be used: {error}")),
        }
    }
}

impl From<io::Error> for FilesError {
    fn from(error: io::Error) -> Self {
        Self::of_disk(&error)
    }
}

impl From<BlobError> for FilesError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Away { .. } => {
                tracing::warn!("A transfer failed: {}", chain(&error));
                refused(
                    RefusalKind::Unavailable,
                    "the object store cannot be reached".to_owned(),
                )
            }
            BlobError::NotFound { .. } => refused(
                RefusalKind::NotFound,
                "what was sent has expired in the object store; send it again".to_owned(),
            ),
            BlobError::TooLarge { .. } => refused(RefusalKind::TooLarge, error.to_string()),
            BlobError::Damaged { .. } => {
                tracing::error!("A transfer failed: {error}");
                Self::Failed("the object store gives out other bytes than were stored".to_owned())
            }
        }
    }
}

impl From<GatherError> for FilesError {
    fn from(error: GatherError) -> Self {
        match error {
            GatherError::Blob(error) => error.into(),
            GatherError::Db(error) => {
                tracing::warn!("A transfer could not be noted: {}", chain(&error));
                refused(
                    RefusalKind::Unavailable,
                    "PostgreSQL cannot be reached".to_owned(),
                )
            }
        }
    }
}
