//! What lies between the network and the router.

pub mod client;
