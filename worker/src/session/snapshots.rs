//! Snapshots: saving workspace and working directory, and bringing them back.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_util::bytes::{Buf, Bytes, BytesMut};
use warren_common::blobs::{BlobKey, Blobs};
use warren_common::id::SnapshotId;
use warren_common::model::{
    CreateSnapshotRequest, LoadSnapshotRequest, OpenRequest, SavedSnapshot,
};
use warren_common::store::jobs::Claimed;
use warren_common::store::snapshots::NewSnapshot;
use warren_rhost::session::Ask;

use crate::conversation::{Conversation, FromR, Left, Moved, Verdict, request_of};
use crate::disk::{Scratch, blocking};
use crate::files::FilesError;
use crate::snapshots::{Limit, bring, pack};
use crate::tree::{Tree, WORK};

/// The zip, in the scratch directory.
const ZIP: &str = "snapshot.zip";
/// Pieces of the workspace between R and the zip.
const PIECES: usize = 4;
/// Bytes that are read from the disk at once.
const READ: usize = 1024 * 1024;

/// Saves the session: R writes its workspace while it is put into a zip on the worker's disk, which then goes to the store.
pub(super) async fn create(
    talk: &mut Conversation<'_>,
    claimed: &Claimed,
) -> Result<Verdict, Verdict> {
    let CreateSnapshotRequest { snapshot, name } = request_of(claimed)?;
    let limit = limit(talk);
    let dir = talk.dir().to_owned();
    let scratch = blocking(move || Scratch::new(&dir))
        .await
        .map_err(Verdict::of_worker)?;
    let to = scratch.create(ZIP).map_err(Verdict::of_worker)?;
    let session = talk.dir().to_owned();
    talk.bytes_out(Ask::SaveImage, |from_r| save(from_r, to, session, limit))
        .await?;
    let zip = scratch.path(ZIP);
    let blobs = talk.context.transfers.blobs.clone();
    let content_size = talk.aside(Box::pin(upload(blobs, snapshot, &zip))).await?;
    Ok(Verdict {
        snapshot: Some(Box::new(NewSnapshot {
            id: snapshot,
            name,
            content_size,
        })),
        ..Verdict::done(Some(Left::Snapshot(SavedSnapshot {
            snapshot_id: snapshot,
        })))
    })
}

fn limit(talk: &Conversation<'_>) -> Limit {
    Limit {
        bytes: talk.context.config.snapshot_max_bytes,
    }
}

/// Puts what R writes and the working directory into a zip.
async fn save(mut from_r: FromR, to: File, session: std::path::PathBuf, limit: Limit) -> Moved<()> {
    let (pieces, image) = mpsc::channel(PIECES);
    let packing = blocking(move || {
        let work = Tree::open(&session, WORK)?;
        let mut image = Image {
            pieces: image,
            piece: Bytes::new(),
            whole: false,
        };
        pack(to, &mut image, &work, limit).map(drop)
    });
    let passing = async {
        while let Some(piece) = from_r.next().await? {
            // Who packs has given up, and says why.
            if pieces.send(Some(piece)).await.is_err() {
                return Ok(());
            }
        }
        let _ = pieces.send(None).await;
        drop(pieces);
        Ok::<(), FilesError>(())
    };
    // Both: when R's bytes are cut, the pipe is the reason, and whoever packs only sees that they end.
    let (passed, packed) = tokio::join!(passing, packing);
    passed.and(packed)
}

/// The bytes of a workspace on their way to the thread that packs.
struct Image {
    pieces: mpsc::Receiver<Option<Bytes>>,
    piece: Bytes,
    /// Nothing comes any more.
    whole: bool,
}

impl Read for Image {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.whole {
            match self.pieces.blocking_recv() {
                Some(Some(piece)) => self.piece = piece,
                Some(None) => self.whole = true,
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        let count = self.piece.len().min(to.len());
        self.piece.copy_to_slice(&mut to[..count]);
        Ok(count)
    }
}

/// Brings a zip to the store and says how many bytes it is. Dropped before the end it leaves nothing there.
async fn upload(blobs: Blobs, snapshot: SnapshotId, zip: &Path) -> Moved<u64> {
    let mut file = tokio::fs::File::open(zip).await?;
    let mut upload = blobs.upload(BlobKey::Snapshot(snapshot), u64::MAX);
    loop {
        let mut piece = BytesMut::with_capacity(READ);
        while piece.len() < READ && file.read_buf(&mut piece).await? > 0 {}
        if piece.is_empty() {
            return Ok(upload.finish().await?);
        }
        upload.write(piece.freeze()).await?;
    }
}

/// Brings a snapshot into the session: what it holds is added or takes the place of what has its name, all else stays.
pub(super) async fn load(
    talk: &mut Conversation<'_>,
    claimed: &Claimed,
) -> Result<Verdict, Verdict> {
    let LoadSnapshotRequest { snapshot } = request_of(claimed)?;
    bring(talk, BlobKey::Snapshot(snapshot)).await?;
    Ok(Verdict::done(None))
}

/// Brings a snapshot into a session that is being opened.
pub(super) async fn begin_with(
    talk: &mut Conversation<'_>,
    claimed: &Claimed,
) -> Result<Verdict, Verdict> {
    let OpenRequest { snapshot } = request_of(claimed)?;
    if let Some(snapshot) = snapshot {
        bring(talk, BlobKey::Snapshot(snapshot)).await?;
    }
    Ok(Verdict::done(None))
}
