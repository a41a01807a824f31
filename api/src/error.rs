//! The one error of the edge: each variant knows its status, and nothing else decides what a caller reads.

use std::borrow::Cow;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use warren_common::blobs::{BlobError, GatherError};
use warren_common::id::JobId;
use warren_common::store::DbError;
use warren_common::telemetry;

use crate::auth::ldap::DirectoryError;

/// Why a request is not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// No token, or none that counts; or a bad login.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// Known who asks, and it may not be.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing, or it belongs to somebody else.
    #[error("{0}")]
    NotFound(String),
    /// The path exists, the method does not.
    #[error("this path does not take that method; see the Allow header")]
    MethodNotAllowed,
    /// It existed, and why it does not any more.
    #[error("{0}")]
    Gone(String),
    /// The body is larger than may be.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// What was asked for, or is to be stored, is larger than may be.
    #[error("{0}")]
    ResultTooLarge(String),
    /// It was under way, and something else came between.
    #[error("{0}")]
    Conflict(String),
    /// What was to be called is not what it was when it was looked at.
    #[error("the service is being published or deleted at this moment; try again")]
    Changed,
    /// The body is of a wholly wrong type.
    #[error("the body must be application/json, not {0}")]
    UnsupportedMediaType(String),
    /// The body is no form with files.
    #[error("the body must be multipart/form-data, not {0}")]
    NotMultipart(String),
    /// Nothing of the range that was asked for is there.
    #[error("the range lies outside the {0} bytes that there are")]
    OutOfRange(u64),
    /// An `Idempotency-Key` came back with another request.
    #[error("this Idempotency-Key was used for another request within the last 24 hours")]
    KeyTaken,
    /// As many jobs wait in the session as may.
    #[error("{0} jobs wait in this session already; try again later")]
    QueueFull(u32),
    /// A caller reads as many event streams as it may.
    #[error("you read {0} event streams of this node already; close one, or try again later")]
    TooManyStreams(u32),
    /// Sign-ins of this name from this address failed too often, and as many wait as may.
    #[error(
        "too many attempts to sign in as this user are being made from your address; try again later"
    )]
    TooManyAttempts,
    /// The body did not arrive.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// Known, but for a later release.
    #[error("{0} are not built yet")]
    NotBuilt(&'static str),
    /// Something that is needed is away; nothing was stored.
    #[error("{0}; try again later")]
    Unavailable(Cow<'static, str>),
    /// As many requests are under way as may.
    #[error(
        "this node has as many requests under way as it may; try again, here or at another node"
    )]
    Busy,
    /// Postgres is away; nothing was stored.
    #[error("PostgreSQL cannot be reached; try again later")]
    DatabaseAway(#[source] DbError),
    /// The object store is away; nothing was stored.
    #[error("the object store cannot be reached; try again later")]
    StoreAway(#[source] BlobError),
    /// The directory is away; nobody was signed in, and no token was spent.
    #[error("the directory cannot be reached; try again later")]
    DirectoryAway(#[source] DirectoryError),
    /// Nobody knows whether the job was stored.
    #[error(
        "the connection to PostgreSQL was lost while job {0} was being stored, so it may run or not; ask for /jobs/{0}"
    )]
    InDoubt(JobId),
    /// The job runs on, but this node does not wait any longer.
    #[error("this node is stopping; the job runs on, ask another node for /jobs/{0}")]
    Leaving(JobId),
    /// A fault of ours.
    #[error("internal error; the link field and the log of the server name this request")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ApiError {
    /// A fault of ours.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    /// Something that is needed is away.
    pub fn unavailable(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Unavailable(what.into())
    }

    /// True when it is certain that no job came of the request.
    pub fn stored_nothing(&self) -> bool {
        !matches!(
            self,
            Self::InDoubt(_) | Self::Leaving(_) | Self::Internal(_)
        )
    }

    /// Status and exception type.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "BadRequestException"),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "UnauthorizedException"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "ForbiddenException"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "NotFoundException"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowedException"),
            Self::Gone(_) => (StatusCode::GONE, "GoneException"),
            Self::TooLarge(_) | Self::ResultTooLarge(_) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException")
            }
            Self::Conflict(_) | Self::Changed => (StatusCode::CONFLICT, "ConflictException"),
            Self::OutOfRange(_) => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "RangeNotSatisfiableException",
            ),
            Self::UnsupportedMediaType(_) | Self::NotMultipart(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaTypeException",
            ),
            Self::KeyTaken => (StatusCode::UNPROCESSABLE_ENTITY, "IdempotencyKeyException"),
            Self::QueueFull(_) | Self::TooManyStreams(_) | Self::TooManyAttempts => {
                (StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException")
            }
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "RequestTimeoutException"),
            Self::NotBuilt(_) => (StatusCode::NOT_IMPLEMENTED, "NotImplementedException"),
            Self::Busy
            | Self::Unavailable(_)
            | Self::DatabaseAway(_)
            | Self::StoreAway(_)
            | Self::DirectoryAway(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailableException",
            ),
            Self::InDoubt(_) | Self::Leaving(_) => {
                (StatusCode::GATEWAY_TIMEOUT, "GatewayTimeoutException")
            }
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerErrorException",
            ),
        }
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Unauthorized(_) => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            Self::Busy | Self::QueueFull(_) | Self::TooManyStreams(_) | Self::TooManyAttempts => {
                Some((header::RETRY_AFTER, HeaderValue::from_static("1")))
            }
            Self::Unavailable(_)
            | Self::DatabaseAway(_)
            | Self::StoreAway(_)
            | Self::DirectoryAway(_) => Some((header::RETRY_AFTER, HeaderValue::from_static("2"))),
            Self::OutOfRange(size) => {
                let range = HeaderValue::from_str(&format!("bytes */{size}")).ok()?;
                Some((header::CONTENT_RANGE, range))
            }
            Self::InDoubt(job) | Self::Leaving(job) => {
                let place = HeaderValue::from_str(&format!("/jobs/{job}")).ok()?;
                Some((header::LOCATION, place))
            }
            _ => None,
        }
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Away { .. } => Self::StoreAway(error),
            BlobError::NotFound { .. } => {
                Self::Gone("the bytes have expired; ask for them again".to_owned())
            }
            BlobError::TooLarge { .. } => Self::ResultTooLarge(error.to_string()),
            BlobError::Damaged { .. } => Self::internal(error),
        }
    }
}

