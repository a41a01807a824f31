//! `GET /status`

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value, json};
use warren_common::store::DbError;
use warren_common::store::workers::{self, LivingWorker};

use crate::app::Shared;
use crate::error::ApiError;

/// How long one check may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Health, from bad to good so that the worst is the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum StatusCode {
    Fail,
    Warn,
    Pass,
}

/// Health of the whole, or of a part.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusResponse {
    status_code: StatusCode,
    details: Map<String, Value>,
    components: Option<BTreeMap<String, StatusResponse>>,
}

impl StatusResponse {
    fn part(status_code: StatusCode, details: Value) -> Self {
        let Value::Object(details) = details else {
            return Self::part(status_code, json!({}));
        };
        Self {
            status_code,
            details,
            components: None,
        }
    }

    /// As bad as its worst part; without parts it fails.
    fn whole(parts: BTreeMap<String, Self>) -> Self {
        let worst = parts.values().map(|part| part.status_code).min();
        Self {
            status_code: worst.unwrap_or(StatusCode::Fail),
            details: Map::new(),
            components: Some(parts),
        }
    }
}

/// Asks every part at the same time.
pub async fn status(State(app): State<Shared>) -> Result<Json<StatusResponse>, ApiError> {
    let workers = tokio::time::timeout(LIMIT, workers::living(&app.db));
    let store = tokio::time::timeout(LIMIT, app.blobs.check());
    let (workers, store) = tokio::join!(workers, store);
    let workers = workers.ok();
    let parts = [
        ("database", database(workers.as_ref())),
        ("backends", backends(workers)),
        ("authentication", authentication()),
        ("queue", queue(app.broker.is_connected())),
        ("objectStore", object_store(matches!(store, Ok(Ok(()))))),
    ];
    let parts = parts.map(|(name, part)| (name.to_owned(), part));
    Ok(Json(StatusResponse::whole(parts.into())))
}

fn database(workers: Option<&Result<Vec<LivingWorker>, DbError>>) -> StatusResponse {
    let (code, state) = match workers {
        Some(Ok(_)) => (StatusCode::Pass, "Open"),
        _ => (StatusCode::Fail, "Closed"),
    };
    let details = json!({"type": "postgresql", "name": "main", "state": state});
    StatusResponse::part(code, details)
}

fn backends(workers: Option<Result<Vec<LivingWorker>, DbError>>) -> StatusResponse {
    let Some(Ok(workers)) = workers else {
        let mut unknown = StatusResponse::whole(BTreeMap::new());
        let why = "unknown while the database does not answer";
        unknown.details.insert("state".to_owned(), why.into());
        return unknown;
    };
    let mut parts = BTreeMap::new();
    for worker in workers {
        let mut key = format!("http://{}/", worker.name);
        // Workers of one machine may have one name.
        if parts.contains_key(&key) {
            key = format!("{key}{}/", worker.id);
        }
        parts.insert(key, backend(&worker));
    }
    StatusResponse::whole(parts)
}

fn backend(worker: &LivingWorker) -> StatusResponse {
    let code = if worker.overdue {
        StatusCode::Warn
    } else {
        StatusCode::Pass
    };
    let room = !worker.overdue && !worker.draining && worker.sessions < worker.session_slots;
    let details = json!({
        "rMaxPoolSize": worker.session_slots,
        "rActiveShellCount": worker.sessions,
        "rCurrentPoolSize": worker.sessions,
        "rCanOpenShell": if room { "True" } else { "False" },
        "rVersion": worker.r_version,
        "draining": worker.draining,
        "weakerProtections": worker.weaknesses,
        "apiVersion": "1.0",
    });
    StatusResponse::part(code, details)
}

/// The keys are in memory, so it works as long as this node answers at all.
fn authentication() -> StatusResponse {
    let details = json!({"type": "local", "algorithm": "ES256"});
    StatusResponse::part(StatusCode::Pass, details)
}

fn queue(connected: bool) -> StatusResponse {
    let details = json!({"type": "rabbitmq", "state": state(connected)});
    StatusResponse::part(code(connected), details)
}

fn object_store(answers: bool) -> StatusResponse {
    let details = json!({"type": "s3", "state": state(answers)});
    StatusResponse::part(code(answers), details)
}

const fn code(works: bool) -> StatusCode {
    if works {
        StatusCode::Pass
    } else {
        StatusCode::Fail
    }
}

const fn state(works: bool) -> &'static str {
    if works { "Open" } else { "Closed" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren_common::id::WorkerId;
    use warren_common::model::Weakness;

    fn worker(name: &str, overdue: bool) -> LivingWorker {
        LivingWorker {
            id: WorkerId::new(),
            name: name.to_owned(),
            draining: false,
            overdue,
            session_slots: 8,
            sessions: 1,
            r_version: "4.2.2".to_owned(),
            weaknesses: vec![Weakness {
                name: "own user".to_owned(),
                state: "weaker".to_owned(),
                how: "sessions run as the worker's user".to_owned(),
                needs: "root".to_owned(),
            }],
        }
    }

    #[test]
    fn the_whole_is_as_bad_as_its_worst_part() {
        let status = backends(Some(Ok(vec![worker("a", false), worker("b", true)])));
        assert_eq!(status.status_code, StatusCode::Warn);
        let status = backends(Some(Ok(vec![worker("a", false)])));
        assert_eq!(status.status_code, StatusCode::Pass);
        assert_eq!(backends(Some(Ok(Vec::new()))).status_code, StatusCode::Fail);
        assert_eq!(backends(None).status_code, StatusCode::Fail);
    }

    #[test]
    fn no_worker_hides_behind_another_of_the_same_name() {
        let status = backends(Some(Ok(vec![worker("a", true), worker("a", false)])));
        assert_eq!(status.components.map(|parts| parts.len()), Some(2));
        assert_eq!(status.status_code, StatusCode::Warn);
    }

    #[test]
    fn a_backend_is_spelled_as_clients_know_it() {
        let status = backends(Some(Ok(vec![worker("w1", false)])));
        let json = serde_json::to_value(&status).unwrap();
        let backend = &json["components"]["http://w1/"];
        assert_eq!(backend["statusCode"], "pass");
        assert_eq!(backend["details"]["rCanOpenShell"], "True");
        assert_eq!(backend["details"]["rMaxPoolSize"], 8);
        assert_eq!(backend["details"]["weakerProtections"][0]["needs"], "root");
        assert_eq!(backend["components"], Value::Null);
    }
}
