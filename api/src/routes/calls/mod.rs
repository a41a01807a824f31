//! Calling services.

mod answer;
pub mod call;
pub mod swagger;

pub(super) use answer::CallResponse;
pub(super) use call::request;
