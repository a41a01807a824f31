//! What the worker and the R host say to each other.
//!
//! This library is the half of the crate that both sides use: message types and their framing, without R and without
//! `unsafe`. The program that embeds libR is the binary of the same crate; nobody links against it.
//!
//! There are three conversations:
//!
//! * [`control`]: worker and *parent*, one message per packet of a `SOCK_SEQPACKET` pair, file descriptors attached.
//! * [`session`]: worker and *child*, length-prefixed frames on the child's own stream socket.
//! * [`service`]: worker and the parent of a service's calls, which was a child before; packets, too.
//!
//! Console bytes travel on none of them: each child has one pipe for them (see `docs/RHOST.md`).

#![forbid(unsafe_code)]

pub mod control;
pub mod frame;
pub mod processes;
pub mod service;
pub mod session;
