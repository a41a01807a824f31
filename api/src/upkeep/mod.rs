//! What is ended and removed because nobody needs it any more. One node at a time does it, and all of it stands being done twice.

pub(crate) mod blobs;
pub(crate) mod idle;
pub(crate) mod retention;
