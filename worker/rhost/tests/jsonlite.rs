//! R → JSON against an independent implementation: jsonlite (Debian: r-cran-jsonlite).

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod driver;

use std::process::Command;

use driver::{Parent, corpus, same};
use serde_json::{Value, json};
use warren_rhost::session::Ending;

/// Reads expressions, writes one line of JSON each; a JSON string with the message where jsonlite refuses.
const WRITER: &str = r#"
for (line in readLines("expressions", encoding = "UTF-8")) {
  value <- eval(parse(text = line, encoding = "UTF-8"), new.env())
  cat(tryCatch(
    gsub("\n", "\\n", fixed = TRUE, jsonlite::toJSON(
      value, digits = NA, dataframe = "columns", matrix = "rowmajor", rownames = FALSE, Date = "ISO8601",
      POSIXt = "ISO8601", UTC = TRUE, factor = "string", complex = "string", raw = "base64", null = "null")),
    error = function(e) "\"refused\""), "\n", sep = "")
}
"#;

/// jsonlite writes 15 digits, we write what reads back the same.
const FIFTEEN_DIGITS: f64 = 1e-14;

/// Where contract 8 differs on purpose: the expression, and what jsonlite writes.
fn differences() -> Vec<(&'static str, Value)> {
    let refused = || json!("refused");
    vec![
        // NA is null whatever the type; infinity has the name that Python and .NET read.
        ("NA_integer_", json!(["NA"])),
        ("NA_real_", json!(["NA"])),
        ("c(1, NA)", json!([1, "NA"])),
        ("c(1L, NA, -2147483647L)", json!([1, "NA", -2_147_483_647])),
        (
            "matrix(c(1.5, NA, 3, 4), 2, dimnames = list(c(\"r\", \"s\"), c(\"a\", \"b\")))",
            json!([[1.5, 3], ["NA", 4]]),
        ),
        (
            "structure(c(5e-324, -0.0), class = \"integer64\")",
            json!([1, "NA"]),
        ),
        ("c(1, NaN, Inf, -Inf)", json!([1, "NaN", "Inf", "-Inf"])),
        // Times have milliseconds, and a local time is converted.
        (
            "as.POSIXct(c(\"2017-01-31 12:00:00\", NA, \"1969-12-31 23:59:59\"), tz = \"UTC\")",
            json!(["2017-01-31T12:00:00Z", null, "1969-12-31T23:59:59Z"]),
        ),
        (
            "as.POSIXct(\"2017-01-31 12:00:00.25\", tz = \"UTC\")",
            json!(["2017-01-31T12:00:00Z"]),
        ),
        (
            "as.POSIXct(\"2017-07-31 13:00:00\", tz = \"Europe/Berlin\")",
            json!(["2017-07-31T11:00:00Z"]),
        ),
        (
            "as.POSIXlt(\"2017-01-31 13:00:00\", tz = \"Europe/Berlin\")",
            json!(["2017-01-31T13:00:00Z"]),
        ),
        (
            "structure(1485864000L, class = c(\"POSIXct\", \"POSIXt\"), tzone = \"UTC\")",
            json!(["2017-01-31T12:00:00Z"]),
        ),
        // Classes that nobody told jsonlite of are written as what they are made of.
        ("as.difftime(1.5, units = \"mins\")", refused()),
        ("table(c(\"a\", \"b\", \"a\"))", refused()),
        (
            "structure(list(a = 1, b = 2), class = \"record\")",
            refused(),
        ),
        (
            "structure(c(1, 2), class = \"measure\", unit = \"m\")",
            refused(),
        ),
        ("numeric_version(\"1.2.3\")", refused()),
        // This version of jsonlite writes no complex numbers with all their digits.
        ("NA_complex_", refused()),
        (
            "complex(real = c(1, 0, NA, 3), imaginary = c(-2.5, 1, 0, 0))",
            refused(),
        ),
        ("matrix(complex(real = 1:4, imaginary = 0), 2)", refused()),
        // Base64 is one line.
        (
            "as.raw(rep(0, 60))",
            json!([format!("{}\nAAAAAAAA", "A".repeat(72))]),
        ),
        // What is no data is null, with a warning on the console.
        ("as.name(\"symbol\")", refused()),
        ("quote(a + b)", refused()),
        ("expression(a, b + 1)", refused()),
        ("y ~ x", refused()),
        ("function(x) x", json!(["function (x) ", "x"])),
        ("sum", json!([".Primitive(\"sum\")"])),
        ("globalenv()", refused()),
        (
            "setClass(\"P\", representation(a = \"numeric\"))(a = 1)",
            refused(),
        ),
    ]
}

/// What jsonlite makes of each expression.
fn by_jsonlite(expressions: &[&str]) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("expressions"),
        expressions.join("\n") + "\n",
    )
    .unwrap();
    let output = Command::new("R")
        .args(["--vanilla", "--no-echo", "-e", WRITER])
        .current_dir(&directory)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "jsonlite did not answer (Debian: apt-get install r-cran-jsonlite):\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let values: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    assert_eq!(values.len(), expressions.len(), "{lines}");
    values
}

#[test]
fn the_host_writes_what_jsonlite_writes_unless_it_differs_on_purpose() {
    let corpus = corpus();
    let theirs = by_jsonlite(&corpus);
    let mut differences = differences();
    let mut parent = Parent::start();
    let mut session = parent.fork();
    for (expression, theirs) in corpus.into_iter().zip(theirs) {
        let answer = session.run_with(&format!("x <- {expression}"), &[], &[("x", None)]);
        assert_eq!(answer.ending, Ending::Succeeded, "{expression}");
        let ours: Value = serde_json::from_str(&answer.outputs[0]).unwrap();
        let agrees = same(&ours, &theirs, FIFTEEN_DIGITS);
        let meant = differences
            .iter()
            .position(|(differing, _)| *differing == expression);
        if let Some(at) = meant {
            assert_eq!(differences.remove(at).1, theirs, "{expression}");
            assert!(!agrees, "no difference after all: {expression}");
        } else {
            assert!(agrees, "{expression}: we write {ours}, jsonlite {theirs}");
        }
    }
    assert!(differences.is_empty(), "not in the corpus: {differences:?}");
}
