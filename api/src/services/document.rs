//! The Swagger 2.0 document of a service, from which clients are generated.
//!
//! Structure, names and the order of the keys are those of the documents that the original makes; the texts are ours. The order holds
//! because `serde_json` keeps the order of objects in this workspace (`preserve_order`). `host` is left out: a server behind a proxy
//! does not know its name, and clients take the one they fetched the document from.

use serde_json::{Map, Value, json};
use warren_common::model::{Parameter, ParameterType};

/// What of a service its document tells.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    /// Name, which needs no escaping in a path.
    pub name: &'a str,
    /// Version, likewise.
    pub version: &'a str,
    /// The publisher's own words.
    pub description: Option<&'a str>,
    /// What clients are to call the method that runs it.
    pub operation_id: Option<&'a str>,
    /// What it takes, in order.
    pub inputs: &'a [Parameter],
    /// What it gives, in order.
    pub outputs: &'a [Parameter],
    /// Names of the files it gives.
    pub output_files: &'a [String],
}

/// The operations of every document. Ids are unique within one, so no service goes by these.
const OWN_OPERATIONS: [&str; 9] = [
    "login",
    "renewToken",
    "revokeRefreshToken",
    "StartBatchExecution",
    "GetBatchExecutions",
    "GetBatchExecutionStatus",
    "CancelAndDeleteBatchExecution",
    "GetBatchExecutionFiles",
    "GetBatchExecutionFile",
];

/// The document, as pretty JSON.
pub fn document(service: &Described<'_>) -> String {
    let description = service.description.unwrap_or_default();
    let document = json!({
        "swagger": "2.0",
        "info": {
            "description": description,
            "title": service.name,
            "version": service.version,
        },
        "schemes": ["http", "https"],
        "securityDefinitions": {
            "Bearer": {
                "type": "apiKey",
                "name": "Authorization",
                "in": "header",
                "description": "Bearer, a space, and the access_token of /login.",
            },
        },
        "tags": [{ "name": service.name, "description": description }],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "paths": paths(service),
        "definitions": definitions(service),
    });
    format!("{document:#}")
}

fn paths(service: &Described<'_>) -> Value {
    let run = format!("/api/{}/{}", service.name, service.version);
    let batch = format!("{run}/batch");
    let execution = format!("{batch}/{{executionId}}");
    let files = format!("{execution}/{{index}}/files");
    let file = format!("{files}/{{fileName}}");
    json!({
        "/login": { "post": login() },
        "/login/refreshToken": { "post": renew_token(), "delete": revoke_refresh_token() },
        (run): { "post": consume(service) },
        (batch): { "post": start_batch(service), "get": list_batches(service) },
        (execution): { "get": batch_status(service), "delete": delete_batch(service) },
        (files): { "get": batch_files(service) },
        (file): { "get": batch_file(service) },
    })
}

fn login() -> Value {
    json!({
        "operationId": "login",
        "summary": "Sign in with a name and a password",
        "parameters": [body("loginRequest", &reference("LoginRequest"))],
        "tags": ["User"],
        "responses": {
            "200": answer("The tokens of this sign-in.", &reference("AccessTokenResponse")),
            "default": failure("401: wrong name or password."),
        },
    })
}

fn renew_token() -> Value {
    json!({
        "operationId": "renewToken",
        "summary": "Trade a refresh token for new tokens",
        "parameters": [body("renewTokenRequest", &reference("RenewTokenRequest"))],
        "tags": ["User"],
        "responses": {
            "200": answer("New tokens; the old ones no longer count.", &reference("AccessTokenResponse")),
            "default": failure("401: the refresh token is unknown, spent or expired."),
        },
    })
}

fn revoke_refresh_token() -> Value {
    json!({
        "operationId": "revokeRefreshToken",
        "summary": "Make a refresh token and its access token worthless",
        "parameters": [
            { "name": "refreshToken", "in": "query", "required": true, "type": "string" },
        ],
        "tags": ["User"],
        "responses": {
            "200": answer("Done; there are no new tokens.", &reference("AccessTokenResponse")),
            "default": failure("401: the refresh token is unknown, spent or expired."),
        },
    })
}

