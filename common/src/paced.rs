//! Pieces of bytes as a stream that nobody can hold up for ever.

use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

/// How long a caller may take for a piece.
pub const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Where pieces come from, one after another.
pub trait Pieces: Send + 'static {
    /// Why there are no more although there should be.
    type Error: Send + 'static;

    /// The next piece, none at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Self::Error>> + Send;
}

/// The pieces as a stream, the next of which is fetched while one is read. Who takes none of them for as long as `limit` gets no
/// more: whatever they wait in is needed.
pub fn paced<P: Pieces>(
    pieces: P,
    limit: Duration,
) -> impl Stream<Item = Result<Bytes, P::Error>> + Send {
    let (filled, taken) = mpsc::channel(1);
    tokio::spawn(hand_on(pieces, filled, limit));
    unfold(taken, |mut taken| async move {
        let piece = taken.recv().await?;
        Some((piece, taken))
    })
}

async fn hand_on<P: Pieces>(
    mut pieces: P,
    filled: mpsc::Sender<Result<Bytes, P::Error>>,
    limit: Duration,
) {
    while let Some(piece) = pieces.next().await.transpose() {
        let is_last = piece.is_err();
        let taken = filled.send_timeout(piece, limit).await;
        if is_last || taken.is_err() {
            return;
        }
    }
}
