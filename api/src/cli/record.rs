//! Recording what an operator did on the command line.

use warren_common::model::{AuditEvent, AuditOutcome};
use warren_common::store::audit::{self, Record};
use warren_common::store::{Db, DbError};

/// Who did it, the machine knows: whoever can read the database's password.
const NAME: &str = "(command line)";

/// What was asked for is done; only its record is missing.
#[derive(Debug, thiserror::Error)]
#[error("it is done, but could not be recorded in the table audit")]
pub(super) struct NotRecorded(#[source] DbError);

/// Records what was done, to what.
pub(super) async fn record(db: &Db, event: AuditEvent, what: String) -> Result<(), NotRecorded> {
    let record = Record {
        name: Some(NAME.to_owned()),
        target: Some(what),
        ..Record::new(event, AuditOutcome::Done)
    };
    audit::write(db, &[record]).await.map_err(NotRecorded)
}
