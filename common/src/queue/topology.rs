//! Every queue, declared in one function.

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::id::{ApiId, WorkerId};

/// A queue of its own expires this long after its last use, in milliseconds.
const OWN_QUEUE_EXPIRES_MS: i32 = 60_000;
/// A notice may be requeued this often before it counts as poison. `RabbitMQ` 4 would stop at 20, which a busy fleet
/// reaches; 3.10 has no word for "never".
const DELIVERY_LIMIT: i32 = 1_000_000;

/// Who a process is, and so which queues are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An API node.
    Api(ApiId),
    /// A worker.
    Worker(WorkerId),
}

/// A queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueName {
    /// Sessions to be opened; every worker with a free place.
    SessionsNew,
    /// Services to be called or published; every worker with a free place for that.
    Calls,
    /// Items of batches; every worker with a free place for that.
    Batch,
    /// Work for the sessions of one worker.
    Worker(WorkerId),
    /// Cancel and close for the sessions of one worker: never behind work.
    Control(WorkerId),
    /// Completion events for one API node.
    Api(ApiId),
    /// What no version can read; for people.
    Dead,
}

impl QueueName {
    /// Its name on the broker.
    pub fn on_broker(self, prefix: &str) -> String {
        match self {
            Self::SessionsNew => format!("{prefix}sessions.new"),
            Self::Calls => format!("{prefix}calls"),
            Self::Batch => format!("{prefix}batch"),
            Self::Worker(id) => format!("{prefix}worker.{id}"),
            Self::Control(id) => format!("{prefix}control.{id}"),
            Self::Api(id) => format!("{prefix}api.{id}"),
            Self::Dead => format!("{prefix}dead"),
        }
    }

    /// True for queues that outlive processes: their messages are written to disk.
    pub const fn is_shared(self) -> bool {
        matches!(
            self,
            Self::SessionsNew | Self::Calls | Self::Batch | Self::Dead
        )
    }
}

/// What a process declares.
#[derive(Debug, Clone)]
pub struct Topology {
    /// In front of every name.
    pub prefix: String,
    /// Whose own queues.
    pub role: Role,
}

impl Topology {
    /// Declares every queue that this process uses. Declaring again changes nothing.
    pub(super) async fn declare(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let own: &[QueueName] = match self.role {
            Role::Api(id) => &[QueueName::Api(id)],
            Role::Worker(id) => &[QueueName::Worker(id), QueueName::Control(id)],
        };
        let shared = [
            QueueName::Dead,
            QueueName::SessionsNew,
            QueueName::Calls,
            QueueName::Batch,
        ];
        for queue in shared.iter().chain(own) {
            self.declare_one(channel, *queue).await?;
        }
        Ok(())
    }

    /// Declares one queue; returns how many consume it.
    pub(super) async fn declare_one(
        &self,
        channel: &Channel,
        queue: QueueName,
    ) -> Result<u32, lapin::Error> {
        let mut arguments = FieldTable::default();
        let kind = if queue.is_shared() {
            "quorum"
        } else {
            "classic"
        };
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        if queue.is_shared() {
            if queue != QueueName::Dead {
                arguments.insert(
                    "x-delivery-limit".into(),
                    AMQPValue::LongInt(DELIVERY_LIMIT),
                );
            }
        } else {
            arguments.insert("x-expires".into(), AMQPValue::LongInt(OWN_QUEUE_EXPIRES_MS));
        }
        if queue != QueueName::Dead {
            self.dead_letter(&mut arguments);
        }
        let name = queue.on_broker(&self.prefix);
        let declared = channel
            .queue_declare(name.into(), QueueDeclareOptions::durable(), arguments)
            .await?;
        Ok(declared.consumer_count())
    }

    /// What a consumer rejects goes to the dead queue.
    fn dead_letter(&self, arguments: &mut FieldTable) {
        let dead = QueueName::Dead.on_broker(&self.prefix);
        arguments.insert(
            "x-dead-letter-exchange".into(),
            AMQPValue::LongString("".into()),
        );
        arguments.insert(
            "x-dead-letter-routing-key".into(),
            AMQPValue::LongString(dead.into()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_the_prefix() {
        assert_eq!(QueueName::SessionsNew.on_broker("t1."), "t1.sessions.new");
        let worker = WorkerId::new();
        assert_eq!(
            QueueName::Control(worker).on_broker(""),
            format!("control.{worker}")
        );
    }
}
