//! What goes over the wire.

use serde_json::{Map, Value, json};
use warren_common::model::{Parameter, ParameterType};

use super::{Described, reference, strings};

/// No member is listed as required, as in the original, and those that are not listed may come too: an Error
/// has a link, and the id of a batch is there in both spellings that clients read.
pub(super) fn definitions(service: &Described<'_>) -> Value {
    json!({
        "InputParameters": parameters(service.inputs, input),
        "OutputParameters": parameters(service.outputs, output),
        "Error": {
            "type": "object",
            "properties": {
                "code": { "type": "integer", "format": "int32" },
                "message": { "type": "string" },
                "fields": { "type": "string" },
            },
        },
        "WebServiceResult": result(service),
        "StartBatchExecutionResponse": {
            "type": "object",
            "properties": { "batchExecutionId": { "type": "string" } },
        },
        "BatchWebServiceResult": {
            "type": "object",
            "properties": {
                // No `enum`: the original's has another case than the values it sends, and no `Failed`.
                "state": {
                    "type": "string",
                    "description": "Pending, Ready, InProgress, Complete or Failed.",
                },
                "completedItemCount": { "type": "integer", "format": "int32" },
                "totalItemCount": { "type": "integer", "format": "int32" },
                "batchExecutionResults": {
                    "type": "array",
                    "items": reference("WebServiceResult"),
                },
            },
        },
        "LoginRequest": {
            "type": "object",
            "properties": {
                "username": { "type": "string" },
                "password": { "type": "string" },
            },
        },
        "RenewTokenRequest": {
            "type": "object",
            "properties": { "refreshToken": { "type": "string" } },
        },
        "AccessTokenResponse": {
            "type": "object",
            "properties": {
                "token_type": { "type": "string" },
                "access_token": { "type": "string" },
                "expires_on": { "type": "string" },
                "refresh_token": { "type": "string" },
            },
        },
    })
}

fn result(service: &Described<'_>) -> Value {
    let mut properties = Map::new();
    let mut has = |name: &str, schema: Value| properties.insert(name.to_owned(), schema);
    has("success", json!({ "type": "boolean" }));
    has("errorMessage", json!({ "type": "string" }));
    has("consoleOutput", json!({ "type": "string" }));
    has("changedFiles", strings());
    if !service.output_files.is_empty() {
        // Null where the run did not write the file.
        let file = json!({ "type": "string", "format": "byte", "x-nullable": true });
        has(
            "outputFiles",
            json!({ "type": "object", "additionalProperties": file }),
        );
    }
    has("outputParameters", reference("OutputParameters"));
    json!({ "type": "object", "properties": properties })
}

fn parameters(declared: &[Parameter], schema: fn(ParameterType) -> Value) -> Value {
    let properties: Map<String, Value> = declared
        .iter()
        .map(|parameter| (parameter.name.clone(), schema(parameter.r#type)))
        .collect();
    json!({ "type": "object", "properties": properties })
}

/// An input has the type of its plainest spelling: generated clients make the argument of their method from it. The server also takes
/// the others, `"NaN"` or an array for a number, rows for a data frame, from clients that do not check what they send.
fn input(declared: ParameterType) -> Value {
    match declared {
        ParameterType::Logical => property(Some("boolean"), declared),
        ParameterType::Numeric => property(Some("number"), declared),
        ParameterType::Integer => property(Some("integer"), declared),
        ParameterType::Character => property(Some("string"), declared),
        // The original says `object`, which an array is not; and an array of Swagger needs one type for all it holds.
        ParameterType::Vector | ParameterType::Matrix => property(None, declared),
        ParameterType::DataFrame => property(Some("object"), declared),
    }
}

/// An output has no type, whatever was declared. The declaration turns no value into another: it only says whether one element is sent
/// alone. So a `numeric` comes as `5`, as null (`NA`, `NULL`, nothing at all), as `"NaN"` or `"-Infinity"`, as an array when the
/// code left several, as text when it left text; a `data.frame` as an object, unless the code left something else. A client that holds
/// answers against the document would refuse a run that succeeded, for any type that stood here.
fn output(declared: ParameterType) -> Value {
    property(None, declared)
}

/// A value of R: the type of Swagger where there is one, and what was declared, for people and for programs.
fn property(r#type: Option<&str>, declared: ParameterType) -> Value {
    let mut property = Map::new();
    if let Some(r#type) = r#type {
        property.insert("type".to_owned(), r#type.into());
    }
    property.insert("description".to_owned(), declared.word().into());
    property.insert("x-nullable".to_owned(), true.into());
    property.insert("x-r-type".to_owned(), declared.word().into());
    Value::Object(property)
}
