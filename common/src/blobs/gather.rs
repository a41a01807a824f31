//! Bytes of a job on their way in: few go into its row, many into the store.

use tokio_util::bytes::{Bytes, BytesMut};

use super::{BlobError, BlobKey, Blobs, Upload};
use crate::id::{PrincipalId, TransferId};
use crate::model::Content;
use crate::store::{Db, DbError, transfers};

/// Why bytes could not be kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GatherError {
    /// The store did not take them, or there were too many.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Nobody could note that they are there.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Bytes that arrive piece by piece and become a [`Content`]. Dropped before the end they leave nothing.
pub struct Gather {
    blobs: Blobs,
    limit: u64,
    few: BytesMut,
    many: Option<(TransferId, Upload)>,
}

impl Gather {
    /// Nothing yet; at most `limit` bytes.
    pub fn new(blobs: &Blobs, limit: u64) -> Self {
        Self {
            blobs: blobs.clone(),
            limit,
            few: BytesMut::new(),
            many: None,
        }
    }

    /// Takes the next piece. Speaks to the store only when they are too many for a row.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        if let Some((_id, upload)) = &mut self.many {
            return upload.write(piece).await;
        }
        let size = self.few.len() + piece.len();
        if size as u64 > self.limit {
            return Err(BlobError::TooLarge { limit: self.limit });
        }
        if size <= Content::MAX_IN_ROW {
            self.few.extend_from_slice(&piece);
            return Ok(());
        }
        let id = TransferId::new();
        let mut upload = self.blobs.upload(BlobKey::Transfer(id), self.limit);
        upload.write(std::mem::take(&mut self.few).freeze()).await?;
        upload.write(piece).await?;
        self.many = Some((id, upload));
        Ok(())
    }

    /// All of them, once they are where they belong and, if that is the store, a row says whose they are.
    pub async fn finish(self, db: &Db, owner: PrincipalId) -> Result<Content, GatherError> {
        let kept = self.blobs.transfers_kept;
        let Some((id, upload)) = self.many else {
            return Ok(Content::Row {
                bytes: self.few.into(),
            });
        };
        let size = upload.finish().await?;
        transfers::insert(db, id, owner, size, kept).await?;
        Ok(Content::Transfer { id, size })
    }
}
