//! How many requests are under way at a node.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// Where the probes are, which are answered however much there is to do.
const HEALTH: &str = "/health/";

/// Places for requests that are under way.
///
/// One has its place until its answer begins. What is then sent on counts no longer, as it has bounds of its own: event streams have
/// places, downloads share those of the object store or of workers, and each takes a connection.
#[derive(Clone)]
pub struct Requests(Arc<Semaphore>);

impl Requests {
    /// This many places.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Semaphore::new(limit)))
    }
}

/// The place of a request, among its extensions, for whoever goes on with it when its caller has gone away.
#[derive(Clone)]
pub struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Refuses at once what finds no place.
pub async fn limit(
    State(Requests(places)): State<Requests>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.uri().path().starts_with(HEALTH) {
        return next.run(request).await;
    }
    match places.try_acquire_owned() {
        Ok(permit) => {
            let place = Place {
                _permit: Arc::new(permit),
            };
            request.extensions_mut().insert(place.clone());
            let response = next.run(request).await;
            drop(place);
            response
        }
        Err(_none_free) => ApiError::Busy.into_response(),
    }
}
