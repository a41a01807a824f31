//! Readiness: whether this node could do its work now.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use warren_common::queue::Broker;
use warren_common::store::{Db, migrate};

/// How long an answer is good for.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// How long Postgres may take to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks Postgres and RabbitMQ, at most once a second however many ask.
#[derive(Clone)]
pub struct Ready {
    db: Db,
    broker: Broker,
    last: Arc<Mutex<Option<(Instant, bool)>>>,
}

impl Ready {
    /// Not asked yet.
    pub fn new(db: Db, broker: Broker) -> Self {
        Self {
            db,
            broker,
            last: Arc::default(),
        }
    }

    /// True when Postgres answers with a current schema and the broker is connected.
    pub async fn is_up(&self) -> bool {
        let mut last = self.last.lock().await;
        if let Some((asked, up)) = *last
            && asked.elapsed() < GOOD_FOR
        {
            return up;
        }
        let answer = tokio::time::timeout(LIMIT, migrate::is_current(&self.db)).await;
        let up = matches!(answer, Ok(Ok(true))) && self.broker.is_connected();
        *last = Some((Instant::now(), up));
        up
    }
}
