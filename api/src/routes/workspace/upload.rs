//! `POST /sessions/{id}/workspace/{object}`

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use warren_common::blobs::Gather;
use warren_common::model::{Content, JobKind, PutObjectRequest};

use super::ObjectName;
use crate::app::Shared;
use crate::error::ApiError;
use crate::extract::{Key, ObjectBody};
use crate::routes::sessions::session_of;
use crate::routes::turn::{self, Asked};

/// Makes an object of bytes that R wrote, when it is its turn. What had the name before is gone then.
pub async fn upload(
    State(app): State<Shared>,
    mut asked: Asked,
    ObjectName(name): ObjectName,
    mut body: ObjectBody,
) -> Result<Response, ApiError> {
    // Before the bytes are sent anywhere.
    let received = match session_of(&app, &asked.caller, asked.session).await {
        Ok(_session) => receive(&app, &mut body, &mut asked.key).await,
        Err(error) => Err(error),
    };
    let gather = match received {
        Ok(gather) => gather,
        Err(error) => {
            body.refuse();
            return Err(error);
        }
    };
    let content = gather.finish(&app.db, asked.caller.id).await?;
    let sent = match &content {
        Content::Transfer { id, .. } => vec![*id],
        Content::Row { .. } => Vec::new(),
    };
    let request = PutObjectRequest { name, content };
    match turn::take(&app, asked, JobKind::PutObject, &request, Bytes::new()).await {
        Ok(turn) => turn.answer(|_outcome| Ok(StatusCode::OK)),
        Err(error) => {
            // What no job has; if it cannot be removed now, it expires.
            if error.stored_nothing()
                && let Err(error) = app.blobs.discard(&app.db, &sent).await
            {
                tracing::debug!(error = %error, "What was sent stays in the store until it expires");
            }
            Err(error)
        }
    }
}

async fn receive(app: &Shared, body: &mut ObjectBody, key: &mut Key) -> Result<Gather, ApiError> {
    let mut gather = Gather::new(&app.blobs, app.config.object_limit);
    while let Some(piece) = body.next().await? {
        key.add(&piece);
        gather.write(piece).await?;
    }
    Ok(gather)
}
