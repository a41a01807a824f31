//! What ends a bench early.

use std::sync::Arc;

use hyper::StatusCode;
use warren_common::blobs::BlobError;
use warren_common::group::Stopped;
use warren_common::queue::{BadAddress, PublishError};
use warren_common::store::DbError;

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// R cannot be started, or fails.
    #[error("R cannot be started: {0}")]
    StartR(String),
    /// The R host, or R beside it, fails.
    #[error("the R host")]
    Host(#[source] std::io::Error),
    /// The object store fails.
    #[error("the object store")]
    Store(#[source] BlobError),
    /// No connection to the API.
    #[error("the API cannot be reached")]
    Connect(#[source] std::io::Error),
    /// A request got no answer.
    #[error("the API gave no answer")]
    Http(#[from] hyper::Error),
    /// A request that cannot be written down.
    #[error("a request cannot be made")]
    Request(#[from] hyper::http::Error),
    /// Another answer than the expected one.
    #[error("{what}: the API answered {status}: {body}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Status.
        status: StatusCode,
        /// Body.
        body: String,
    },
    /// Nothing came in time.
    #[error("{0} took too long")]
    Late(&'static str),
    /// A statement of the floor failed.
    #[error("the floor's database")]
    Database(#[from] DbError),
    /// The broker's address is none.
    #[error("the floor's broker")]
    Address(#[from] BadAddress),
    /// A message of the floor was not sent.
    #[error("the floor's broker")]
    Publish(#[from] PublishError),
    /// A message of the floor came back.
    #[error("the floor's queue is gone")]
    Returned,
    /// A grouped statement of the floor failed.
    #[error("the floor's database")]
    Group(#[from] Arc<DbError>),
    /// A file did not get through.
    #[error("a file did not get through")]
    File(#[source] std::io::Error),
    /// The kernel does not tell how much memory a program has.
    #[error("the memory of a program cannot be read")]
    Memory(#[source] std::io::Error),
    /// An address of the store cannot be signed.
    #[error("an address of the object store cannot be signed: {0}")]
    Signing(String),
    /// A statement by which the bench prepares what it measures failed.
    #[error("the database cannot be prepared")]
    Prepare(#[from] tokio_postgres::Error),
    /// A node does not tell a number that it should.
    #[error("/metrics has no {0}")]
    Metric(&'static str),
    /// A part of the bench died.
    #[error("a part of the bench died")]
    Died,
}

impl From<Stopped> for BenchError {
    fn from(_stopped: Stopped) -> Self {
        Self::Died
    }
}
