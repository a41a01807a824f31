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

            /// The least id that can have been made at this time, in milliseconds since 1970.
            pub fn earliest_at(unix_millis: u64) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_millis, &[0; 10]).into_uuid())
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
    /// Names one version of a service, from its publication to its deletion.
    VersionId
);
id!(
    /// Names what a version of a service consists of; another one after each publication.
    ContentId
);
id!(
    /// Names a batch of calls.
    BatchId
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_time_lie_between_the_earliest_of_it_and_the_earliest_of_the_next() {
        let id = JobId::new();
        let (seconds, nanos) = id.uuid().get_timestamp().unwrap().to_unix();
        let millis = seconds * 1000 + u64::from(nanos / 1_000_000);
        assert!(JobId::earliest_at(millis) <= id);
        assert!(id < JobId::earliest_at(millis + 1));
    }
}
