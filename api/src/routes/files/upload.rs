//! `POST /sessions/{id}/files`

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use warren_common::blobs::Gather;
use warren_common::id::{PrincipalId, TransferId};
use warren_common::model::{Content, JobKind, PutFilesRequest, UploadedFile};

use super::name;
use crate::app::Shared;
use crate::error::ApiError;
use crate::extract::{FilePart, Key, Receive, Upload};
use crate::routes::sessions::session_of;
use crate::routes::turn::{self, Asked};

/// Files of one upload.
const MOST_FILES: usize = 1000;

/// Puts files into the working directory, where R sees each whole or not at all; at once, also while R is busy.
pub async fn upload(
    State(app): State<Shared>,
    mut asked: Asked,
    upload: Upload,
) -> Result<Response, ApiError> {
    // Before the bytes are sent anywhere.
    let refusal = if app.broker.is_connected() {
        session_of(&app, &asked.caller, asked.session).await.err()
    } else {
        Some(ApiError::unavailable("RabbitMQ cannot be reached"))
    };
    if let Some(error) = refusal {
        upload.refuse();
        return Err(error);
    }
    let mut files = Received::new(app.clone(), asked.caller.id, std::mem::take(&mut asked.key));
    upload.each_file(&mut files).await?;
    if files.list.is_empty() {
        let text = "the form has no part named file".to_owned();
        return Err(ApiError::BadRequest(text));
    }
    asked.key = std::mem::take(&mut files.key);
    let request = PutFilesRequest {
        files: std::mem::take(&mut files.list),
    };
    // From here on they may be those of a job, which goes on also when this caller goes away.
    let sent = files.keep();
    match turn::take(&app, asked, JobKind::PutFiles, &request, Bytes::new()).await {
        Ok(turn) => turn.answer(|_outcome| Ok(StatusCode::CREATED)),
        Err(error) => {
            if error.stored_nothing() {
                discard(&app, sent);
            }
            Err(error)
        }
    }
}

/// Files that have arrived. Dropped before a job has them, they leave nothing.
struct Received {
    app: Shared,
    owner: PrincipalId,
    key: Key,
    list: Vec<UploadedFile>,
    transfers: Vec<TransferId>,
    /// How much the row of the job has room for.
    room: usize,
}

impl Received {
    fn new(app: Shared, owner: PrincipalId, key: Key) -> Self {
        Self {
            app,
            owner,
            key,
            list: Vec::new(),
            transfers: Vec::new(),
            room: Content::MAX_IN_ROW,
        }
    }

    /// They are a job's now.
    fn keep(mut self) -> Vec<TransferId> {
        std::mem::take(&mut self.transfers)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        discard(&self.app, std::mem::take(&mut self.transfers));
    }
}

impl Receive for Received {
    async fn receive(&mut self, mut part: FilePart<'_, '_>) -> Result<(), ApiError> {
        let name = name::without_path(&part.name)?.to_owned();
        if self.list.len() == MOST_FILES {
            let text = format!("more than {MOST_FILES} files in one upload");
            return Err(ApiError::ResultTooLarge(text));
        }
        // Each part begins with its name, which no content can imitate, and ends with its length.
        self.key.add(&(name.len() as u64).to_be_bytes());
        self.key.add(name.as_bytes());
        let mut gather = Gather::new(&self.app.blobs, u64::MAX).with_room(self.room);
        while let Some(piece) = part.next().await? {
            self.key.add(&piece);
            gather.write(piece).await?;
        }
        let content = gather.finish(&self.app.db, self.owner).await?;
        self.key.add(&content.size().to_be_bytes());
        match &content {
            Content::Row { bytes } => self.room -= bytes.len(),
            Content::Transfer { id, .. } => self.transfers.push(*id),
        }
        self.list.push(UploadedFile { name, content });
        Ok(())
    }
}

/// Removes what no job has, without anybody waiting for it; what cannot be removed now expires.
fn discard(app: &Shared, transfers: Vec<TransferId>) {
    if transfers.is_empty() {
        return;
    }
    let app = app.clone();
    tokio::spawn(async move {
        if let Err(error) = app.blobs.discard(&app.db, &transfers).await {
            tracing::debug!(error = %error, "What was sent stays in the store until it expires");
        }
    });
}
