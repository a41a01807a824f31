//! `DELETE /api/{name}/{version}/batch/{execution}`

use axum::Json;
use axum::extract::State;
use warren_common::id::BatchId;
use warren_common::queue::{Notice, QueueName};
use warren_common::store::batches;

use super::{Execution, no_batch};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::submit::notify;

/// Cancels what has not ended, and forgets the batch with its results.
pub async fn delete(
    State(app): State<Shared>,
    caller: Caller,
    execution: Execution,
) -> Result<Json<Vec<BatchId>>, ApiError> {
    let whose = caller.sees_batches_of();
    let deleted = batches::delete(&app.db, whose, execution.of()?, execution.id).await?;
    for (job, worker) in deleted.ok_or_else(no_batch)?.running {
        let notice = Notice::CancelCallV1 { job };
        notify(&app.broker, QueueName::Control(worker), notice);
    }
    Ok(Json(vec![execution.id]))
}
