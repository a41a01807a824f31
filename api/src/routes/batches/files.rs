//! `GET /api/{name}/{version}/batch/{execution}/{index}/files` and `…/files/{file}`

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use warren_common::model::{Content, OutputFile, RunResult};
use warren_common::store::batches;

use super::Execution;
use crate::app::{App, Shared};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::routes::download;

/// The files that an item returned; none while it has not ended.
pub async fn list(
    State(app): State<Shared>,
    caller: Caller,
    execution: Execution,
) -> Result<Json<Vec<String>>, ApiError> {
    let files = files_of(&app, &caller, &execution).await?;
    let written = files.into_iter().filter(|file| file.content.is_some());
    Ok(Json(written.map(|file| file.name).collect()))
}

/// The bytes of one.
pub async fn read(
    State(app): State<Shared>,
    caller: Caller,
    execution: Execution,
) -> Result<Response, ApiError> {
    let files = files_of(&app, &caller, &execution).await?;
    let found = files
        .into_iter()
        .find(|file| file.name == execution.file)
        .and_then(|file| file.content);
    let encoded = found.ok_or_else(|| {
        ApiError::NotFound(format!(
            "the item {} has no file {:?}",
            execution.index, execution.file
        ))
    })?;
    let bytes = STANDARD.decode(encoded).map_err(ApiError::internal)?;
    download::bytes(&app.blobs, Content::Row { bytes }, &execution.file).await
}

async fn files_of(
    app: &App,
    caller: &Caller,
    execution: &Execution,
) -> Result<Vec<OutputFile>, ApiError> {
    let batch = execution.find(app, caller).await?;
    let found = batches::result(&app.db, batch.id, execution.index).await?;
    let result = found.ok_or_else(|| {
        ApiError::NotFound(format!(
            "the batch has no record {}; it has {}, counted from 0",
            execution.index, batch.items
        ))
    })?;
    let run = result.and_then(|result| serde_json::from_slice::<RunResult>(&result).ok());
    Ok(run.map_or_else(Vec::new, |run| run.output_files))
}
