//! Waiting for something to become true, with a limit.

use std::time::Duration;

use tokio::time::Instant;

/// How long a test waits for anything.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Time between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// Waits until `look` finds something.
///
/// # Panics
///
/// When it has found nothing after [`LIMIT`]; the message says what was waited for.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {LIMIT:?} in vain for this: {what}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}
