//! Worker and child: what a session's R process is asked and what it answers.
//!
//! Each message is one frame (see [`crate::frame`]) holding JSON. Values of R are raw JSON, so that a large one is
//! copied and never rebuilt as a tree.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What the worker asks of a child. One at a time: the next is sent after [`FromChild::Done`].
///
/// The kind is the name of the frame's only member: with a tag inside, serde would buffer the content to look for it, and raw
/// JSON cannot be read back from that buffer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToChild {
    /// Assign the inputs, run the code as R's console would, read the outputs.
    Run(Run),
    /// Do something with the workspace without running code.
    Workspace(Workspace),
    /// Become the parent of a service's calls: take no more of these messages, and fork instead. The parent's end of a
    /// `SOCK_SEQPACKET` pair comes with the frame, and the answer on that ([`crate::service::FromService`]).
    Serve,
}

/// One piece of R code to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    /// The worker's number for this run; comes back in [`Done::run`].
    pub run: u64,
    /// R source. Line ends of any kind.
    pub code: String,
    /// Assigned into the global environment before the code runs, in this order.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// Read from the global environment after the code ran without an error, in this order.
    #[serde(default)]
    pub outputs: Vec<Output>,
    /// The longest outputs, in bytes of JSON; a longer one fails the run and is named.
    pub max_output_bytes: u64,
    /// The run is for practice: when it is over, what it did to the session is undone, but what it loaded stays loaded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rehearsal: bool,
}

/// A value to assign.
#[derive(Debug, Serialize, Deserialize)]
pub struct Input {
    /// Name in the global environment, taken as it is.
    pub name: String,
    /// Declared type, for services; absent for a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<RType>,
    /// The value as JSON.
    pub value: Box<RawValue>,
}

/// A value to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Name in the global environment.
    pub name: String,
    /// Declared type: decides the JSON form. Absent for a session, whose outputs are always boxed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<RType>,
}

/// The seven declared types of the wire contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RType {
    /// `TRUE` or `FALSE`.
    #[serde(rename = "logical")]
    Logical,
    /// A double.
    #[serde(rename = "numeric")]
    Numeric,
    /// A 32-bit integer.
    #[serde(rename = "integer")]
    Integer,
    /// A string.
    #[serde(rename = "character")]
    Character,
    /// An atomic vector: a JSON array.
    #[serde(rename = "vector")]
    Vector,
    /// A matrix: an array of rows.
    #[serde(rename = "matrix")]
    Matrix,
    /// A data frame: an object of columns.
    #[serde(rename = "data.frame")]
    DataFrame,
}

/// Something to be done with the workspace: the objects of the global environment.
#[derive(Debug, Serialize, Deserialize)]
pub struct Workspace {
    /// The worker's number for this; comes back in [`Done::run`].
    pub run: u64,
    /// What.
    pub ask: Ask,
}

/// What can be done with the workspace.
///
/// Bytes that R writes or reads travel through a pipe, one end of which comes with the frame (`SCM_RIGHTS` on its first byte).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ask {
    /// Say whether R can read this code, which is not run.
    Parse {
        /// R source. Line ends of any kind.
        code: String,
    },
    /// Name the objects as `ls()` does. The only output is an array of strings.
    List,
    /// Write one object into the pipe. The only output is the number of its bytes.
    Save {
        /// Name in the global environment.
        name: String,
        /// How it is written.
        form: Form,
    },
    /// Write every object into the pipe as `save.image(compress = FALSE, version = 2)` writes them, those included whose names
    /// begin with a dot. The only output is the number of bytes.
    SaveImage,
    /// Read from the pipe what [`Ask::SaveImage`] wrote, and then assign it all. What has other names stays.
    LoadImage,
    /// Read an object from a file in any form that R writes, and assign it.
    Read {
        /// Name in the global environment. Of a file that holds several objects the one of this name is taken, else the first.
        name: String,
        /// The file.
        file: PathBuf,
    },
    /// Remove an object.
    Remove {
        /// Name in the global environment.
        name: String,
    },
}

