//! Clients that call all at once while something breaks, and everything that they saw, to be held against what is stored
//! and what R did.
//!
//! Every call carries a marker of its own, in its code. R writes the marker to a file of its session before anything else;
//! that file is held open here from the moment the session is there, so it can be read when the session is long gone.

mod caller;
mod check;

pub use check::Summary;

use std::fs::File;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::House;
use caller::{Caller, Kind};

/// How long a load may take: long enough for the slowest machine, short of for ever.
const LIMIT: Duration = Duration::from_secs(300);

/// The API nodes that answer at the moment.
#[derive(Clone, Default)]
pub struct Nodes {
    addrs: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Nodes {
    /// The nodes of a house.
    pub fn of(house: &House) -> Self {
        let nodes = Self::default();
        nodes.set(house.apis.iter().map(|api| api.addr).collect());
        nodes
    }

    /// From now on these.
    pub fn set(&self, addrs: Vec<SocketAddr>) {
        *self.addrs.lock().unwrap_or_else(PoisonError::into_inner) = addrs;
    }

    /// One of them; which one, `turn` decides.
    fn pick(&self, turn: usize) -> Option<SocketAddr> {
        let addrs = self.addrs.lock().unwrap_or_else(PoisonError::into_inner);
        addrs.get(turn % addrs.len().max(1)).copied()
    }
}

/// How much is called.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Clients at the same moment, each with a session of its own.
    pub clients: usize,
    /// Jobs of each client. What was refused with 503 counts for none.
    pub jobs: usize,
    /// How long R sleeps in each run at most, in milliseconds.
    pub pause_ms: u64,
}

/// What a client saw of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saw {
    /// How the run went.
    Answer {
        /// It succeeded.
        success: bool,
        /// What it printed.
        console: String,
    },
    /// 410, and the message.
    Gone(String),
    /// 503, or nobody listened: nothing runs.
    Refused,
    /// 504: it may run.
    InDoubt,
    /// The connection broke before there was an answer.
    Nothing,
    /// What no client should see.
    Unexpected(String),
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its marker.
    pub marker: String,
    /// What its client saw.
    pub saw: Saw,
}

/// What clients saw, and the files in which R noted what it ran.
#[derive(Default)]
pub struct Seen {
    /// The load's own, in front of every marker.
    name: String,
    /// Every call.
    pub calls: Vec<Call>,
    logs: Vec<File>,
}

/// Clients at work.
pub struct Load {
    name: String,
    clients: Vec<JoinHandle<Seen>>,
    plan: Plan,
}

impl Load {
    /// Starts the clients.
    pub async fn start(house: &House, nodes: &Nodes, plan: Plan) -> Self {
        let admin = house.admin().await;
        let name = uuid::Uuid::now_v7().simple().to_string();
        let start = |number| {
            let caller = Caller {
                load: name.clone(),
                number,
                kind: Kind::of(number),
                client: admin.clone(),
                nodes: nodes.clone(),
                dir: house.dir().to_owned(),
                plan,
                session: None,
                turn: number,
                seen: Seen::default(),
            };
            tokio::spawn(caller.call_all())
        };
        Self {
            clients: (0..plan.clients).map(start).collect(),
            name,
            plan,
        }
    }

    /// True when every client has done its jobs.
    pub fn is_over(&self) -> bool {
        self.clients.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the clients, and returns what they saw.
    ///
    /// # Panics
    ///
    /// When one has failed, or they are not done within the limit.
    pub async fn seen(self) -> Seen {
        let gathered = tokio::time::timeout(LIMIT, futures::future::join_all(self.clients));
        let gathered = gathered
            .await
            .unwrap_or_else(|_elapsed| panic!("the clients are not done after {LIMIT:?}"));
        let mut all = Seen {
            name: self.name,
            ..Seen::default()
        };
        for seen in gathered {
            let seen = seen.expect("no client fails");
            all.calls.extend(seen.calls);
            all.logs.extend(seen.logs);
        }
        let jobs = all.calls.iter().filter(|call| call.saw != Saw::Refused);
        assert_eq!(jobs.count(), self.plan.clients * self.plan.jobs);
        all
    }
}
