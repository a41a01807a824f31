//! `GET /sessions/{id}/workspace/{object}`

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use warren_common::model::{GetObjectRequest, GotObject, JobKind, ObjectFormat};

use super::ObjectName;
use crate::app::Shared;
use crate::error::ApiError;
use crate::extract::Params;
use crate::routes::download::bytes;
use crate::routes::turn::{self, Asked, Turn};

/// In which format the object is wanted.
#[derive(Deserialize)]
pub struct Query {
    format: Option<String>,
}

/// An object in a format that R reads, when it is its turn.
pub async fn read(
    State(app): State<Shared>,
    mut asked: Asked,
    ObjectName(name): ObjectName,
    Params(query): Params<Query>,
) -> Result<Response, ApiError> {
    let format = format(query.format.as_deref())?;
    asked.key.add(format.word().as_bytes());
    let request = GetObjectRequest { name, format };
    match turn::take(&app, asked, JobKind::GetObject, &request, Bytes::new()).await? {
        Turn::Accepted(response) => Ok(response),
        Turn::Ended(outcome) => {
            turn::succeeded(&outcome)?;
            let got: GotObject = outcome.read().ok_or_else(turn::unreadable)?;
            bytes(&app.blobs, got.content, &got.file).await
        }
    }
}

fn format(asked: Option<&str>) -> Result<ObjectFormat, ApiError> {
    let Some(word) = asked else {
        return Ok(ObjectFormat::Rdata);
    };
    word.to_ascii_lowercase().parse().map_err(|_unknown| {
        ApiError::BadRequest(format!(
            "there is no format {word:?}; it can be rdata, serialize or rds"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_one_of_three() {
        assert_eq!(format(None).unwrap(), ObjectFormat::Rdata);
        assert_eq!(format(Some("RDS")).unwrap(), ObjectFormat::Rds);
        assert_eq!(format(Some("serialize")).unwrap(), ObjectFormat::Serialize);
        assert!(format(Some("json")).is_err());
    }
}
