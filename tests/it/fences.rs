//! What a worker writes that is not the owner any more: nothing.

use std::time::Duration;

use warren_common::id::{ApiId, JobId, PrincipalId, SessionId, WorkerId};
use warren_common::model::{JobState, SessionState, WorkerIdentity};
use warren_common::store::console::{self, Chunk};
use warren_common::store::jobs::{self, Completion};
use warren_common::store::sessions::{self, NewSession};
use warren_common::store::{Db, workers};
use warren_tests::House;

const LEASE: Duration = Duration::from_secs(60);

/// What a worker had in its hands when it vanished.
struct Held {
    db: Db,
    running: Completion,
    busy: SessionId,
    idle: SessionId,
    opening: JobId,
}

impl Held {
    /// Writes everything that a worker can write.
    async fn write_everything(&self, me: WorkerIdentity) {
        let db = &self.db;
        assert!(!workers::renew(db, me, LEASE, false, 2).await.unwrap());
        let chunk = Chunk {
            job: self.running.job,
            attempt: self.running.attempt,
            seq: 0,
            text: b"late".to_vec(),
        };
        assert!(!console::append(db, me, &chunk).await.unwrap());
        let completions = std::slice::from_ref(&self.running);
        let completed = jobs::complete(db, me, completions).await.unwrap();
        assert!(completed.is_empty());
        let claimed = jobs::claim(db, me, &[self.busy, self.idle]).await.unwrap();
        assert!(claimed.is_empty());
        let opened = sessions::open(db, me, &[self.opening]).await.unwrap();
        assert!(opened.is_empty());
        let ended = sessions::end(db, me, self.busy, SessionState::Lost, "late");
        assert!(!ended.await.unwrap());
        let not_its_own = sessions::end_unless_work_waits(db, me, self.idle, "late");
        assert!(not_its_own.await.unwrap());
        workers::leave(db, me).await.unwrap();
    }
}

/// No sweeper runs here, so the rows stand as the worker left them: only the fence keeps its writes away.
#[tokio::test]
async fn no_write_of_a_dead_worker_or_of_an_earlier_epoch_changes_a_row() {
    let mut house = House::build().await;
    let client = house.admin().await;
    let (busy, idle) = (client.open_session().await, client.open_session().await);
    let running = busy.submit("repeat Sys.sleep(0.01)").await;
    client.job_is(&running, "running").await;
    busy.submit("1").await;
    let [worker, epoch, owner] = [
        "SELECT id FROM workers",
        "SELECT epoch FROM workers",
        "SELECT owner_id FROM sessions LIMIT 1",
    ]
    .map(|sql| house.sql_value(sql));
    let (worker, epoch, owner) = (worker.await, epoch.await, owner.await);
    house.apis[0].process.kill().await;
    house.workers[0].process.kill().await;
    let held = Held {
        db: house.db(),
        running: Completion {
            job: running.parse().unwrap(),
            attempt: 1,
            state: JobState::Succeeded,
            result: Some(b"{}".to_vec()),
            console_tail: b"late".to_vec(),
            reason: None,
            cancel: None,
            snapshot: None,
        },
        busy: busy.id.parse().unwrap(),
        idle: idle.id.parse().unwrap(),
        opening: opening(&house, owner.parse().unwrap()).await,
    };
    let id: WorkerId = worker.parse().unwrap();
    let epoch: i64 = epoch.parse().unwrap();
    for (state, epoch) in [
        ("alive", epoch - 1),
        ("draining", epoch + 1),
        ("dead", epoch),
        ("left", epoch),
    ] {
        house
            .sql(&format!(
                "UPDATE workers SET state = '{state}', ended_at = CASE WHEN '{state}' IN ('dead', 'left') THEN now() END"
            ))
            .await;
        let before = rows(&house).await;
        held.write_everything(WorkerIdentity { id, epoch }).await;
        assert_eq!(rows(&house).await, before, "{state}");
    }
    // The same writes of the owner are taken.
    house
        .sql("UPDATE workers SET state = 'alive', ended_at = NULL")
        .await;
    let me = WorkerIdentity { id, epoch };
    let running = std::slice::from_ref(&held.running);
    assert_eq!(
        jobs::complete(&held.db, me, running).await.unwrap().len(),
        1
    );
    // And taken once.
    assert!(
        jobs::complete(&held.db, me, running)
            .await
            .unwrap()
            .is_empty()
    );
    let claimed = jobs::claim(&held.db, me, &[held.busy, held.idle])
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(
        sessions::open(&held.db, me, &[held.opening])
            .await
            .unwrap()
            .len(),
        1
    );
}

/// A job that opens a session, and that nobody takes.
async fn opening(house: &House, owner: PrincipalId) -> JobId {
    let new = NewSession {
        session: SessionId::new(),
        job: JobId::new(),
        owner,
        name: None,
        request: b"{}",
        api: ApiId::new(),
        traceparent: "",
    };
    let mut conn = house.db().conn().await.unwrap();
    sessions::store_opening(&mut conn, &new, 0).await.unwrap();
    new.job
}

/// Everything that a worker can write to.
async fn rows(house: &House) -> String {
    let all = "SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
        SELECT j::text AS line FROM jobs j UNION ALL SELECT s::text FROM sessions s
        UNION ALL SELECT w::text FROM workers w UNION ALL SELECT c::text FROM console_chunks c) lines";
    house.sql_value(all).await
}
