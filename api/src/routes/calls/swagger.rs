//! `GET /api/{name}/{version}/swagger.json`

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use warren_common::store::services;

use crate::app::Shared;
use crate::error::ApiError;
use crate::routes::services::Place;
use crate::services::document::{Described, document};

/// Describes a version for clients and those who generate them.
pub async fn swagger(
    State(app): State<Shared>,
    place: Place,
) -> Result<impl IntoResponse, ApiError> {
    let version = place.version()?;
    let found = services::target(&app.db, &place.name, version).await?;
    let definition = found.ok_or_else(|| place.unknown())?.definition;
    let text = document(&Described {
        name: &place.name,
        version,
        description: definition.description.as_deref(),
        operation_id: definition.operation_id.as_deref(),
        inputs: &definition.inputs,
        outputs: &definition.outputs,
        output_files: &definition.output_files,
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], text))
}
