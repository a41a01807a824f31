//! The documents themselves, beside golden files and for every name and type.

use std::collections::HashSet;

use warren_common::model::ParameterType;

use super::paths::OWN_OPERATIONS;
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
