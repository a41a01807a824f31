//! What calls run, remembered: a call costs no query of its own for that, since its statement says whether it still holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use warren_common::store::services::{self, Target};
use warren_common::store::{Db, DbError};

/// Versions that are remembered at most.
const MOST: usize = 1024;

/// Name and version.
type Place = (String, String);

/// Versions of services that were called lately.
#[derive(Clone, Default)]
pub struct Targets {
    known: Arc<Mutex<HashMap<Place, Arc<Target>>>>,
}

impl Targets {
    /// What is remembered of a version; it may have changed since.
    pub fn recall(&self, name: &str, version: &str) -> Option<Arc<Target>> {
        let place = (name.to_owned(), version.to_owned());
        self.lock().get(&place).cloned()
    }

    /// What a version is now; `None` when there is none that can be called.
    pub async fn look(
        &self,
        db: &Db,
        name: &str,
        version: &str,
    ) -> Result<Option<Arc<Target>>, DbError> {
        let found = services::target(db, name, version).await?.map(Arc::new);
        let place = (name.to_owned(), version.to_owned());
        let mut known = self.lock();
        match &found {
            None => drop(known.remove(&place)),
            Some(target) => {
                if known.len() >= MOST {
                    known.clear();
                }
                known.insert(place, Arc::clone(target));
            }
        }
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Arc<Target>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
