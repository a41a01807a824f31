//! The Swagger 2.0 document of a service, from which clients are generated.
//!
//! Structure, names and the order of the keys are those of the documents that the original makes; the texts are ours. The order holds
//! because `serde_json` keeps the order of objects in this workspace (`preserve_order`). `host` is left out: a server behind a proxy
//! does not know its name, and clients take the one they fetched the document from.

mod batches;
mod definitions;
mod paths;

use serde_json::{Value, json};
use warren_common::model::Parameter;

use self::definitions::definitions;
use self::paths::paths;

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

#[cfg(test)]
mod tests;