impl From<GatherError> for ApiError {
    fn from(error: GatherError) -> Self {
        match error {
            GatherError::Blob(error) => error.into(),
            GatherError::Db(error) => error.into(),
        }
    }
}

impl From<DirectoryError> for ApiError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Busy => Self::unavailable("too many are signing in at once"),
            error if error.is_away() => Self::DirectoryAway(error),
            error => Self::internal(error),
        }
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        if error.is_away() {
            Self::DatabaseAway(error)
        } else {
            Self::internal(error)
        }
    }
}

/// What of an error the middleware needs to write the body, which names the request.
#[derive(Debug, Clone)]
pub struct Problem {
    message: String,
    exception: &'static str,
    /// For the log; never for the caller.
    pub cause: Option<String>,
}

impl Problem {
    /// The Error body.
    pub fn body(&self, status: StatusCode, request_id: &str) -> Vec<u8> {
        let body = ErrorBody {
            code: status.as_u16(),
            message: &self.message,
            fields: "",
            link: request_id,
            exception_type: self.exception,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// The superset of what every version of the original sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    code: u16,
    message: &'a str,
    fields: &'a str,
    link: &'a str,
    exception_type: &'a str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, exception) = self.kind();
        let mut response = status.into_response();
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        let source = std::error::Error::source(&self);
        response.extensions_mut().insert(Problem {
            message: self.to_string(),
            exception,
            cause: source.map(telemetry::chain),
        });
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_superset_of_all_versions() {
        let response = ApiError::NotFound("no session 1".to_owned()).into_response();
        let problem = response.extensions().get::<Problem>().unwrap();
        assert_eq!(
            String::from_utf8(problem.body(response.status(), "7f")).unwrap(),
            r#"{"code":404,"message":"no session 1","fields":"","link":"7f","exceptionType":"NotFoundException"}"#
        );
    }

    #[test]
    fn a_fault_of_ours_keeps_its_cause_from_the_caller() {
        let response = ApiError::internal("the secret is 42").into_response();
        let problem = response.extensions().get::<Problem>().unwrap();
        let body = String::from_utf8(problem.body(response.status(), "7f")).unwrap();
        assert!(!body.contains("42"));
        assert_eq!(problem.cause.as_deref(), Some("the secret is 42"));
    }

    #[test]
    fn headers_come_with_their_status() {
        let job = JobId::new();
        for (error, name, value) in [
            (
                ApiError::Unauthorized("no"),
                header::WWW_AUTHENTICATE,
                "Bearer".to_owned(),
            ),
            (
                ApiError::unavailable("away"),
                header::RETRY_AFTER,
                "2".to_owned(),
            ),
            (
                ApiError::InDoubt(job),
                header::LOCATION,
                format!("/jobs/{job}"),
            ),
        ] {
            let response = error.into_response();
            assert_eq!(response.headers().get(name).unwrap(), &value);
        }
    }
}