fn consume(service: &Described<'_>) -> Value {
    json!({
        "security": [{ "Bearer": [] }],
        "tags": [service.name],
        "description": "Runs the service once and waits for its result.",
        "operationId": operation_id(service),
        "parameters": [body("WebServiceParameters", &reference("InputParameters"))],
        "responses": {
            "200": answer(
                "The run ended; whether it succeeded stands in its result.",
                &reference("WebServiceResult"),
            ),
            "400": { "description": "The inputs are not those of the service." },
            "500": { "description": "The server failed, not the service." },
            "default": failure("Anything else: no token that counts, no such service, no worker."),
        },
    })
}

fn operation_id<'a>(service: &Described<'a>) -> &'a str {
    // Generated clients write ids in the case of their language, so the case does not tell two apart.
    let own = |id: &str| {
        OWN_OPERATIONS
            .iter()
            .any(|own| own.eq_ignore_ascii_case(id))
    };
    service
        .operation_id
        .filter(|id| !id.is_empty() && !own(id))
        .unwrap_or("ConsumeWebService")
}

fn start_batch(service: &Described<'_>) -> Value {
    let records = json!({ "type": "array", "items": reference("InputParameters") });
    json!({
        "security": [{ "Bearer": [] }],
        "tags": [service.name],
        "description": "Runs the service once for each of many records, without waiting for the results.",
        "operationId": "StartBatchExecution",
        "parameters": [
            body("BatchWebServiceParameters", &records),
            {
                "name": "parallelCount",
                "in": "query",
                "description": "How many records may run at once; 10 unless told.",
                "required": false,
                "type": "integer",
                "format": "int32",
            },
        ],
        "responses": {
            "202": answer("The batch is accepted.", &reference("StartBatchExecutionResponse")),
            "400": { "description": "The records are not inputs of the service." },
            "500": { "description": "The server failed." },
            "default": failure("Anything else: no token that counts, no such service."),
        },
    })
}

fn list_batches(service: &Described<'_>) -> Value {
    json!({
        "security": [{ "Bearer": [] }],
        "tags": [service.name],
        "summary": "List the batches of the service",
        "operationId": "GetBatchExecutions",
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "responses": {
            "200": answer("The ids of the batches.", &strings()),
            "default": failure("400: a bad request. 404: no such service."),
        },
    })
}

fn batch_status(service: &Described<'_>) -> Value {
    json!({
        "security": [{ "Bearer": [] }],
        "tags": [service.name],
        "summary": "Tell how far a batch is, with its results",
        "operationId": "GetBatchExecutionStatus",
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "parameters": [
            execution_id(),
            {
                "name": "showPartialResults",
                "in": "query",
                "description": "Whether results are sent before the batch is complete; true unless told.",
                "required": false,
                "type": "boolean",
            },
        ],
        "responses": {
            "200": answer(
                "State and results, one for each record and in their order.",
                &reference("BatchWebServiceResult"),
            ),
            "default": failure("400: a bad request. 404: no such service or batch."),
        },
    })
}

fn delete_batch(service: &Described<'_>) -> Value {
    json!({
        "security": [{ "Bearer": [] }],
        "tags": [service.name],
        "summary": "Stop a batch and remove what it left",
        "operationId": "CancelAndDeleteBatchExecution",
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "parameters": [execution_id()],
        "responses": {
            "200": answer("The batch is gone.", &strings()),
            "default": failure("400: a bad request. 404: no such service or batch."),
        },
    })
}

fn batch_files(service: &Described<'_>) -> Value {
    json!({
        "security": [{ "Bearer": [] }],
        "tags": [service.name],
        "summary": "List the files that one record of a batch wrote",
        "operationId": "GetBatchExecutionFiles",
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "parameters": [execution_id(), index()],
        "responses": {
            "200": answer("The names of the files.", &strings()),
            "default": failure("400: a bad request. 404: no such service, batch or record."),
        },
    })
}

fn batch_file(service: &Described<'_>) -> Value {
    json!({
        "security": [{ "Bearer": [] }],
        "tags": [service.name],
        "summary": "Read a file that one record of a batch wrote",
        "operationId": "GetBatchExecutionFile",
        "consumes": ["application/json"],
        // The original says JSON here, which a file is not.
        "produces": ["application/octet-stream"],
        "parameters": [
            execution_id(),
            index(),
            { "name": "fileName", "in": "path", "required": true, "type": "string" },
        ],
        "responses": {
            "200": answer("The file.", &json!({ "type": "file" })),
            "default": failure("400: a bad request. 404: no such service, batch, record or file."),
        },
    })
}

