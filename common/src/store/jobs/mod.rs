//! Table `jobs`: accepted by the API, claimed and completed by workers, read by everybody.

mod cancel;
mod claim;
mod complete;
mod idempotency;
mod read;
mod submit;

pub use cancel::{CancelVerdict, current_of, request_cancel};
pub use claim::{Claimed, claim, running_here};
pub use complete::{Completed, Completion, complete, settled_by};
pub use idempotency::{IdempotencyKey, KeyVerdict, forget, recall, remember};
pub use read::{Ended, HistoryEntry, Job, ListFilter, ended, find, history, list, queued_by_kind};
pub use submit::{NewJob, Verdict, is_stored, submit};
