//! `GET /api/{name}/{version}/batch/{execution}`

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::stream::try_unfold;
use serde::Serialize;
use serde_json::value::RawValue;
use warren_common::id::BatchId;
use warren_common::store::batches::{self, Batch, Item};
use warren_common::store::{Db, DbError};

use super::Execution;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Params;
use crate::routes::calls::CallResponse;
use crate::watch::Outcome;

/// Items that are read at once.
const PAGE: i64 = 200;

/// Where a batch stands, with the results that there are: one for each record, in their order, sent as they are read.
pub async fn read(
    State(app): State<Shared>,
    caller: Caller,
    execution: Execution,
    Params(query): Params<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let batch = execution.find(&app, &caller).await?;
    let with_results = batch.finished || wants_partial(&query)?;
    let head = format!(
        r#"{{"state":"{}","completedItemCount":{},"totalItemCount":{},"batchExecutionResults":["#,
        state(&batch),
        batch.done,
        batch.items
    );
    let reading = Reading {
        db: app.db.clone(),
        batch: batch.id,
        next: if with_results { 0 } else { batch.items },
        items: batch.items,
        head: Some(head),
        over: false,
    };
    let body = try_unfold(reading, |mut reading| async move {
        let piece = reading.piece().await?;
        Ok::<_, DbError>(piece.map(|piece| (piece, reading)))
    });
    let mut response = Response::new(Body::from_stream(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

/// The words that clients look for.
const fn state(batch: &Batch) -> &'static str {
    match (batch.finished, batch.begun) {
        (true, _) => "Complete",
        (false, true) => "InProgress",
        (false, false) => "Pending",
    }
}

/// `showPartialResults`, under the names and in the cases in which clients send it; true when it is absent.
fn wants_partial(query: &[(String, String)]) -> Result<bool, ApiError> {
    for (name, value) in query {
        let name = name.to_ascii_lowercase();
        if name == "showpartialresults" || name == "showpartialresult" {
            return match value.to_ascii_lowercase().as_str() {
                "true" | "1" | "" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(ApiError::BadRequest(
                    "showPartialResults must be true or false".to_owned(),
                )),
            };
        }
    }
    Ok(true)
}

/// An answer that is sent while it is read.
struct Reading {
    db: Db,
    batch: BatchId,
    next: i32,
    items: i32,
    head: Option<String>,
    over: bool,
}

impl Reading {
    /// The next bytes of the answer; none at its end.
    async fn piece(&mut self) -> Result<Option<Bytes>, DbError> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head.into()));
        }
        if self.over {
            return Ok(None);
        }
        let mut piece = Vec::new();
        let found = if self.next < self.items {
            batches::page(&self.db, self.batch, self.next, PAGE).await?
        } else {
            Vec::new()
        };
        if found.is_empty() {
            self.over = true;
            piece.extend_from_slice(b"]}");
        }
        for item in found {
            if self.next > 0 {
                piece.push(b',');
            }
            self.next = item.place + 1;
            write_item(&mut piece, item);
        }
        Ok(Some(piece.into()))
    }
}

fn write_item(to: &mut Vec<u8>, item: Item) {
    let outcome = outcome(item);
    let written = match &outcome {
        Some(outcome) => match CallResponse::of(outcome) {
            Ok(reply) => serde_json::to_vec(&reply),
            Err(refused) => serde_json::to_vec(&Unfinished::because(&refused.to_string())),
        },
        None => serde_json::to_vec(&Unfinished::because("not finished")),
    };
    // Strings and JSON that was read once: nothing of it can fail.
    to.extend_from_slice(&written.unwrap_or_default());
}

/// How an item ended, if it has.
fn outcome(item: Item) -> Option<Outcome> {
    if !item.state.is_final() {
        return None;
    }
    let text = item
        .result
        .and_then(|result| String::from_utf8(result).ok());
    Some(Outcome {
        state: item.state,
        result: text.and_then(|text| RawValue::from_string(text).ok()),
        console: String::from_utf8_lossy(&item.console).into_owned(),
        reason: item.reason,
    })
}

/// Stands for an item that has no result.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Unfinished<'a> {
    success: bool,
    error_message: &'a str,
    output_parameters: Empty,
    output_files: Empty,
    console_output: &'a str,
    changed_files: [&'a str; 0],
}

#[derive(Serialize)]
struct Empty {}

impl<'a> Unfinished<'a> {
    const fn because(error_message: &'a str) -> Self {
        Self {
            success: false,
            error_message,
            output_parameters: Empty {},
            output_files: Empty {},
            console_output: "",
            changed_files: [],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren_common::id::JobId;
    use warren_common::model::JobState;

    #[test]
    fn the_wish_for_partial_results_has_several_spellings() {
        for (query, wanted) in [
            (("", ""), true),
            (("showPartialResults", "false"), false),
            (("showPartialResult", "False"), false),
            (("SHOWPARTIALRESULTS", "true"), true),
            (("other", "1"), true),
        ] {
            let pairs = [(query.0.to_owned(), query.1.to_owned())];
            assert_eq!(wants_partial(&pairs).unwrap(), wanted, "{query:?}");
        }
        let perhaps = ("showPartialResults".to_owned(), "perhaps".to_owned());
        assert!(wants_partial(&[perhaps]).is_err());
    }

    #[test]
    fn an_item_without_a_result_has_a_placeholder() {
        let mut written = Vec::new();
        write_item(
            &mut written,
            Item {
                place: 0,
                job: JobId::new(),
                state: JobState::Queued,
                result: None,
                console: Vec::new(),
                reason: None,
            },
        );
        assert_eq!(
            String::from_utf8(written).unwrap(),
            r#"{"success":false,"errorMessage":"not finished","outputParameters":{},"outputFiles":{},"consoleOutput":"","changedFiles":[]}"#
        );
    }
}
