//! R processes: parents that fork, children that run code, a pool of children that are ready, and children that became parents of
//! a service's calls.

mod call_places;
mod child;
mod control;
mod directory;
mod orphans;
mod parent;
mod pool;
mod removal;
mod service;

pub use child::{Child, ChildError, ChildExit, FrameReader, FrameWriter, Sending};
pub use directory::Directories;
pub use parent::HostError;
pub use pool::Pool;
pub use service::ServiceParent;
