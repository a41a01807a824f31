//! Places for event streams: each holds a connection and up to about a megabyte of text for its reader, so a node has room for
//! so many, and one caller cannot take them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use warren_common::id::PrincipalId;
use warren_common::telemetry::metrics;

use crate::error::ApiError;

/// The streams of this node.
#[derive(Clone)]
pub struct Streams {
    inner: Arc<Inner>,
}

struct Inner {
    /// How many each caller has; callers without any are absent.
    open: Mutex<HashMap<PrincipalId, u32>>,
    limit: u32,
    limit_of_caller: u32,
}

impl Streams {
    /// Room for `limit` streams, `limit_of_caller` of them for each caller.
    pub fn new(limit: u32, limit_of_caller: u32) -> Self {
        let inner = Inner {
            open: Mutex::default(),
            limit,
            limit_of_caller,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// A place for one more stream of a caller.
    pub fn take(&self, caller: PrincipalId) -> Result<Place, ApiError> {
        let mut open = self.inner.lock();
        let of_caller = open.get(&caller).copied().unwrap_or_default();
        if of_caller >= self.inner.limit_of_caller {
            return Err(ApiError::TooManyStreams(of_caller));
        }
        let all: u32 = open.values().sum();
        if all >= self.inner.limit {
            return Err(ApiError::unavailable(format!(
                "this node serves {all} event streams already"
            )));
        }
        open.insert(caller, of_caller + 1);
        metrics().event_streams(all + 1);
        Ok(Place {
            inner: Arc::clone(&self.inner),
            caller,
        })
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<PrincipalId, u32>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one stream. Dropping it gives it back.
pub struct Place {
    inner: Arc<Inner>,
    caller: PrincipalId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.inner.lock();
        match open.get_mut(&self.caller) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.caller)),
        }
        metrics().event_streams(open.values().sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_and_a_node_have_so_many_places_and_get_them_back() {
        let streams = Streams::new(3, 2);
        let (ada, ben) = (PrincipalId::new(), PrincipalId::new());
        let first = streams.take(ada).ok();
        let _second = streams.take(ada).unwrap();
        assert!(matches!(
            streams.take(ada),
            Err(ApiError::TooManyStreams(2))
        ));
        let _third = streams.take(ben).unwrap();
        assert!(matches!(streams.take(ben), Err(ApiError::Unavailable(_))));
        drop(first);
        assert!(streams.take(ben).is_ok());
    }
}
