//! A fleet under somebody's care: what ends is started again, as an init system would.

use std::net::SocketAddr;

use warren_tests::proxy::Proxy;
use warren_tests::{Builder, Client, House, WorkerOptions, processes, wait};

use super::faults::{Dice, Fault};

/// Workers that are to run.
const WORKERS: usize = 3;
/// API nodes that are to run.
const APIS: usize = 3;
/// Turns until a frozen worker wakes up: longer than the lease of a house, which is 3 s.
const FROZEN: usize = 5;

/// Processes, and the links between them and their servers.
pub(super) struct Fleet {
    pub(super) house: House,
    broker: Proxy,
    postgres_of_apis: Proxy,
    postgres_of_workers: Proxy,
    /// Places in the house.
    workers: Vec<usize>,
    apis: Vec<usize>,
    /// Stopped workers, and the turn in which each wakes up.
    frozen: Vec<(usize, usize)>,
    broker_back: Option<usize>,
    postgres_back: Option<usize>,
    turn: usize,
}

impl Fleet {
    /// Starts it, each program with links of its own kind.
    pub(super) async fn build() -> Self {
        let house = Builder::new().apis(0).workers(0).build().await;
        let mut fleet = Self {
            broker: Proxy::to(house.amqp_server()).await,
            postgres_of_apis: Proxy::to(house.database.server).await,
            postgres_of_workers: Proxy::to(house.database.server).await,
            house,
            workers: Vec::new(),
            apis: Vec::new(),
            frozen: Vec::new(),
            broker_back: None,
            postgres_back: None,
            turn: 0,
        };
        for addr in fleet.tend().await {
            Client::anonymous(addr).ready().await;
        }
        let listed = "SELECT count(*) FROM workers WHERE state = 'alive'";
        wait::until("the workers are there", async || {
            (fleet.house.sql_value(listed).await == WORKERS.to_string()).then_some(())
        })
        .await;
        fleet
    }

    /// One turn: what was to last until now ends, and the fault begins.
    pub(super) async fn strike(&mut self, fault: Fault, dice: &mut Dice) {
        self.turn += 1;
        self.undo(self.turn).await;
        match fault {
            Fault::KillWorker => {
                if let Some(worker) = self.some_worker(dice) {
                    self.house.workers[worker].process.kill().await;
                }
            }
            Fault::FreezeWorker => {
                if let Some(worker) = self.some_worker(dice) {
                    self.house.workers[worker].process.signal("STOP").await;
                    self.frozen.push((worker, self.turn + FROZEN));
                }
            }
            Fault::PauseWorker => {
                if let Some(worker) = self.some_worker(dice) {
                    self.house.workers[worker].process.signal("STOP").await;
                    self.frozen.push((worker, self.turn + 1));
                }
            }
            Fault::DrainWorker => {
                if let Some(worker) = self.some_worker(dice) {
                    self.house.workers[worker].process.signal("TERM").await;
                    // A replacement comes at once; it goes when it is done.
                    self.workers.retain(|running| *running != worker);
                }
            }
            Fault::KillParent => {
                if let Some(worker) = self.some_worker(dice) {
                    let worker = self.house.workers[worker].process.pid();
                    let hosts = processes::hosts_of(worker);
                    if !hosts.is_empty() {
                        processes::kill(hosts[dice.throw(hosts.len())]);
                    }
                }
            }
            Fault::KillApi => {
                let node = self.apis[dice.throw(self.apis.len())];
                self.house.apis[node].process.kill().await;
            }
            Fault::CutBroker(turns) => {
                self.broker.cut();
                self.broker_back = Some(self.turn + turns);
            }
            Fault::CutPostgres(turns) => {
                self.postgres_of_apis.cut();
                self.postgres_of_workers.cut();
                self.postgres_back = Some(self.turn + turns);
            }
            Fault::CutWorkersOff(turns) => {
                self.postgres_of_workers.cut();
                self.postgres_back = Some(self.turn + turns);
            }
            Fault::MutePostgres => {
                self.postgres_of_apis.mute();
                self.postgres_of_workers.mute();
                self.postgres_back = Some(self.turn + 1);
            }
        }
    }

