//! The HTTP tier of Warren: it turns requests into jobs, and answers when they end.
//!
//! In reading order: [`router`] lists every route; a handler under `routes` takes its parts out of the request
//! ([`extract`], [`auth`]), stores a job ([`submit`]), waits for it ([`watch`]) and answers or fails ([`error`]).
//! [`sweeper`] mends what others left behind, [`upkeep`] ends and removes what nobody needs any more. [`cli`] is the program around [`run`].

pub mod activity;
pub mod app;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod error;
pub mod extract;
pub mod middleware;
pub mod offers;
pub mod ready;
pub mod router;
pub mod routes;
pub mod services;
mod start;
pub mod streams;
pub mod submit;
pub mod sweeper;
pub mod transport;
pub mod upkeep;
pub mod watch;

pub use start::{StartError, run};
