//! Fetching what a worker holds ready.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warren_common::model::Offer;
use warren_common::paced::Pieces;
use warren_common::telemetry::chain;

/// Files of workers that are on their way through this node at one moment; each holds about a megabyte. What is beyond goes
/// through the object store.
const PLACES: usize = 64;
/// How long connecting to a worker may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long it may be silent while bytes are on their way.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// Why bytes cannot be fetched, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// This node has as many on their way as it may.
    #[error("as many files as may be are fetched from workers")]
    NoPlace,
    /// The worker cannot be reached.
    #[error("the worker cannot be reached at {at}")]
    Away {
        /// Where.
        at: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// The connection ended.
    #[error("the worker at {at} ended the connection; it is gone, or the file was written to")]
    Ended {
        /// Where.
        at: String,
        /// How.
        #[source]
        source: reqwest::Error,
    },
    /// It says nothing.
    #[error("the worker at {at} says nothing for {} s", .limit.as_secs())]
    Silent {
        /// Where.
        at: String,
        /// For so long.
        limit: Duration,
    },
    /// It does not hold them any more, or something else answers there.
    #[error("what answers at {at} does not hold the bytes ready (status {status})")]
    Refused {
        /// Where.
        at: String,
        /// Its answer.
        status: StatusCode,
    },
    /// There are not as many as were offered.
    #[error("the worker at {at} sent another number of bytes than it offered")]
    Length {
        /// Where.
        at: String,
    },
}

/// Reads from workers.
pub struct Offers {
    http: Client,
    places: Arc<Semaphore>,
}

/// Bytes on their way from a worker.
#[derive(Debug)]
pub struct Fetching {
    at: String,
    response: Response,
    left: u64,
    _place: OwnedSemaphorePermit,
}

impl Offers {
    /// Prepares requests; connects when first used.
    pub fn new() -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .redirect(Policy::none())
            // A worker is no site of the outside world.
            .no_proxy()
            // Each is for one file.
            .pool_max_idle_per_host(0)
            .user_agent("warren");
        Ok(Self {
            http: http.build()?,
            places: Arc::new(Semaphore::new(PLACES)),
        })
    }

    /// Whether one more could be fetched now: an offer that nobody takes keeps a place at its worker for a while.
    pub fn has_room(&self) -> bool {
        self.places.available_permits() > 0
    }

    /// Begins to fetch `length` bytes.
    pub async fn fetch(&self, offer: Offer, length: u64) -> Result<Fetching, FetchError> {
        let Offer { at, token } = offer;
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(FetchError::NoPlace);
        };
        let request = self.http.get(format!("http://{at}/"));
        let sent = request.bearer_auth(token.reveal()).send();
        let response = match tokio::time::timeout(ANSWER_LIMIT, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(source)) => return Err(FetchError::Away { at, source }),
            Err(_elapsed) => {
                let limit = ANSWER_LIMIT;
                return Err(FetchError::Silent { at, limit });
            }
        };
        if response.status() != StatusCode::OK {
            let status = response.status();
            return Err(FetchError::Refused { at, status });
        }
        if response.content_length() != Some(length) {
            return Err(FetchError::Length { at });
        }
        Ok(Fetching {
            at,
            response,
            left: length,
            _place: place,
        })
    }
}

impl Pieces for Fetching {
    type Error = FetchError;

    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let next = self.piece().await;
        if let Err(error) = &next {
            tracing::warn!("A file was cut short: {}", chain(error));
        }
        next
    }
}

impl Fetching {
    async fn piece(&mut self) -> Result<Option<Bytes>, FetchError> {
        let at = || self.at.clone();
        match tokio::time::timeout(SILENCE_LIMIT, self.response.chunk()).await {
            Ok(Ok(Some(piece))) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Ok(Some(piece))
            }
            Ok(Ok(None)) if self.left == 0 => Ok(None),
            Ok(Ok(None)) => Err(FetchError::Length { at: at() }),
            Ok(Err(source)) => Err(FetchError::Ended { at: at(), source }),
            Err(_elapsed) => Err(FetchError::Silent {
                at: at(),
                limit: SILENCE_LIMIT,
            }),
        }
    }
}
