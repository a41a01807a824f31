//! The connection: kept, reconnected with growing pauses, and published on with confirms.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Event};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{Notice, QueueName, Topology};
use crate::config::QueueConfig;

/// How long connecting and declaring may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a confirm may take.
const CONFIRM_LIMIT: Duration = Duration::from_secs(10);
/// The first pause between two attempts to connect; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Notices under way at the same moment.
const WINDOW: usize = 1024;
/// Notices that travel together are at most this many bytes long.
const LARGEST_BUNDLE: usize = 64 * 1024;
/// Seconds between heartbeats; a silent peer is given up after two.
const HEARTBEAT_SECONDS: u16 = 5;

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is in the queue.
    Queued,
    /// There is no such queue: its owner is gone, or has not come back yet.
    Returned,
}

/// A notice was not sent, or nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no connection.
    #[error("RabbitMQ cannot be reached")]
    Away,
    /// The connection broke.
    #[error("RabbitMQ did not take the notice")]
    Failed(#[source] lapin::Error),
    /// It said no, or nothing in time.
    #[error("RabbitMQ did not confirm the notice")]
    Unconfirmed,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("WARREN_AMQP_URL is no RabbitMQ address (expected amqp://user:password@host:port/vhost)")]
pub struct BadAddress;

pub(super) struct Live {
    pub(super) connection: Connection,
    publishing: Channel,
}

/// A connection to the broker that comes back by itself.
#[derive(Clone)]
pub struct Broker {
    pub(super) live: watch::Receiver<Option<Arc<Live>>>,
    pub(super) topology: Arc<Topology>,
    window: Arc<Semaphore>,
}

impl Broker {
    /// Starts connecting, until `stop`.
    pub fn start(
        config: &QueueConfig,
        topology: Topology,
        name: &str,
        stop: CancellationToken,
    ) -> Result<Self, BadAddress> {
        let mut address: AMQPUri = config.url.reveal().parse().map_err(|_text| BadAddress)?;
        address.query.heartbeat = Some(HEARTBEAT_SECONDS);
        address.query.connection_timeout = u64::try_from(CONNECT_LIMIT.as_millis()).ok();
        let (report, live) = watch::channel(None);
        let topology = Arc::new(topology);
        let keeper = Keeper {
            address,
            topology: Arc::clone(&topology),
            name: name.to_owned(),
            report,
        };
        tokio::spawn(async move { stop.run_until_cancelled(keeper.keep()).await });
        Ok(Self {
            live,
            topology,
            window: Arc::new(Semaphore::new(WINDOW)),
        })
    }

    /// True while there is a connection with everything declared.
    pub fn is_connected(&self) -> bool {
        self.live
            .borrow()
            .as_ref()
            .is_some_and(|live| live.connection.status().connected())
    }

    /// Waits until there is a connection.
    pub async fn connected(&self) {
        let mut live = self.live.clone();
        // An error means that the process stops; whoever waits is stopped by other means.
        if live.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Sends a notice and waits until the broker has it.
    pub async fn publish(&self, queue: QueueName, notice: &Notice) -> Result<Sent, PublishError> {
        let outcome =
            tokio::time::timeout(CONFIRM_LIMIT, self.publish_bytes(queue, &notice.encode()))
                .await
                .unwrap_or(Err(PublishError::Unconfirmed));
        crate::telemetry::metrics().notice_sent(notice.name(), &outcome);
        outcome
    }

    /// Sends notices to the own queue of a process, together where that is possible, and waits until the broker has them.
    /// The first that is not taken ends it.
    pub async fn publish_together(
        &self,
        queue: QueueName,
        notices: Vec<Notice>,
    ) -> Result<(), PublishError> {
        debug_assert!(!queue.is_shared(), "what is shared is settled one by one");
        for (bytes, inside) in Notice::bundle(notices, LARGEST_BUNDLE) {
            let outcome = tokio::time::timeout(CONFIRM_LIMIT, self.publish_bytes(queue, &bytes))
                .await
                .unwrap_or(Err(PublishError::Unconfirmed));
            for notice in &inside {
                crate::telemetry::metrics().notice_sent(notice.name(), &outcome);
            }
            outcome?;
        }
        Ok(())
    }

    pub(super) async fn publish_bytes(
        &self,
        queue: QueueName,
        bytes: &[u8],
    ) -> Result<Sent, PublishError> {
        let _place = self
            .window
            .acquire()
            .await
            .map_err(|_closed| PublishError::Away)?;
        let live = self.live.borrow().clone().ok_or(PublishError::Away)?;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let persistent = if queue.is_shared() { 2 } else { 1 };
        let properties = BasicProperties::default().with_delivery_mode(persistent);
        let name = queue.on_broker(&self.topology.prefix);
        let confirm = live
            .publishing
            .basic_publish("".into(), name.into(), options, bytes, properties)
            .await
            .map_err(PublishError::Failed)?;
        match confirm.await.map_err(PublishError::Failed)? {
            Confirmation::Ack(None) | Confirmation::NotRequested => Ok(Sent::Queued),
            Confirmation::Ack(Some(_returned)) => Ok(Sent::Returned),
            Confirmation::Nack(_) => Err(PublishError::Unconfirmed),
        }
    }
}

/// Keeps the connection.
struct Keeper {
    address: AMQPUri,
    topology: Arc<Topology>,
    name: String,
    report: watch::Sender<Option<Arc<Live>>>,
}

impl Keeper {
    async fn keep(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match tokio::time::timeout(CONNECT_LIMIT, self.connect()).await {
                Ok(Ok(live)) => {
                    pause = FIRST_PAUSE;
                    tracing::info!("Connected to RabbitMQ");
                    self.report.send_replace(Some(Arc::clone(&live)));
                    broken(&live).await;
                    self.report.send_replace(None);
                    tracing::warn!("The connection to RabbitMQ is lost, connecting again");
                }
                Ok(Err(error)) => {
                    tracing::warn!(error = %error, "RabbitMQ cannot be reached, trying again in {pause:?}");
                }
                Err(_elapsed) => {
                    tracing::warn!("RabbitMQ does not answer, trying again in {pause:?}");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connect(&self) -> Result<Arc<Live>, lapin::Error> {
        let properties =
            ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        let runtime = lapin::runtime::default_runtime()?;
        let connection =
            Connection::connect_uri_with_runtime(self.address.clone(), properties, runtime).await?;
        let publishing = connection.create_channel().await?;
        publishing
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        self.topology.declare(&publishing).await?;
        Ok(Arc::new(Live {
            connection,
            publishing,
        }))
    }
}

/// Returns when a connection cannot be used any more.
async fn broken(live: &Live) {
    let mut events = Box::pin(live.connection.events_listener());
    loop {
        // The listener tells of an error at once; asking now and then covers one that came before it listened.
        let event = tokio::time::timeout(Duration::from_secs(1), events.next()).await;
        let gone = matches!(event, Ok(Some(Event::Error(_)) | None));
        if gone || !live.connection.status().connected() || !live.publishing.status().connected() {
            return;
        }
    }
}
