//! Published services, over the API.

mod batches;
mod calls;
mod faults;
mod isolation;
mod publish;
