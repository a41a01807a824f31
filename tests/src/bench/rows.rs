//! A table of jobs that has seen much, and whether anybody notices: two Warrens side by side, which differ in nothing but
//! how many finished jobs their tables hold.

use super::BenchError;
use super::figure::{Figure, Table};
use super::load;
use super::plan::Plan;
use super::stage::{Found, Stage};
use super::warren::Warren;
use crate::House;

/// Finished jobs of one session, when there are enough.
const JOBS_A_SESSION: u64 = 1000;
/// A user with one page of jobs.
const FEW: &str = "ben";

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// `1+1` in an open session.
    Execute(Table),
    /// The first page of the caller's jobs.
    List(Table),
    /// The first page of a caller who has few, and old ones.
    ListOfFew(Table),
}

/// A Warren for each table.
pub(super) struct RowsStage {
    empty: Side,
    full: Side,
}

/// A Warren, and a user of it who is not the owner of its sessions.
struct Side {
    warren: Warren,
    few: String,
}

impl Side {
    async fn start(rows: u64) -> Result<Self, BenchError> {
        let warren = Warren::start(1).await?;
        let house = &warren.house;
        let few = house.user(FEW).await.token().to_owned();
        fill(house, rows).await?;
        Ok(Self { warren, few })
    }
}

impl RowsStage {
    /// Starts them, and fills one of the tables.
    pub(super) async fn set_up(rows: u64) -> Result<Self, BenchError> {
        Ok(Self {
            empty: Side::start(0).await?,
            full: Side::start(rows).await?,
        })
    }

    const fn side(&self, table: Table) -> &Side {
        match table {
            Table::Empty => &self.empty,
            Table::Full => &self.full,
        }
    }
}

impl Stage for RowsStage {
    type Step = Step;

    fn steps() -> Vec<Step> {
        let tables = [Table::Empty, Table::Full];
        let executes = tables.into_iter().map(Step::Execute);
        executes
            .chain(tables.into_iter().map(Step::List))
            .chain(tables.into_iter().map(Step::ListOfFew))
            .collect()
    }

    async fn measure(&self, step: Step, plan: &Plan) -> Result<Vec<Found>, BenchError> {
        let (figure, sample) = match step {
            Step::Execute(table) => {
                let clients = self.side(table).warren.clients(1).await?;
                (Figure::ExecuteAmong(table), load::run(clients, plan).await?)
            }
            Step::List(table) => {
                let lister = self.side(table).warren.lister(None).await?;
                (
                    Figure::ListAmong(table),
                    load::run(vec![lister], plan).await?,
                )
            }
            Step::ListOfFew(table) => {
                let Side { warren, few } = self.side(table);
                let lister = warren.lister(Some(few)).await?;
                (
                    Figure::ListOfFew(table),
                    load::run(vec![lister], plan).await?,
                )
            }
        };
        Ok(vec![Found::Times(figure, sample)])
    }
}

/// Finished jobs of the sessions' owner, a thousand in a closed session, ten a second and older than every other: ids and
/// columns as Warren itself would have written them.
async fn fill(house: &House, rows: u64) -> Result<(), BenchError> {
    let sessions = rows.div_ceil(JOBS_A_SESSION);
    let statements = format!(
        "SET synchronous_commit = off;
         INSERT INTO jobs (id, kind, state, owner_id, api_id, request, created_at, finished_at)
         SELECT ('00000000-0000-7000-8000-' || lpad(nth::text, 12, '0'))::uuid, 'open_session', 'cancelled', id, id, '{{}}',
                now(), now()
           FROM principals CROSS JOIN generate_series(1, 100) nth WHERE subject = '{FEW}';
         CREATE FUNCTION pg_temp.id_at(at timestamptz, nth bigint) RETURNS uuid LANGUAGE sql AS $$
             SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
                 || '7' || substr(md5(nth::text), 1, 3) || '8' || substr(md5(nth::text), 4, 15))::uuid $$;
         CREATE TEMP TABLE past AS
         SELECT nth, pg_temp.id_at(now() - ({rows} + 1 - nth * {JOBS_A_SESSION}) * interval '100 milliseconds', -nth) AS id,
                gen_random_uuid() AS worker_id
           FROM generate_series(0, {sessions} - 1) nth;
         CREATE UNIQUE INDEX ON past (nth);
         INSERT INTO sessions (id, owner_id, state, state_reason, worker_id, epoch, next_seq, created_at, last_activity_at,
                               ended_at)
         SELECT past.id, open.owner_id, 'closed', 'it was closed by its owner', past.worker_id, 1, {JOBS_A_SESSION} + 1,
                now(), now(), now()
           FROM past CROSS JOIN (SELECT owner_id FROM sessions WHERE state = 'open' LIMIT 1) open;
         INSERT INTO jobs (id, kind, lane, state, owner_id, session_id, seq, attempt, worker_id, epoch, api_id, request,
                           result, console_tail, traceparent, created_at, started_at, finished_at)
         SELECT pg_temp.id_at(at, made.nth), 'execute', 'ordered', 'succeeded', s.owner_id, s.id,
                made.nth % {JOBS_A_SESSION} + 1, 1, s.worker_id, 1, s.worker_id, '{{\"code\":\"1+1\"}}',
                '{{\"success\":true,\"errorMessage\":\"\",\"outputParameters\":[],\"changedFiles\":[]}}', '[1] 2\n',
                '00-' || md5(made.nth::text) || '-0123456789abcdef-00', at, at, at
           FROM (SELECT nth, now() - ({rows} - nth) * interval '100 milliseconds' AS at
                   FROM generate_series(0, {rows} - 1) nth) made
           JOIN past ON past.nth = made.nth / {JOBS_A_SESSION}
           JOIN sessions s ON s.id = past.id;"
    );
    let client = house.database.connect().await;
    client.batch_execute(&statements).await?;
    tidy(house).await
}

/// As autovacuum leaves a table that is not changing.
async fn tidy(house: &House) -> Result<(), BenchError> {
    let client = house.database.connect().await;
    for table in ["jobs", "sessions"] {
        client
            .batch_execute(&format!("VACUUM (ANALYZE) {table}"))
            .await?;
    }
    Ok(client.batch_execute("CHECKPOINT").await?)
}
