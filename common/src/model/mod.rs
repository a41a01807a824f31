//! The words of the design as types: states whose moves can refuse.

mod audit;
mod content;
mod job;
mod offer;
mod request;
mod result;
mod role;
mod service;
mod session;
mod worker;

pub use audit::{AuditEvent, AuditOutcome};
pub use content::Content;
pub use job::{CancelOutcome, JobKind, JobState, Lane};
pub use offer::{Offer, OfferToken};
pub use request::{
    ByteRange, CreateSnapshotRequest, DeleteRequest, ExecuteRequest, GetFileRequest,
    GetObjectRequest, InputParameter, LoadSnapshotRequest, ObjectFormat, OpenRequest,
    PutFilesRequest, PutObjectRequest, UploadedFile, Wanted,
};
pub use result::{
    Got, GotFile, GotObject, Names, OutputFile, Refusal, RefusalKind, RunResult, SavedSnapshot,
    ValuePair,
};
pub use role::Role;
pub use service::{CallRequest, Change, Definition, Parameter, ParameterType, PublishRequest};
pub use session::SessionState;
pub use worker::{Weakness, WorkerIdentity, WorkerState};

/// A move that the state machine does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no move from {from} to {to}")]
pub struct IllegalMove {
    /// Where it stands.
    pub from: &'static str,
    /// Where it was asked to go.
    pub to: &'static str,
}

/// A word in the database that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no {what}")]
pub struct UnknownWord {
    /// What was expected, for example `job state`.
    pub what: &'static str,
    /// What was found.
    pub word: String,
}

/// Declares an enum whose variants are words of the database and of the wire, said once.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every one of them, in the order of the design.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in the database and on the wire.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::model::UnknownWord { what: $what, word: word.to_owned() }),
                }
            }
        }
    };
}
use words;
