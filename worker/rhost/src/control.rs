//! Worker and parent: one JSON message per packet.
//!
//! The parent's end of the `SOCK_SEQPACKET` pair is its standard input when it starts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The longest packet either side sends, in bytes.
pub const MAX_PACKET_BYTES: usize = 64 * 1024;

/// What the worker tells a parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToParent {
    /// Fork a child. Answered by [`FromParent::Forked`] or [`FromParent::ForkFailed`].
    Fork {
        /// The worker's number for the child; never used twice with one parent.
        child: u64,
        /// The child's own directory. It exists, is empty and belongs to the child's uid.
        /// The working directory of R is `dir/work`, `tempdir()` lies below `dir/tmp`; the host makes both.
        dir: PathBuf,
        /// Nobody waits for it yet, so there is time for a run of its own before it says that it is ready: the first run of
        /// a user is then as fast as the second.
        #[serde(default)]
        ahead: bool,
        /// It may become the parent of a service's calls ([`crate::session::ToChild::Serve`]), which share what it is lent: so it is
        /// lent more.
        #[serde(default)]
        service: bool,
    },
    /// Fork another parent, which has R in the same memory. Answered by [`FromParent::Forked`], with the worker's end of the new
    /// parent's control socket, or by [`FromParent::ForkFailed`]. On that socket it says [`FromParent::Ready`], and serves like this
    /// one. It ends when this one ends, and its own end is told as any child's.
    Twin {
        /// The worker's number for it, one of those for children.
        child: u64,
    },
    /// Kill the child's process group and every descendant. Answered by [`FromParent::Exited`].
    Kill {
        /// Which child.
        child: u64,
    },
    /// "I am alive", once a second. A parent that hears none for [`Hello::tick_limit_ms`] kills its children and itself.
    Tick,
}

/// What a parent tells the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromParent {
    /// R runs and the packages are loaded; forks may be asked for. The first packet a parent sends.
    Ready(Hello),
    /// R could not be started, or cannot be forked safely. The parent exits after this packet.
    Refused {
        /// What is wrong and what would mend it.
        message: String,
    },
    /// A child exists. Three descriptors travel with this packet, in this order: the worker's end of the child's frame
    /// socket (stream), the read end of its console pipe, and a pidfd of the child. With a twin travels one: its control socket.
    Forked {
        /// The worker's number for the child.
        child: u64,
        /// Process id, which is also the process group id.
        pid: i32,
    },
    /// The fork did not happen.
    ForkFailed {
        /// The worker's number for the child.
        child: u64,
        /// The operating system's reason.
        message: String,
    },
    /// The child ended and was reaped, and so was everything it left behind.
    Exited {
        /// The worker's number for the child.
        child: u64,
        /// How it ended.
        exit: Exit,
    },
}

/// What a parent says of itself once R runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// For example `4.2.2`.
    pub r_version: String,
    /// Process id of the parent.
    pub pid: i32,
    /// Without a tick for this long, in milliseconds, the parent ends itself and its children.
    pub tick_limit_ms: u64,
    /// What keeps user code in its place on this machine, and what does so less well than it could.
    #[serde(default)]
    pub protections: Vec<Protection>,
}

/// One protection of the sandbox, as it is on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// What it is called, for example `own user`.
    pub name: String,
    /// Whether it holds.
    pub state: ProtectionState,
    /// What it does here.
    pub how: String,
    /// What the machine or the settings lack; absent when it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

/// Whether a protection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtectionState {
    /// In full.
    Active,
    /// In part, or by something coarser.
    Weaker,
    /// Not at all.
    Off,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with a status.
    Status {
        /// The exit status.
        code: i32,
    },
    /// By a signal.
    Signal {
        /// The signal's number.
        signal: i32,
        /// True only when the child's own cgroup counted an out-of-memory kill.
        out_of_memory: bool,
        /// The fault was C code that had used up the stack.
        #[serde(default)]
        stack_overflow: bool,
    },
}
