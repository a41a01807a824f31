//! Stopping in two steps: finish what runs, then cut it short.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Two wishes to stop. The second includes the first.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take no more work and finish what runs.
    pub soft: CancellationToken,
    /// Cut short what still runs.
    pub hard: CancellationToken,
}

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to finish, and after `grace` to cut short.
    pub async fn drain(&self, grace: Duration) {
        self.soft.cancel();
        tokio::select! {
            () = tokio::time::sleep(grace) => self.hard.cancel(),
            () = self.hard.cancelled() => {}
        }
    }

    /// Cuts everything short at once.
    pub fn now(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Listens to SIGTERM and SIGINT: the first drains, the second cuts short.
    pub fn on_signals(&self, grace: Duration) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = self.clone();
        tokio::spawn(async move {
            for wish in ["finish what runs", "stop now"] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("Asked by signal to {wish}");
                if stop.soft.is_cancelled() {
                    stop.hard.cancel();
                } else {
                    let draining = stop.clone();
                    tokio::spawn(async move { draining.drain(grace).await });
                }
            }
        });
        Ok(())
    }
}
