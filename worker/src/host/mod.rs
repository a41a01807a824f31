//! R processes: parents that fork, children that run code, and a pool of children that are ready.

mod child;
mod control;
mod directory;
mod orphans;
mod parent;
mod pool;
mod removal;

pub use child::{Child, ChildError, ChildExit, FrameReader, FrameWriter, Sending};
pub use directory::Directories;
pub use parent::HostError;
pub use pool::Pool;
