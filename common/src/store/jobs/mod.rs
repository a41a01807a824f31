//! Table `jobs`: accepted by the API, claimed and completed by workers, read by everybody.

mod calls;
mod cancel;
mod claim;
mod complete;
mod idempotency;
mod read;
mod submit;

pub use calls::{
    NewCall, calls_running_here, claim_calls, claim_waiting_calls, give_back, submit_calls,
};
pub use cancel::{CancelVerdict, current_of, request_cancel, withdraw};
pub use claim::{Claimed, aside_running_here, claim, claim_aside, claim_opening, running_here};
pub(in crate::store) use complete::{Columns, complete_on};
pub use complete::{Completed, Completion, complete, complete_with_snapshot, settled_by};
pub use idempotency::{IdempotencyKey, KeyVerdict, forget, recall, remember};
pub use read::{Ended, HistoryEntry, Job, ListFilter, ended, find, history, list, queued_by_kind};
pub use submit::{NewJob, Verdict, is_stored, submit};
