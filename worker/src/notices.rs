//! Notices for the sessions that this worker holds, and for the calls that it runs.

use warren_common::model::WorkerIdentity;
use warren_common::queue::{Consumer, Event, Notice, QueueName, Settle};
use warren_common::store::sessions;

use crate::conversation::Mail;
use crate::services::Calls;
use crate::session::Registry;

/// Hears of work, and of wishes to cancel and close, until the process ends.
pub async fn hear(registry: Registry, calls: Calls, me: WorkerIdentity) {
    let broker = registry.context().broker.clone();
    let work = broker.consume(QueueName::Worker(me.id), Settle::OnReceipt);
    let control = broker.consume(QueueName::Control(me.id), Settle::OnReceipt);
    tokio::join!(
        pass_on(&registry, &calls, work),
        pass_on(&registry, &calls, control)
    );
}

async fn pass_on(registry: &Registry, calls: &Calls, mut consumer: Consumer) {
    while let Some(event) = consumer.next().await {
        match event {
            Event::Consuming => catch_up(registry).await,
            Event::Delivery(delivery) => match delivery.notice {
                Notice::SessionWorkV1 { session } => registry.tell(session, Mail::Work),
                Notice::AsideWorkV1 { session } => registry.tell(session, Mail::Aside),
                Notice::CancelV1 { session, job } => registry.tell(session, Mail::Cancel(job)),
                Notice::CloseV1 { session, force } => registry.tell(session, Mail::Close { force }),
                Notice::CancelCallV1 { job } => calls.tell(job, Mail::Cancel(job)),
                Notice::OpenSessionV1 { .. }
                | Notice::CallV1 { .. }
                | Notice::FinishedV1 { .. } => {
                    tracing::warn!("A notice came to a queue where it does not belong");
                }
            },
        }
    }
}

/// Everything that happened while nothing could be heard: jobs, cancels and closes are rows first.
async fn catch_up(registry: &Registry) {
    let held = registry
        .context()
        .writes
        .insist(|db, me| async move { sessions::held(&db, me).await })
        .await;
    for session in held.unwrap_or_default() {
        let id = session.session;
        if session.closing {
            registry.tell(id, Mail::Close { force: false });
            continue;
        }
        for job in session.cancels {
            registry.tell(id, Mail::Cancel(job));
        }
        if session.more {
            registry.tell(id, Mail::Work);
        }
        if session.aside {
            registry.tell(id, Mail::Aside);
        }
    }
}
