//! Worker and the parent of a service: one JSON message per packet.
//!
//! That parent runs a publisher's code, so the worker believes nothing of what it says. It makes every socket and pipe itself and
//! hands one end over: nobody else ever holds the end that the worker reads.

use serde::{Deserialize, Serialize};

use crate::control::Exit;

/// What the worker tells the parent of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToService {
    /// Fork a process for one call. Two descriptors travel with this packet: the call's end of its frame socket (stream), and the
    /// write end of its console pipe. Answered by [`FromService::Forked`] or [`FromService::ForkFailed`].
    Fork {
        /// The worker's number for the call; never used twice with one parent.
        child: u64,
        /// The call's directory is `calls/{place}` in that of its parent. It may be there already, as another call left it.
        place: u64,
        /// Nobody waits for it yet, as in [`crate::control::ToParent::Fork`].
        #[serde(default)]
        ahead: bool,
    },
    /// Interrupt the call and what it waits for.
    Interrupt {
        /// Which call.
        child: u64,
    },
    /// Kill the call and all that descends from it. Answered by [`FromService::Exited`].
    Kill {
        /// Which call.
        child: u64,
    },
}

/// What the parent of a service tells the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromService {
    /// Forks may be asked for. The first packet.
    Serving,
    /// It cannot be forked safely, and is what it was before. The first packet and the last.
    Refused {
        /// What is wrong and what would mend it.
        message: String,
    },
    /// The call's process exists.
    Forked {
        /// The worker's number for the call.
        child: u64,
        /// Process id, for people: whoever runs the publisher's code may say any number.
        pid: i32,
    },
    /// The fork did not happen.
    ForkFailed {
        /// The worker's number for the call.
        child: u64,
        /// The operating system's reason.
        message: String,
    },
    /// The call's process ended and was reaped, and so was everything it left behind.
    Exited {
        /// The worker's number for the call.
        child: u64,
        /// How it ended. Whether memory ran out only the parent's own parent can tell.
        exit: Exit,
    },
}
