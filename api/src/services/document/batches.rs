//! Batches of the service.

use serde_json::{Value, json};

use super::{Described, answer, body, failure, reference, strings};

pub(super) fn start_batch(service: &Described<'_>) -> Value {
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

pub(super) fn list_batches(service: &Described<'_>) -> Value {
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

pub(super) fn batch_status(service: &Described<'_>) -> Value {
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

pub(super) fn delete_batch(service: &Described<'_>) -> Value {
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

pub(super) fn batch_files(service: &Described<'_>) -> Value {
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

pub(super) fn batch_file(service: &Described<'_>) -> Value {
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
