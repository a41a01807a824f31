//! One data frame as JSON, both ways, by the R host and by jsonlite.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use warren_rhost::session::{Input, Output, RType};

use super::driver::{Parent, Session, Values};
use crate::bench::plan::Plan;
use crate::bench::series::Sample;

/// Makes `frame`: ten columns of every kind, each with missing values.
const FRAME: &str = r#"
set.seed(1)
hole <- function(x) { x[sample.int(rows, rows / 50)] <- NA; x }
frame <- data.frame(
  normal = hole(rnorm(rows)), large = hole(runif(rows) * 1e9), cents = hole(round(rnorm(rows), 2)),
  number = hole(sample.int(1e6L, rows, TRUE)), count = hole(rpois(rows, 3)), id = hole(seq_len(rows)),
  colour = hole(sample(c("red", "gr\u00fcn", "\"blue\""), rows, TRUE)), name = hole(sprintf("item %d", seq_len(rows))),
  yes = hole(rnorm(rows) > 0), rare = hole(rnorm(rows) > 2))
"#;

/// Times what jsonlite needs for the same value and the same text, inside R and after a collection.
const JSONLITE: &str = r#"
text <- readChar(file, file.size(file), useBytes = TRUE)
Encoding(text) <- "UTF-8"
for (i in seq_len(times)) {
  cat("to", system.time(jsonlite::toJSON(frame, dataframe = "columns", na = "null", digits = NA))[["elapsed"]], "\n")
  cat("from", system.time(value <- jsonlite::fromJSON(text))[["elapsed"]], "\n")
}
stopifnot(identical(value$id, frame$id), identical(value$name, frame$name), all.equal(value$normal, frame$normal))
"#;

/// Times of both ways.
#[derive(Default)]
pub(super) struct Ways {
    to_json: Vec<Duration>,
    from_json: Vec<Duration>,
}

impl Ways {
    /// As samples: R to JSON, and JSON to R.
    pub(super) fn samples(self) -> (Sample, Sample) {
        (
            Sample::in_turn(self.to_json),
            Sample::in_turn(self.from_json),
        )
    }
}

/// At the host's door: from the request to the whole answer. Leaves the text in `file`.
pub(super) fn of_host(parent: &mut Parent, plan: &Plan, file: &Path) -> io::Result<Ways> {
    let mut session = parent.fork()?;
    session.run(&frame(plan), Values::default())?;
    let mut ways = Ways::default();
    let mut text = None;
    for _ in 0..plan.frames {
        let began = Instant::now();
        let json = written(&mut session)?;
        ways.to_json.push(began.elapsed());
        let began = Instant::now();
        read_back(&mut session, json.clone())?;
        ways.from_json.push(began.elapsed());
        text = Some(json);
    }
    session.run("stopifnot(all.equal(frame, back))", Values::default())?;
    if let Some(text) = text {
        fs::write(file, text.get())?;
    }
    parent.end(session)?;
    Ok(ways)
}

fn frame(plan: &Plan) -> String {
    format!("rows <- {}L\n{FRAME}", plan.frame_rows)
}

fn written(session: &mut Session) -> io::Result<Box<RawValue>> {
    let values = Values {
        outputs: vec![Output {
            name: "frame".to_owned(),
            r#type: Some(RType::DataFrame),
        }],
        ..Values::default()
    };
    let outputs = session.run("invisible()", values)?;
    let output = outputs.into_iter().next();
    output.ok_or_else(|| io::Error::other("an output is missing"))
}

fn read_back(session: &mut Session, value: Box<RawValue>) -> io::Result<()> {
    let values = Values {
        inputs: vec![Input {
            name: "back".to_owned(),
            r#type: Some(RType::DataFrame),
            value,
        }],
        ..Values::default()
    };
    session.run("invisible()", values).map(drop)
}

/// In an R of its own, from a text that is in memory to a value and back.
pub(super) fn of_jsonlite(plan: &Plan, file: &Path) -> io::Result<Ways> {
    let script = format!(
        "{}\nfile <- '{}'\ntimes <- {}\n{JSONLITE}",
        frame(plan),
        file.display(),
        plan.frames
    );
    let mut child = Command::new("R")
        .args(["--vanilla", "--no-echo"])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io::Error::other(format!("jsonlite: {message}")));
    }
    let mut ways = Ways::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.trim().split_once(' ') {
            Some(("to", seconds)) => ways.to_json.push(time(seconds)?),
            Some(("from", seconds)) => ways.from_json.push(time(seconds)?),
            _ => return Err(io::Error::other(format!("jsonlite: {line}"))),
        }
    }
    Ok(ways)
}

fn time(seconds: &str) -> io::Result<Duration> {
    seconds
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| io::Error::other(format!("jsonlite took `{seconds}`")))
}
