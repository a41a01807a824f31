//! Published services, over the API.

mod calls;
mod faults;
mod isolation;
mod publish;
