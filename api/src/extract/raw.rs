//! Bodies of plain bytes, never in memory as a whole.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use tokio::time::Instant;

use super::body::see_off;
use super::upload::{UPLOAD_WAIT, next_piece, too_large};
use crate::app::Shared;
use crate::error::ApiError;

/// A body that is an object of R, of any type that a caller may say it has.
pub struct ObjectBody {
    body: Body,
    limit: u64,
    taken: u64,
    deadline: Instant,
}

impl FromRequest<Shared> for ObjectBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, ApiError> {
        let limit = app.config.object_limit;
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        // Reading would ask such a caller to begin.
        let asks_first = request.headers().contains_key(header::EXPECT);
        let body = request.into_body();
        if announced.is_some_and(|length| length > limit) {
            if !asks_first {
                see_off(body);
            }
            return Err(too_large(limit));
        }
        Ok(Self {
            body,
            limit,
            taken: 0,
            deadline: Instant::now() + UPLOAD_WAIT,
        })
    }
}

impl ObjectBody {
    /// The next piece; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let Some(piece) = next_piece(&mut self.body, self.deadline).await? else {
            return Ok(None);
        };
        self.taken += piece.len() as u64;
        if self.taken > self.limit {
            return Err(too_large(self.limit));
        }
        Ok(Some(piece))
    }

    /// Reads on for a while to no purpose but that a refusal arrives.
    pub fn refuse(self) {
        see_off(self.body);
    }
}
