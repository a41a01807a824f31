//! Table `batches`, and the jobs that are their items.
//!
//! Items wait until they are released, so that no more than the batch allows are queued or running. Whoever completes some
//! releases as many in the same statement; an item that ends in another way marks its batch, and a sweeper counts anew.

mod arrive;
mod complete;
mod read;
mod remove;

/// What becomes of an item whose batch is deleted, as the SET of an UPDATE of `jobs j`: one that runs is asked to stop.
const STOP: &str = "state = CASE WHEN j.state = 'running' THEN j.state ELSE 'cancelled' END,
               finished_at = CASE WHEN j.state = 'running' THEN NULL ELSE now() END,
               reason = CASE WHEN j.state = 'running' THEN j.reason ELSE 'its batch was deleted' END,
               cancel_requested_at = coalesce(j.cancel_requested_at, now())";

pub use arrive::{
    Arrived, NewBatch, NewItem, abandon, abandon_stale, add_items, begin, is_released, release,
};
pub use complete::{complete_items, recount};
pub use read::{Batch, Item, find, list, of_item, page, result};
pub use remove::{Deleted, delete, remove_old};
