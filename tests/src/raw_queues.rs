//! RabbitMQ as somebody who is no part of Warren uses it: any bytes, and a look at what lies in a queue.

use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use warren_common::queue::QueueName;

use crate::House;
use crate::wait;

/// A channel for a house's queues.
pub struct RawQueues {
    _connection: Connection,
    channel: Channel,
    prefix: String,
}

impl RawQueues {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When RabbitMQ does not answer.
    pub async fn open(house: &House) -> Self {
        let (url, prefix) = house.queues();
        let connection = Connection::connect(url, ConnectionProperties::default())
            .await
            .expect("RabbitMQ answers");
        let channel = connection
            .create_channel()
            .await
            .expect("a channel can be opened");
        Self {
            _connection: connection,
            channel,
            prefix: prefix.to_owned(),
        }
    }

    /// Puts bytes into a queue.
    ///
    /// # Panics
    ///
    /// When the broker does not take them.
    pub async fn publish(&self, queue: QueueName, bytes: &[u8]) {
        let name = queue.on_broker(&self.prefix);
        let properties = BasicProperties::default();
        self.channel
            .basic_publish(
                "".into(),
                name.into(),
                BasicPublishOptions::default(),
                bytes,
                properties,
            )
            .await
            .expect("the broker takes it");
    }

    /// Waits until a queue holds this many messages that nobody has taken.
    ///
    /// # Panics
    ///
    /// When there is no such queue.
    pub async fn holds(&self, queue: QueueName, messages: u32) {
        wait::until(
            &format!("{queue:?} holds {messages} messages"),
            async || {
                let options = QueueDeclareOptions {
                    passive: true,
                    ..QueueDeclareOptions::default()
                };
                let name = queue.on_broker(&self.prefix);
                let found = self
                    .channel
                    .queue_declare(name.into(), options, FieldTable::default())
                    .await;
                (found.expect("the queue is there").message_count() == messages).then_some(())
            },
        )
        .await;
    }

    /// Deletes a queue with what is in it.
    ///
    /// # Panics
    ///
    /// When the broker refuses.
    pub async fn delete(&self, queue: QueueName) {
        let name = queue.on_broker(&self.prefix);
        self.channel
            .queue_delete(name.into(), QueueDeleteOptions::default())
            .await
            .expect("it can be deleted");
    }
}
