//! Consuming: the only ack and nack of the workspace.

use std::time::Duration;

use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::broker::Live;
use super::{Broker, Notice, QueueName};

/// How long the pause is after a consumer broke while the connection lives.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the broker may take to answer while a consumer is set up or looked after.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How often a consumer looks whether its queue still knows it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A consumer has to be set up again.
#[derive(Debug, thiserror::Error)]
enum ConsumeError {
    #[error("RabbitMQ does not answer")]
    Silent,
    #[error("the queue is gone, or was")]
    Cancelled,
    #[error(transparent)]
    Broken(#[from] lapin::Error),
}

/// When a delivery counts as dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// The moment it is sent; for notices that a catch-up query replaces.
    OnReceipt,
    /// When the taker says so; at most this many wait for that.
    ByTaker(u16),
}

/// What a consumer sees.
#[derive(Debug)]
pub enum Event {
    /// It consumes, for the first time or again: now is the moment to catch up on what it could not hear.
    Consuming,
    /// A notice.
    Delivery(Delivery),
}

/// A notice as handed over by the broker.
#[derive(Debug)]
pub struct Delivery {
    /// What it says.
    pub notice: Notice,
    acker: Option<Acker>,
}

impl Delivery {
    /// Claimed and committed, or already over: from here the lease guards the work.
    pub async fn done(self) {
        if let Some(acker) = self.acker {
            // When the channel is gone the broker delivers again, and the claim absorbs it.
            let _ = acker.ack(BasicAckOptions::default()).await;
        }
    }

    /// Somebody else, or later: it goes back to the queue.
    pub async fn requeue(self) {
        if let Some(acker) = self.acker {
            let _ = acker
                .nack(BasicNackOptions {
                    requeue: true,
                    multiple: false,
                })
                .await;
        }
    }
}

/// A stream of [`Event`]s that survives reconnects. Dropping it stops consuming; what was not dealt with goes back.
pub struct Consumer {
    events: mpsc::Receiver<Event>,
    _running: DropGuard,
}

impl Consumer {
    /// The next event; `None` only when the process stops.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Broker {
    /// Consumes a queue.
    pub fn consume(&self, queue: QueueName, settle: Settle) -> Consumer {
        let room = match settle {
            Settle::OnReceipt => 1024,
            Settle::ByTaker(prefetch) => usize::from(prefetch).max(1),
        };
        let (sender, events) = mpsc::channel(room);
        let stop = CancellationToken::new();
        let broker = self.clone();
        let stopped = stop.clone();
        tokio::spawn(async move {
            stopped
                .run_until_cancelled(broker.keep_consuming(queue, settle, sender))
                .await
        });
        Consumer {
            events,
            _running: stop.drop_guard(),
        }
    }

    async fn keep_consuming(self, queue: QueueName, settle: Settle, sender: mpsc::Sender<Event>) {
        while !sender.is_closed() {
            self.connected().await;
            if let Err(error) = self.consume_once(queue, settle, &sender).await {
                tracing::debug!(error = %error, "The consumer of {queue:?} broke, consuming again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn consume_once(
        &self,
        queue: QueueName,
        settle: Settle,
        sender: &mpsc::Sender<Event>,
    ) -> Result<(), ConsumeError> {
        let Some(live) = self.live.borrow().clone() else {
            return Ok(());
        };
        // The channel is held by this future: when it is dropped it closes, and the broker takes back what was not settled.
        let started = self.start_consuming(&live, queue, settle);
        let (channel, mut deliveries) = tokio::time::timeout(ANSWER_LIMIT, started)
            .await
            .map_err(|_elapsed| ConsumeError::Silent)??;
        if sender.send(Event::Consuming).await.is_err() {
            return Ok(());
        }
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.reset();
        loop {
            let delivery = tokio::select! {
                delivery = deliveries.next() => match delivery {
                    Some(delivery) => delivery?,
                    None => return Err(ConsumeError::Cancelled),
                },
                _ = look.tick() => {
                    self.check_that_it_consumes(&channel, queue).await?;
                    continue;
                }
                () = sender.closed() => return Ok(()),
            };
            if !self.hand_over(queue, settle, delivery, sender).await? {
                return Ok(());
            }
        }
    }

    async fn start_consuming(
        &self,
        live: &Live,
        queue: QueueName,
        settle: Settle,
    ) -> Result<(Channel, lapin::Consumer), lapin::Error> {
        let channel = live.connection.create_channel().await?;
        // Also after somebody deleted the queue by hand while the connection lived on.
        self.topology.declare(&channel).await?;
        if let Settle::ByTaker(prefetch) = settle {
            channel
                .basic_qos(prefetch, BasicQosOptions::default())
                .await?;
        }
        let options = BasicConsumeOptions {
            no_ack: settle == Settle::OnReceipt,
            ..BasicConsumeOptions::default()
        };
        let name = queue.on_broker(&self.topology.prefix);
        let deliveries = channel
            .basic_consume(name.into(), "".into(), options, FieldTable::default())
            .await?;
        Ok((channel, deliveries))
    }

    /// A broker does not always tell a consumer that its queue was deleted, least of all one that came while the deletion
    /// was under way.
    async fn check_that_it_consumes(
        &self,
        channel: &Channel,
        queue: QueueName,
    ) -> Result<(), ConsumeError> {
        let declared = self.topology.declare_one(channel, queue);
        match tokio::time::timeout(ANSWER_LIMIT, declared).await {
            Ok(Ok(0)) => Err(ConsumeError::Cancelled),
            Ok(Ok(_consumers)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_elapsed) => Err(ConsumeError::Silent),
        }
    }

    /// False when nobody takes deliveries any more.
    async fn hand_over(
        &self,
        queue: QueueName,
        settle: Settle,
        delivery: lapin::message::Delivery,
        sender: &mpsc::Sender<Event>,
    ) -> Result<bool, lapin::Error> {
        let mut acker = (settle != Settle::OnReceipt).then_some(delivery.acker);
        match Notice::decode(&delivery.data) {
            // What is settled by its taker comes alone.
            Some(notices) if acker.is_none() || notices.len() == 1 => {
                for notice in notices {
                    let acker = acker.take();
                    let event = Event::Delivery(Delivery { notice, acker });
                    if sender.send(event).await.is_err() {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            _ => {}
        }
        tracing::error!(
            "A message of {queue:?} cannot be read by this version, it goes to the dead queue"
        );
        match acker {
            Some(acker) => drop(acker.reject(BasicRejectOptions { requeue: false }).await?),
            None => drop(self.publish_bytes(QueueName::Dead, &delivery.data).await),
        }
        Ok(true)
    }
}
