//! What clients saw, held against the table and against R's own notes.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;

use serde_json::Value;

use super::{Call, Saw, Seen};
use crate::House;
use crate::wait;

/// A stored run.
struct Row {
    state: String,
    attempt: i32,
    began: bool,
    console: String,
}

/// How often what was seen, for people.
#[derive(Debug, Default)]
pub struct Summary {
    counts: std::collections::BTreeMap<&'static str, usize>,
}

impl Summary {
    /// How many rows succeeded.
    pub fn succeeded(&self) -> usize {
        self.counts.get(SUCCEEDED).copied().unwrap_or_default()
    }

    /// How many rows ended lost.
    pub fn lost(&self) -> usize {
        self.counts.get(LOST).copied().unwrap_or_default()
    }
}

/// What rows are counted under.
const SUCCEEDED: &str = "rows succeeded:";
const LOST: &str = "rows lost:";

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            write!(f, "{what} {count}  ")?;
        }
        Ok(())
    }
}

impl Seen {
    /// Waits until nothing is under way any more, and holds every call against its row and R's notes.
    ///
    /// # Panics
    ///
    /// When something does not fit; the message has all of it.
    pub async fn check(mut self, house: &House) -> Summary {
        wait::until("every job is final", async || {
            let open = "SELECT count(*) FROM jobs WHERE finished_at IS NULL";
            (house.sql_value(open).await == "0").then_some(())
        })
        .await;
        let notes = self.notes();
        let mut rows = rows(house).await;
        rows.retain(|marker, _| marker.starts_with(&self.name));
        let mut problems = Vec::new();
        for call in &self.calls {
            let stored = rows.get(&call.marker).map_or(&[][..], Vec::as_slice);
            let ran = notes.get(&call.marker).copied().unwrap_or_default();
            problems.extend(problem(call, stored, ran));
        }
        let known = |marker: &&String| self.calls.iter().any(|call| call.marker == **marker);
        let strangers = rows.keys().chain(notes.keys()).filter(|name| !known(name));
        problems.extend(
            strangers.map(|name| format!("{name} was stored or run, and nobody called it")),
        );
        let summary = self.summary(&rows);
        assert!(
            problems.is_empty(),
            "{} of {} calls: {summary}\n{}",
            problems.len(),
            self.calls.len(),
            problems.join("\n")
        );
        summary
    }

    /// How often R ran what.
    fn notes(&mut self) -> HashMap<String, usize> {
        let mut notes = HashMap::new();
        for log in &mut self.logs {
            let mut text = String::new();
            log.read_to_string(&mut text)
                .expect("R's notes can be read");
            for marker in text.lines() {
                *notes.entry(marker.to_owned()).or_default() += 1;
            }
        }
        notes
    }

    fn summary(&self, rows: &HashMap<String, Vec<Row>>) -> Summary {
        let mut summary = Summary::default();
        let mut count = |what| *summary.counts.entry(what).or_default() += 1;
        for call in &self.calls {
            count(match &call.saw {
                Saw::Answer { .. } => "200:",
                Saw::Gone(_) => "410:",
                Saw::Refused => "503:",
                Saw::InDoubt => "504:",
                Saw::Nothing => "no answer:",
                Saw::Unexpected(_) => "unexpected:",
            });
        }
        for row in rows.values().flatten() {
            count(match row.state.as_str() {
                "succeeded" => SUCCEEDED,
                "lost" => LOST,
                _ => "rows in another state:",
            });
        }
        summary
    }
}

/// What does not fit about one call.
fn problem(call: &Call, stored: &[Row], ran: usize) -> Option<String> {
    let Call { marker, saw } = call;
    let told = |what: &str| {
        let states: Vec<&str> = stored.iter().map(|row| row.state.as_str()).collect();
        Some(format!(
            "{marker}: {what}; seen {saw:?}, stored {states:?}, run {ran} times"
        ))
    };
    if ran > 1 {
        return told("its code ran more than once");
    }
    if stored.len() > 1 {
        return told("it is stored more than once");
    }
    let row = stored.first();
    if row.is_some_and(|row| row.attempt > 1) {
        return told("a session job has more than one attempt");
    }
    if row.is_some_and(|row| row.state == "succeeded") && ran != 1 {
        return told("it succeeded without a run");
    }
    if row.is_none_or(|row| !row.began && row.state != "lost") && ran != 0 {
        return told("it ran and is not known to have begun");
    }
    let fits = match saw {
        Saw::Answer { success, console } => row.is_some_and(|row| {
            (row.state == "succeeded") == *success
                && (!success || row.console == *console && console == marker)
        }),
        // Either the session was over when it was asked, or the job went with it.
        Saw::Gone(_) => row.is_none_or(|row| row.state == "lost"),
        Saw::Refused => row.is_none(),
        Saw::InDoubt | Saw::Nothing => true,
        Saw::Unexpected(_) => false,
    };
    if fits {
        None
    } else {
        told("what was seen is not what is stored")
    }
}

/// The stored runs by the marker in their code.
async fn rows(house: &House) -> HashMap<String, Vec<Row>> {
    const SQL: &str = "SELECT j.state, j.attempt, j.started_at IS NOT NULL AS began, j.request,
            coalesce((SELECT string_agg(c.text, ''::bytea ORDER BY c.seq) FROM console_chunks c
                       WHERE c.job_id = j.id), ''::bytea) || coalesce(j.console_tail, ''::bytea) AS console
       FROM jobs j WHERE j.kind = 'execute'";
    let client = house.database.connect().await;
    let mut rows: HashMap<String, Vec<Row>> = HashMap::new();
    for row in client.query(SQL, &[]).await.expect("the rows can be read") {
        let Some(marker) = marker(row.get("request")) else {
            continue;
        };
        let console: Vec<u8> = row.get("console");
        rows.entry(marker).or_default().push(Row {
            state: row.get("state"),
            attempt: row.get("attempt"),
            began: row.get("began"),
            console: String::from_utf8_lossy(&console).into_owned(),
        });
    }
    rows
}

/// The marker in a stored request; none in what is no call of a load.
fn marker(request: &[u8]) -> Option<String> {
    let request: Value = serde_json::from_slice(request).ok()?;
    let first = request["code"].as_str()?.lines().next()?;
    first.strip_prefix("# ").map(str::to_owned)
}
