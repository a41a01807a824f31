//! Everything that the end-to-end tests and the bench need to start a whole Warren and to hurt it.
//!
//! [`House`] is a Warren of its own: a database, queue names, a folder and processes that belong to one test alone.
//! The servers below it are started by `./dev test`, which also says where they are.

pub mod audit;
pub mod bench;
pub mod client;
pub mod events;
pub mod garage;
pub mod gate;
pub mod house;
pub mod load;
pub mod openid;
pub mod postgres;
pub mod process;
pub mod processes;
pub mod proxy;
pub mod rabbitmq;
pub mod raw_queues;
pub mod s3;
pub mod services;
pub mod slapd;
pub mod wait;

pub use client::{Answer, Client};
pub use house::{Builder, House, WorkerOptions};
