//! Tables `services`, `service_versions` and `service_contents`.
//!
//! Whatever changes what is published under a name first locks the row of the name, so such changes happen one after another.

mod name;
mod publish;
mod read;
mod remove;

pub use name::Publisher;
pub use publish::{
    NewPublication, Pinned, Publication, Published, Reserved, complete, publication, reserve,
};
pub use read::{Content, Service, Target, content, list, newest, target};
pub use remove::{
    OverContents, Removed, free_unpublished, known_copies, remove, remove_over, wanted_snapshots,
};
