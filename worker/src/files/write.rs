//! Taking files in.

use std::fs::File;
use std::io::Write;

use tokio::task::JoinHandle;
use tokio_util::bytes::Bytes;
use warren_common::blobs::Download;
use warren_common::model::{Content, PutFilesRequest, RefusalKind, UploadedFile};

use super::arrival::Arrival;
use super::{Files, FilesError, WorkDir, blocking, refused};

/// Bytes that are written at once.
const BATCH: usize = 1024 * 1024;

/// Takes in files, all or none: they are made where user code cannot see them, and brought in when all are whole.
pub(super) async fn put(files: &Files, request: PutFilesRequest) -> Result<(), FilesError> {
    let limit = files.shared.limits.file_bytes;
    for file in &request.files {
        if file.content.size() > limit {
            return Err(refused(
                RefusalKind::TooLarge,
                format!(
                    "{:?} is longer than the {limit} bytes that WARREN_SESSION_FILE_BYTES allows",
                    file.name
                ),
            ));
        }
    }
    let mut arrived = Vec::with_capacity(request.files.len());
    for UploadedFile { name, content } in request.files {
        arrived.push((name, arrive(files, content).await?));
    }
    let dir = files.dir.clone();
    let (work, taken) = blocking(move || {
        let work = WorkDir::open(&dir)?;
        for (name, _arrival) in &arrived {
            if work.has_directory(name)? {
                return Ok((Err(name.clone()), arrived));
            }
        }
        Ok((Ok(work), arrived))
    })
    .await?;
    let work = work.map_err(|name| {
        refused(
            RefusalKind::Invalid,
            format!("the working directory has a directory {name:?}"),
        )
    })?;
    // A few renames, and without an await between them: who cancels now comes too late or in time, not in the middle.
    for (name, arrival) in taken {
        arrival
            .bring_into(&work, &name)
            .map_err(|error| FilesError::of_disk(&error))?;
    }
    Ok(())
}

/// Makes one file. The next bytes are read while others are on their way to the disk.
async fn arrive(files: &Files, content: Content) -> Result<Arrival, FilesError> {
    let _place = match content {
        Content::Transfer { .. } => Some(files.shared.places.acquire().await),
        Content::Row { .. } => None,
    };
    let mut download = files.shared.blobs.open(content, None).await?;
    let dir = files.dir.clone();
    let (arrival, file) = blocking(move || {
        let work = WorkDir::open(&dir)?;
        Arrival::new(&dir, work.user, work.group)
    })
    .await?;
    let mut writing = write(file, Vec::new());
    loop {
        let batch = batch(&mut download).await?;
        let is_last = batch.is_empty();
        let file = finish(writing).await?;
        if is_last {
            return Ok(arrival);
        }
        writing = write(file, batch);
    }
}

/// The next pieces; none at the end.
async fn batch(download: &mut Download) -> Result<Vec<Bytes>, FilesError> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH
        && let Some(piece) = download.next().await?
    {
        bytes += piece.len();
        batch.push(piece);
    }
    Ok(batch)
}

fn write(mut file: File, batch: Vec<Bytes>) -> JoinHandle<Result<File, FilesError>> {
    tokio::spawn(blocking(move || {
        for piece in batch {
            file.write_all(&piece)?;
        }
        Ok(file)
    }))
}

async fn finish(writing: JoinHandle<Result<File, FilesError>>) -> Result<File, FilesError> {
    writing
        .await
        .map_err(|_panic| FilesError::Failed("a fault of the worker".to_owned()))?
}