    /// Starts again what has ended; returns where API nodes are. They may not be ready yet: their clients see.
    pub(super) async fn tend(&mut self) -> Vec<SocketAddr> {
        let house = &mut self.house;
        self.workers
            .retain(|worker| house.workers[*worker].process.is_running());
        self.apis
            .retain(|node| house.apis[*node].process.is_running());
        while self.workers.len() < WORKERS {
            let options = WorkerOptions {
                database_via: Some(self.postgres_of_workers.addr()),
                amqp_via: Some(self.broker.addr()),
                ..WorkerOptions::default()
            };
            let (place, _probe) = self.house.start_worker(options).await;
            self.workers.push(place);
        }
        while self.apis.len() < APIS {
            let amqp = self.house.amqp_via(self.broker.addr());
            let env = [("WARREN_AMQP_URL", amqp.as_str())];
            let database = self.postgres_of_apis.addr();
            self.apis
                .push(self.house.start_api_via(database, &env).await);
        }
        self.apis
            .iter()
            .map(|node| self.house.apis[*node].addr)
            .collect()
    }

    /// Ends everything that still lasts.
    pub(super) async fn heal(&mut self) {
        self.undo(usize::MAX).await;
    }

    /// Waits until everything works again that is to run. Nobody does more for it than an init system would: a worker that woke up
    /// too late ends as soon as it learns of it, which may be long after the last fault.
    pub(super) async fn is_whole(&mut self) {
        let listed = "SELECT count(*) || ' ' || bool_and(lease_expires_at > now())
             FROM workers WHERE state IN ('alive', 'draining')";
        wait::until("only what runs counts as alive", async || {
            self.tend().await;
            let found = self.house.sql_value(listed).await;
            (found == format!("{WORKERS} true")).then_some(())
        })
        .await;
        for addr in self.tend().await {
            Client::anonymous(addr).ready().await;
        }
        let house = &self.house;
        let orphaned = "SELECT count(*) FROM sessions s WHERE s.ended_at IS NULL
             AND NOT EXISTS (SELECT FROM workers w WHERE w.id = s.worker_id AND w.state = 'alive')";
        wait::until("no session is left with nobody", async || {
            (house.sql_value(orphaned).await == "0").then_some(())
        })
        .await;
        for node in &self.apis {
            let client = Client::anonymous(house.apis[*node].addr);
            let session = client
                .login("admin", warren_tests::house::PASSWORD)
                .await
                .open_session()
                .await;
            assert_eq!(session.prints("cat('whole')").await, "whole");
        }
    }

    async fn undo(&mut self, turn: usize) {
        if self.broker_back.is_some_and(|back| back <= turn) {
            self.broker.restore();
            self.broker_back = None;
        }
        if self.postgres_back.is_some_and(|back| back <= turn) {
            self.postgres_of_apis.restore();
            self.postgres_of_workers.restore();
            self.postgres_back = None;
        }
        for (worker, wakes) in std::mem::take(&mut self.frozen) {
            if wakes <= turn {
                self.house.workers[worker].process.signal("CONT").await;
            } else {
                self.frozen.push((worker, wakes));
            }
        }
    }

    /// A worker that is not frozen.
    fn some_worker(&mut self, dice: &mut Dice) -> Option<usize> {
        let house = &mut self.house;
        let frozen = &self.frozen;
        let free: Vec<usize> = self
            .workers
            .iter()
            .copied()
            .filter(|worker| frozen.iter().all(|(stopped, _)| stopped != worker))
            .filter(|worker| house.workers[*worker].process.is_running())
            .collect();
        let thrown = dice.throw(free.len().max(1));
        free.get(thrown).copied()
    }
}