/// How one object is written: version 2, uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The object under its name, as `save()` writes it.
    Save,
    /// The object alone, as `serialize()` and `saveRDS()` write it.
    Serialize,
}

/// What a child tells the worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", try_from = "wire::FromChild")]
pub enum FromChild {
    /// The child is set up (directory, seed, limits) and takes a [`Run`]. The first frame a child sends.
    Ready,
    /// A run ended, or what was asked of the workspace is done, and the process lives on.
    Done(Done),
}

/// How a run ended, or something with the workspace. Everything it printed is in the console pipe before this frame is sent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    /// The number of the run.
    pub run: u64,
    /// How it ended.
    pub ending: Ending,
    /// One value per requested output, in the order asked; empty unless [`Ending::Succeeded`].
    pub outputs: Vec<Box<RawValue>>,
    /// Top-level files of the working directory that this run made or changed, sorted; no dot-files.
    pub changed_files: Vec<String>,
}

/// How a run ended with the process alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ending {
    /// The code ran to its end and every output was read.
    Succeeded,
    /// The code is not R; nothing ran.
    ParseError {
        /// R's message, with line and column.
        message: String,
    },
    /// An R error.
    Error {
        /// The condition's text, with its call when it has one, as R prints it after `Error`.
        message: String,
    },
    /// An input could not be assigned or an output not be written as JSON.
    ValueError {
        /// Which one and why.
        message: String,
    },
    /// R unwound after an interrupt.
    Interrupted,
    /// R could not allocate; the process lives.
    OutOfMemory {
        /// R's message.
        message: String,
    },
    /// The workspace has no object of the name that was asked for.
    NoObject,
}

/// The same message with the tag beside the fields: read as a plain struct, the values are copied once and never rebuilt.
mod wire {
    use serde::Deserialize;
    use serde_json::value::RawValue;

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Ready,
        Done,
    }

    #[derive(Deserialize)]
    pub(super) struct FromChild {
        kind: Kind,
        run: Option<u64>,
        ending: Option<super::Ending>,
        #[serde(default)]
        outputs: Vec<Box<RawValue>>,
        #[serde(default)]
        changed_files: Vec<String>,
    }

    impl TryFrom<FromChild> for super::FromChild {
        type Error = &'static str;

        fn try_from(wire: FromChild) -> Result<Self, Self::Error> {
            let FromChild {
                kind,
                run,
                ending,
                outputs,
                changed_files,
            } = wire;
            match (kind, run, ending) {
                (Kind::Ready, ..) => Ok(Self::Ready),
                (Kind::Done, Some(run), Some(ending)) => Ok(Self::Done(super::Done {
                    run,
                    ending,
                    outputs,
                    changed_files,
                })),
                (Kind::Done, ..) => Err("a `done` frame names its run and its ending"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values_survive_the_tagged_messages() {
        let run = r#"{"run":{"run":7,"code":"x","inputs":[{"name":"x","value":{"b":1,"a":[2.50]}}],"max_output_bytes":10}}"#;
        let ToChild::Run(run) = serde_json::from_str(run).unwrap() else {
            panic!("not a run");
        };
        assert_eq!(run.inputs[0].value.get(), r#"{"b":1,"a":[2.50]}"#);

        let done = r#"{"kind":"done","run":7,"ending":{"kind":"succeeded"},"outputs":[[1.0],null],"changed_files":[]}"#;
        let FromChild::Done(done) = serde_json::from_str(done).unwrap() else {
            panic!("not a done frame");
        };
        assert_eq!(done.outputs[0].get(), "[1.0]");
        assert!(matches!(
            serde_json::from_str(r#"{"kind":"ready"}"#),
            Ok(FromChild::Ready)
        ));
    }
}
