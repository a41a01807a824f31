//! `POST /sessions/{id}/execute`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use warren_common::model::{ExecuteRequest, InputParameter, JobKind};

use crate::app::Shared;
use crate::error::ApiError;
use crate::extract::Body;
use crate::routes::execution::ExecuteResponse;
use crate::routes::turn::{self, Asked, Turn};

/// The longest limit of a run, in seconds.
const LONGEST_RUN: u32 = 86_400;

/// R code, values to assign before it and names to read after it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    code: String,
    input_parameters: Option<Vec<Input>>,
    output_parameters: Option<Vec<String>>,
    timeout_seconds: Option<u32>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    value: Box<RawValue>,
}

/// Runs code in a session, in its turn, and waits until it has ended.
pub async fn execute(
    State(app): State<Shared>,
    asked: Asked,
    body: Body<Request>,
) -> Result<Response, ApiError> {
    let request = stored(body.value)?;
    match turn::take(&app, asked, JobKind::Execute, &request, body.bytes).await? {
        Turn::Ended(outcome) => Ok(Json(ExecuteResponse::of(&outcome)?).into_response()),
        Turn::Accepted(response) => Ok(response),
    }
}

/// The request as it is stored.
fn stored(request: Request) -> Result<ExecuteRequest, ApiError> {
    let bad = |text: String| Err(ApiError::BadRequest(text));
    let inputs = request.input_parameters.unwrap_or_default();
    let outputs = request.output_parameters.unwrap_or_default();
    if inputs.iter().any(|input| input.name.is_empty()) {
        return bad("a name in inputParameters is empty".to_owned());
    }
    if outputs.iter().any(String::is_empty) {
        return bad("a name in outputParameters is empty".to_owned());
    }
    if let Some(seconds) = request.timeout_seconds
        && !(1..=LONGEST_RUN).contains(&seconds)
    {
        return bad(format!("timeoutSeconds must be from 1 to {LONGEST_RUN}"));
    }
    Ok(ExecuteRequest {
        code: request.code,
        inputs: inputs
            .into_iter()
            .map(|Input { name, value }| InputParameter { name, value })
            .collect(),
        outputs,
        timeout_seconds: request.timeout_seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<String, ApiError> {
        let request = serde_json::from_str(json).unwrap();
        stored(request).map(|stored| serde_json::to_string(&stored).unwrap())
    }

    #[test]
    fn values_are_stored_byte_for_byte() {
        let json = r#"{"code":"x","inputParameters":[{"name":"x","value":{"b":1.50,"a":null}},
            {"name":"y","value":null}],"outputParameters":["z"],"unknown":1}"#;
        let expected = r#"{"code":"x","inputs":[{"name":"x","value":{"b":1.50,"a":null}},{"name":"y","value":null}],"outputs":["z"]}"#;
        assert_eq!(read(json).unwrap(), expected);
    }

    #[test]
    fn null_means_absent() {
        let json =
            r#"{"code":"x","inputParameters":null,"outputParameters":null,"timeoutSeconds":null}"#;
        assert_eq!(
            read(json).unwrap(),
            r#"{"code":"x","inputs":[],"outputs":[]}"#
        );
    }

    #[test]
    fn empty_names_and_strange_limits_are_refused() {
        for json in [
            r#"{"code":"","inputParameters":[{"name":"","value":1}]}"#,
            r#"{"code":"","outputParameters":[""]}"#,
            r#"{"code":"","timeoutSeconds":0}"#,
            r#"{"code":"","timeoutSeconds":86401}"#,
        ] {
            assert!(matches!(read(json), Err(ApiError::BadRequest(_))), "{json}");
        }
    }
}
