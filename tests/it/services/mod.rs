//! Published services, over the API.

mod batches;
mod calls;
mod faults;
mod generated_client;
mod isolation;
mod publish;
