//! Who did what, from where, and what became of it: a line in the log at once, and a row of the table `audit` a moment later.
//!
//! [`around`] makes a record of every request to a route that has an event, and of every other that was refused for want of a token
//! or of a role. A record never holds code, tokens or values.

mod records;
mod request;

pub use records::{Audit, Records};
pub use request::{Noted, Notes, Origin, Target, Who, around};
