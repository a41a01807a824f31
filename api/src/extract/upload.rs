//! Bodies with files: `multipart/form-data`, never in memory as a whole.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures::Stream;
use futures::stream::try_unfold;
use http_body_util::BodyExt;
use multer::{Field, Multipart};
use tokio::time::Instant;

use super::body::see_off;
use super::disposition::file_name;
use crate::app::Shared;
use crate::error::ApiError;

/// How long a whole upload may take.
pub(super) const UPLOAD_WAIT: Duration = Duration::from_secs(3600);
/// How long a caller may send nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest headers of one part, and the longest text before the first.
const HEADERS: usize = 64 * 1024;

/// A body that may hold files. It is read by [`Upload::each_file`].
pub struct Upload {
    body: Body,
    boundary: String,
    limit: u64,
}

impl FromRequest<Shared> for Upload {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, ApiError> {
        let limit = app.config.upload_limit;
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        // Reading would ask such a caller to begin.
        let asks_first = request.headers().contains_key(header::EXPECT);
        let boundary = if announced.is_some_and(|length| length > limit) {
            Err(too_large(limit))
        } else {
            boundary(request.headers())
        };
        let body = request.into_body();
        match boundary {
            Ok(boundary) => Ok(Self {
                body,
                boundary,
                limit,
            }),
            Err(error) => {
                if !asks_first {
                    see_off(body);
                }
                Err(error)
            }
        }
    }
}

/// A part with a file.
pub struct FilePart<'a, 'r> {
    /// Its file name as it was sent.
    pub name: String,
    field: &'a mut Field<'r>,
}

impl FilePart<'_, '_> {
    /// The next piece of the file, none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        self.field.chunk().await.map_err(of_multer)
    }
}

/// Takes the files of an upload, one after the other.
pub trait Receive {
    /// Takes one: all of its pieces.
    fn receive(
        &mut self,
        part: FilePart<'_, '_>,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
}

impl Upload {
    /// Reads on for a while to no purpose but that a refusal arrives.
    pub fn refuse(self) {
        see_off(self.body);
    }

    /// Gives each part named `file` to `receiver`; others are read and not kept. After an error the rest of the body is seen off.
    pub async fn each_file(mut self, receiver: &mut impl Receive) -> Result<(), ApiError> {
        let outcome = self.read(receiver).await;
        if outcome.is_err() {
            see_off(self.body);
        }
        outcome
    }

    async fn read(&mut self, receiver: &mut impl Receive) -> Result<(), ApiError> {
        let phase = Phase::default();
        let pieces = pieces(&mut self.body, self.limit, &phase);
        let mut form = Multipart::new(pieces, self.boundary.as_str());
        loop {
            phase.next();
            let Some(mut field) = form.next_field().await.map_err(of_multer)? else {
                return Ok(());
            };
            phase.next();
            if field.name() == Some("file") {
                let name = file_name(field.headers()).ok_or_else(|| {
                    ApiError::BadRequest("a part named file has no filename".to_owned())
                })?;
                let field = &mut field;
                receiver.receive(FilePart { name, field }).await?;
            }
            // Whatever of it nobody wanted.
            while field.chunk().await.map_err(of_multer)?.is_some() {}
        }
    }
}

/// Whether the parser looks for headers (odd) or gives out a file (even); each turn has a number of its own.
#[derive(Default)]
struct Phase(AtomicUsize);

impl Phase {
    fn next(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn number(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn is_headers(&self) -> bool {
        self.number() % 2 == 1
    }
}

/// The body piece by piece, within limits of size and time.
///
/// The parser takes what is there until it has to wait, and keeps what it needs to find the end of headers: so it is made to wait
/// after each piece, and headers have a length.
fn pieces<'a>(
    body: &'a mut Body,
    limit: u64,
    phase: &'a Phase,
) -> impl Stream<Item = Result<Bytes, ApiError>> + Send + 'a {
    struct State<'a> {
        body: &'a mut Body,
        taken: u64,
        /// How many bytes came since this phase was first seen, without the last piece: the parser may ask for another before
        /// it has looked at that.
        seen: (usize, usize),
        last: usize,
    }
    let deadline = Instant::now() + UPLOAD_WAIT;
    let state = State {
        body,
        taken: 0,
        seen: (0, 0),
        last: 0,
    };
    try_unfold(state, move |mut state| async move {
        tokio::task::yield_now().await;
        let now = phase.number();
        if state.seen.0 != now {
            state.seen = (now, 0);
            state.last = 0;
        }
        if phase.is_headers() && state.seen.1 > HEADERS {
            let text = format!("the headers of a part are longer than {HEADERS} bytes");
            return Err(ApiError::BadRequest(text));
        }
        state.seen.1 += state.last;
        let Some(piece) = next_piece(state.body, deadline).await? else {
            return Ok(None);
        };
        state.taken += piece.len() as u64;
        if state.taken > limit {
            return Err(too_large(limit));
        }
        state.last = piece.len();
        Ok(Some((piece, state)))
    })
}

