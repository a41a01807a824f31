//! A zip in the store on its way into an R process.

use std::io;
use std::path::Path;

use tokio::sync::mpsc;
use tokio_util::bytes::BytesMut;
use warren_common::blobs::{BlobError, BlobKey, Blobs};
use warren_common::model::RefusalKind;
use warren_rhost::session::Ask;

use super::{Limit, Unpacked, unpack};
use crate::conversation::{Conversation, IntoR, Moved, Verdict};
use crate::disk::{Scratch, blocking, write_all};
use crate::files::FilesError;
use crate::tree::{Tree, WORK};

/// The zip, in the scratch directory.
const ZIP: &str = "snapshot.zip";
/// Pieces of the workspace between the zip and R.
const PIECES: usize = 4;
/// Bytes that are written to the disk at once.
const BATCH: usize = 1024 * 1024;

/// Brings what a zip in the store holds into the process that is talked to: its objects are added or take the place of what has
/// their names, and so do its files.
pub(crate) async fn bring(talk: &mut Conversation<'_>, key: BlobKey) -> Result<(), Verdict> {
    let limit = Limit {
        bytes: talk.context.config.snapshot_max_bytes,
    };
    let (dir, blobs) = (talk.dir().to_owned(), talk.context.transfers.blobs.clone());
    let (unpacked, scratch, work) = talk.aside(Box::pin(fetch(blobs, key, &dir, limit))).await?;
    let unpacked = talk
        .bytes_in(Ask::LoadImage, |into_r| give(unpacked, into_r))
        .await?;
    // A few renames. Nobody can stop them half-way.
    blocking(move || unpacked.bring_in(&scratch, &work))
        .await
        .map_err(Verdict::from)
}

/// Downloads a snapshot, looks at all of it and unpacks its files where the session cannot reach them.
async fn fetch(
    blobs: Blobs,
    key: BlobKey,
    session: &Path,
    limit: Limit,
) -> Moved<(Unpacked, Scratch, Tree)> {
    let mut download = match blobs.download(key, None).await {
        Err(BlobError::NotFound { .. }) => {
            return Err(FilesError::refused(
                RefusalKind::NotFound,
                "the snapshot was deleted",
            ));
        }
        found => found?,
    };
    let dir = session.to_owned();
    let (scratch, mut zip) = blocking(move || {
        let scratch = Scratch::new(&dir)?;
        let zip = scratch.create(ZIP)?;
        io::Result::Ok((scratch, zip))
    })
    .await?;
    let mut batch = BytesMut::with_capacity(BATCH);
    while let Some(piece) = download.next().await? {
        batch.extend_from_slice(&piece);
        if batch.len() >= BATCH {
            zip = write_all(zip, batch.split().freeze()).await?;
        }
    }
    let zip = write_all(zip, batch.freeze()).await?;
    let dir = session.to_owned();
    blocking(move || {
        let work = Tree::open(&dir, WORK)?;
        let unpacked = unpack(zip, &scratch, &work, limit)?;
        Ok((unpacked, scratch, work))
    })
    .await
}

/// Gives R the workspace out of a zip.
async fn give(mut unpacked: Unpacked, mut into_r: IntoR) -> Moved<Unpacked> {
    let (pieces, mut image) = mpsc::channel::<Vec<u8>>(PIECES);
    let reading = blocking(move || {
        unpacked.image(|piece| pieces.blocking_send(piece).is_ok())?;
        Ok(unpacked)
    });
    let passing = async {
        while let Some(piece) = image.recv().await {
            if !into_r.write(&piece).await {
                break;
            }
        }
        // Whoever reads the zip sees that nobody wants more.
        drop(image);
        into_r
    };
    let (read, into_r) = tokio::join!(reading, passing);
    // Only now does R see the end: after the last byte, or too early when something is wrong.
    drop(into_r);
    read
}