fn execution_id() -> Value {
    json!({ "name": "executionId", "in": "path", "required": true, "type": "string" })
}

fn index() -> Value {
    json!({
        "name": "index",
        "in": "path",
        "description": "Which record; the first is 0.",
        "required": true,
        "type": "integer",
    })
}

fn body(name: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "body", "required": true, "schema": schema })
}

fn answer(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "schema": schema })
}

fn failure(description: &str) -> Value {
    answer(description, &reference("Error"))
}

fn reference(definition: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{definition}") })
}

fn strings() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

/// What goes over the wire. No member is listed as required, as in the original, and those that are not listed may come too: an Error
/// has a link, and the id of a batch is there in both spellings that clients read.
fn definitions(service: &Described<'_>) -> Value {
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn parameter(name: &str, r#type: ParameterType) -> Parameter {
        Parameter {
            name: name.to_owned(),
            r#type,
        }
    }

    /// One service for each golden file.
    fn golden(name: &str) -> String {
        use ParameterType as P;
        let plain = Described {
            name: "add",
            version: "v1",
            description: Some("adds"),
            operation_id: Some("add"),
            inputs: &[],
            outputs: &[],
            output_files: &[],
        };
        match name {
            "scalar" => document(&Described {
                inputs: &[
                    parameter("x", P::Numeric),
                    parameter("count", P::Integer),
                    parameter("label", P::Character),
                    parameter("again", P::Logical),
                ],
                outputs: &[
                    parameter("z", P::Numeric),
                    parameter("n", P::Integer),
                    parameter("text", P::Character),
                    parameter("ok", P::Logical),
                ],
                ..plain
            }),
            "vector" => document(&Described {
                name: "sort",
                description: Some("sorts"),
                operation_id: Some("sort"),
                inputs: &[parameter("x", P::Vector)],
                outputs: &[parameter("sorted", P::Vector)],
                ..plain
            }),
            "matrix" => document(&Described {
                name: "invert",
                version: "1.0.0",
                description: Some("inverts"),
                operation_id: Some("invert"),
                inputs: &[parameter("m", P::Matrix)],
                outputs: &[parameter("inverse", P::Matrix)],
                ..plain
            }),
            "data_frame" => document(&Described {
                name: "late_flights",
                description: Some("tells which flights will be late"),
                operation_id: Some("predict"),
                inputs: &[parameter("df", P::DataFrame)],
                outputs: &[parameter("answer", P::DataFrame)],
                ..plain
            }),
            "file" => document(&Described {
                name: "plot",
                description: Some("draws points"),
                operation_id: Some("plot"),
                inputs: &[parameter("x", P::Vector)],
                outputs: &[parameter("points", P::Integer)],
                output_files: &["plot.png".to_owned(), "points.csv".to_owned()],
                ..plain
            }),
            "no_input" => document(&Described {
                name: "now",
                version: "4d1c8a52-7f0b-4f5e-9a53-0c9d4f1f6a11",
                description: None,
                operation_id: None,
                outputs: &[parameter("answer", P::Character)],
                ..plain
            }),
            other => panic!("no service for {other}.json"),
        }
    }

    /// What differs, as a diff shows it; empty when nothing does.
    fn difference(golden: &str, document: &str) -> String {
        let golden: Vec<_> = golden.lines().collect();
        let document: Vec<_> = document.lines().collect();
        let same = golden.iter().zip(&document).take_while(|(a, b)| a == b);
        let start = same.count();
        let (golden, document) = (&golden[start..], &document[start..]);
        let same = golden.iter().rev().zip(document.iter().rev());
        let end = same.take_while(|(a, b)| a == b).count();
        let gone = golden[..golden.len() - end].iter().map(|l| format!("-{l}"));
        let come = document[..document.len() - end]
            .iter()
            .map(|l| format!("+{l}"));
        gone.chain(come).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn documents_are_those_of_the_golden_files() {
        for (name, file) in [
            ("scalar", include_str!("golden/scalar.json")),
            ("vector", include_str!("golden/vector.json")),
            ("matrix", include_str!("golden/matrix.json")),
            ("data_frame", include_str!("golden/data_frame.json")),
            ("file", include_str!("golden/file.json")),
            ("no_input", include_str!("golden/no_input.json")),
        ] {
            let difference = difference(file, &golden(name));
            assert!(difference.is_empty(), "golden/{name}.json\n{difference}");
        }
    }

    #[test]
    fn a_difference_shows_what_is_gone_and_what_has_come() {
        assert_eq!(difference("a\nb\nc\n", "a\nb\nc"), "");
        assert_eq!(difference("a\nb\nc", "a\nx\ny\nc"), "-b\n+x\n+y");
        assert_eq!(difference("a\na", "a"), "-a");
    }

    /// Names that mean something to JSON, to Swagger or to a language of clients.
    const NAMES: [&str; 12] = [
        "x",
        "$ref",
        "__proto__",
        "type",
        "properties",
        "",
        "a\"b",
        "a\\b",
        "line\nend",
        "a/b~c",
        "größe",
        "x-nullable",
    ];

    /// Every type under every name, and every alias that is in the way of something.
    fn documents() -> Vec<Value> {
        let mut all: Vec<Parameter> = Vec::new();
        for (at, r#type) in ParameterType::ALL.iter().enumerate() {
            let names = NAMES.iter().cycle().skip(at).take(NAMES.len());
            all.extend(names.map(|name| parameter(name, *r#type)));
        }
        let files = ["a.csv".to_owned()];
        let aliases = OWN_OPERATIONS.iter().copied();
        let aliases = aliases.chain(["LOGIN", "ConsumeWebService", "", "a \"b\"\n"]);
        let mut documents = Vec::new();
        for alias in aliases.map(Some).chain([None]) {
            for parameters in all.chunks(NAMES.len()).chain([&[][..]]) {
                documents.push(document(&Described {
                    name: "User",
                    version: "1.0-x_y",
                    description: Some("says \"x\"\r\nand {y}"),
                    operation_id: alias,
                    inputs: parameters,
                    outputs: parameters,
                    output_files: &files[..parameters.len().min(1)],
                }));
            }
        }
        documents
            .iter()
            .map(|document| serde_json::from_str(document).unwrap())
            .collect()
    }

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                // A parameter may be called `$ref`; what it is called is no reference.
                found.extend(members.get("$ref").and_then(Value::as_str));
                members
                    .values()
                    .for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    /// Each operation with its path.
    fn operations(document: &Value) -> impl Iterator<Item = (&String, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        paths.flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().values();
            operations.map(move |operation| (path, operation))
        })
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for document in documents() {
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for reference in found {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
        }
    }

    #[test]
    fn every_parameter_of_a_path_is_declared() {
        for document in documents() {
            for (path, operation) in operations(&document) {
                let wanted: HashSet<&str> = path
                    .split('/')
                    .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                    .collect();
                let parameters = operation["parameters"].as_array();
                let declared: HashSet<&str> = parameters
                    .into_iter()
                    .flatten()
                    .filter(|parameter| parameter["in"] == "path")
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect();
                assert_eq!(declared, wanted, "{path}");
            }
        }
    }

    #[test]
    fn no_two_operations_share_an_id() {
        for document in documents() {
            let mut ids = HashSet::new();
            for (path, operation) in operations(&document) {
                let id = operation["operationId"].as_str().unwrap();
                assert!(!id.is_empty(), "{path}");
                assert!(ids.insert(id.to_ascii_lowercase()), "{id} on {path}");
            }
            assert_eq!(ids.len(), OWN_OPERATIONS.len() + 1);
        }
    }

    #[test]
    fn parameters_keep_their_names_and_their_order() {
        let declared = NAMES.map(|name| parameter(name, ParameterType::Numeric));
        let document = document(&Described {
            name: "s",
            version: "v",
            description: None,
            operation_id: None,
            inputs: &declared,
            outputs: &declared,
            output_files: &[],
        });
        let document: Value = serde_json::from_str(&document).unwrap();
        for definition in ["InputParameters", "OutputParameters"] {
            let properties = document["definitions"][definition]["properties"].as_object();
            assert!(properties.unwrap().keys().eq(NAMES), "{definition}");
        }
    }
}
