//! Which sessions are used: calls that only read note it here, and one statement for all writes it down now and then.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use warren_common::id::SessionId;
use warren_common::store::{Db, idle};

/// The longest time until a use is written down.
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// Sessions of one statement.
const LARGEST: usize = 1000;

/// The sessions that were used since the last time it was written down: no more than this node's callers have open.
#[derive(Clone)]
pub struct Activity {
    used: Arc<Mutex<HashSet<SessionId>>>,
    /// How long a session may be idle; none when it may be for ever, and then nothing is noted.
    idle: Option<Duration>,
}

impl Activity {
    /// For sessions that are closed after `idle`, or never.
    pub fn new(idle: Option<Duration>) -> Self {
        Self {
            used: Arc::default(),
            idle,
        }
    }

    /// A caller has just asked for something of a session of its own.
    pub fn note(&self, session: SessionId) {
        if self.idle.is_some() {
            self.lock().insert(session);
        }
    }

    /// How long it may take until a use is written down, when sessions may be idle for so long: a small part of that.
    pub fn delay(idle: Duration) -> Duration {
        (idle / 8).clamp(Duration::from_millis(10), LONGEST_DELAY)
    }

    /// Writes it down, for ever. While Postgres does not answer it is kept.
    pub async fn write(self, db: Db) {
        let Some(idle) = self.idle else {
            return;
        };
        let mut pace = tokio::time::interval(Self::delay(idle));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let used: Vec<SessionId> = self.lock().drain().collect();
            for group in used.chunks(LARGEST) {
                if let Err(error) = idle::touch(&db, group).await {
                    tracing::debug!(error = %error, "The use of sessions could not be written down");
                    self.lock().extend(group);
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<SessionId>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_noted_once_and_only_where_sessions_can_be_idle() {
        let session = SessionId::new();
        let activity = Activity::new(Some(Duration::from_secs(1800)));
        activity.note(session);
        activity.note(session);
        assert_eq!(activity.lock().len(), 1);
        let never = Activity::new(None);
        never.note(session);
        assert!(never.lock().is_empty());
    }

    #[test]
    fn the_delay_is_small_against_the_idle_time() {
        assert_eq!(Activity::delay(Duration::from_secs(1800)), LONGEST_DELAY);
        let short = Duration::from_secs(2);
        assert!(Activity::delay(short) <= short / 8);
    }
}