/// The next piece of a body whose caller may be silent for a while.
pub(super) async fn next_piece(
    body: &mut Body,
    deadline: Instant,
) -> Result<Option<Bytes>, ApiError> {
    loop {
        let wait = (Instant::now() + SILENCE).min(deadline);
        let frame = tokio::time::timeout_at(wait, body.frame())
            .await
            .map_err(|_elapsed| ApiError::BodyTimeout)?;
        match frame {
            None => return Ok(None),
            Some(Err(_broken)) => return Err(broken()),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn boundary(headers: &HeaderMap) -> Result<String, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.map_or(Ok(""), |kind| kind.to_str());
    let kind = kind.map_err(|_error| ApiError::NotMultipart("something unreadable".to_owned()))?;
    match multer::parse_boundary(kind) {
        Ok(boundary) => Ok(boundary),
        Err(multer::Error::NoBoundary) => Err(ApiError::BadRequest(
            "the Content-Type says multipart/form-data without a boundary".to_owned(),
        )),
        Err(_other) if kind.is_empty() => {
            Err(ApiError::NotMultipart("without a Content-Type".to_owned()))
        }
        Err(_other) => Err(ApiError::NotMultipart(kind.to_owned())),
    }
}

pub(super) fn too_large(limit: u64) -> ApiError {
    ApiError::TooLarge(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn broken() -> ApiError {
    ApiError::BadRequest("the body did not arrive whole".to_owned())
}

fn of_multer(error: multer::Error) -> ApiError {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<ApiError>() {
            Ok(error) => *error,
            Err(_other) => broken(),
        },
        multer::Error::IncompleteStream | multer::Error::IncompleteFieldData { .. } => broken(),
        other => ApiError::BadRequest(format!("the form cannot be read: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_needs_its_type_and_its_boundary() {
        let of = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            boundary(&headers)
        };
        assert_eq!(of("multipart/form-data; boundary=x").unwrap(), "x");
        assert!(matches!(
            of("multipart/form-data"),
            Err(ApiError::BadRequest(_))
        ));
        for kind in ["application/json", "multipart/mixed; boundary=x", "?"] {
            assert!(matches!(of(kind), Err(ApiError::NotMultipart(_))), "{kind}");
        }
        assert!(boundary(&HeaderMap::new()).is_err());
    }

    #[derive(Default)]
    struct Kept(Vec<(String, usize)>);

    impl Receive for Kept {
        async fn receive(&mut self, mut part: FilePart<'_, '_>) -> Result<(), ApiError> {
            let mut bytes = 0;
            while let Some(piece) = part.next().await? {
                bytes += piece.len();
            }
            self.0.push((part.name, bytes));
            Ok(())
        }
    }

    async fn read(body: Body, limit: u64) -> Result<Vec<(String, usize)>, ApiError> {
        let mut kept = Kept::default();
        let boundary = "b".to_owned();
        let upload = Upload {
            body,
            boundary,
            limit,
        };
        upload.each_file(&mut kept).await.map(|()| kept.0)
    }

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"one\"\r\n\r\n123\r\n\
        --b\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nignored\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"two\"\r\n\r\n\r\n--b--\r\n";

    #[tokio::test]
    async fn every_part_named_file_is_given_out_and_no_other() {
        let kept = read(Body::from(FORM), 10_000).await.unwrap();
        assert_eq!(kept, [("one".to_owned(), 3), ("two".to_owned(), 0)]);
    }

    #[tokio::test]
    async fn limits_and_broken_forms_say_what_they_are() {
        let short = read(Body::from(FORM), 100).await.unwrap_err();
        assert!(matches!(short, ApiError::TooLarge(100)), "{short}");
        let cut = read(Body::from(&FORM[..90]), 10_000).await.unwrap_err();
        assert!(matches!(cut, ApiError::BadRequest(_)), "{cut}");
        let nameless = FORM.replace("; filename=\"two\"", "");
        let nameless = read(Body::from(nameless), 10_000).await.unwrap_err();
        assert!(nameless.to_string().contains("filename"), "{nameless}");
    }

    #[tokio::test]
    async fn headers_without_end_are_not_gathered() {
        let endless =
            futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 8 * 1024]));
        let start = futures::stream::iter([Ok(b"--b\r\nX: ".to_vec())]);
        let body = Body::from_stream(futures::StreamExt::chain(start, endless));
        let error = read(body, u64::MAX).await.unwrap_err();
        assert!(error.to_string().contains("headers"), "{error}");
    }
}
