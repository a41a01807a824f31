//! Ids have types: a session id in the place of a job id does not compile.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id; ids made later sort later.
            #[expect(clippy::new_without_default, reason = "a default id would be a surprise")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id of a row that exists.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// For statements.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id!(
    /// Names whoever owns things.
    PrincipalId
);
id!(
    /// Names one R session.
    SessionId
);
id!(
    /// Names one job.
    JobId
);
id!(
    /// Names one snapshot.
    SnapshotId
);
id!(
    /// Names bytes on their way between a caller and a session.
    TransferId
);
id!(
    /// Names one start of a worker process.
    WorkerId
);
id!(
    /// Names one start of an API process.
    ApiId
);
id!(
    /// Names one sign-in and the tokens that descend from it.
    FamilyId
);
