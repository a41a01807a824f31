//! Publishing: the content of a version is put together, pinned and tried before anybody can call it.

use tokio::sync::mpsc;
use warren_common::blobs::{BlobError, BlobKey};
use warren_common::id::ContentId;
use warren_common::model::{
    Definition, InputParameter, JobKind, JobState, PublishRequest, RefusalKind,
};
use warren_common::queue::{Notice, QueueName};
use warren_common::store::jobs::{Claimed, Completion};
use warren_common::store::services::{self, Content, Pinned, Publication};
use warren_common::telemetry::metrics;

use super::call::{TRIES, give_back, pause};
use super::calls::Calls;
use super::prepare::{prepare, unavailable};
use crate::conversation::{Mail, Verdict, request_of};
use crate::files::FilesError;
use crate::host::Child;
use crate::lease::doubted;
use crate::writes::Ending;

/// A content that is in place, and a process that has it in memory.
struct Made {
    pinned: Pinned,
    child: Child,
}

/// Publishes what a job asks for, and writes how it ended.
pub(super) async fn publish(calls: &Calls, claimed: Claimed, mut mail: mpsc::Receiver<Mail>) {
    let Ok(request) = request_of::<PublishRequest>(&claimed) else {
        // Another worker may be new enough.
        return unreadable(calls, &claimed).await;
    };
    let made = tokio::select! {
        made = make(calls, &claimed, &request) => made,
        Some(_cancel) = mail.recv() => Err(cancelled()),
        () = doubted(calls.context.lease.clone()) => {
            return give_back(calls, claimed.job, claimed.attempt).await;
        }
    };
    if let Err(verdict) = &made
        && claimed.attempt < TRIES
        && verdict.may_work_later()
    {
        pause(calls, &claimed).await;
        return give_back(calls, claimed.job, claimed.attempt).await;
    }
    settle(calls, &claimed, &request, made).await;
}

/// Ends a publication that nobody can read; what it reserved is freed by a sweeper.
async fn unreadable(calls: &Calls, claimed: &Claimed) {
    if claimed.attempt < TRIES {
        pause(calls, claimed).await;
        return give_back(calls, claimed.job, claimed.attempt).await;
    }
    let completion = Completion {
        job: claimed.job,
        attempt: claimed.attempt,
        state: JobState::Failed,
        result: None,
        console_tail: Vec::new(),
        reason: Some("no worker can read the request".to_owned()),
        cancel: None,
        snapshot: None,
    };
    let ending = Ending {
        completion,
        console_is_whole: true,
    };
    // When the lease is lost, whoever took over judges.
    let _ = calls.context.writes.complete(ending).await;
}

fn cancelled() -> Verdict {
    Verdict {
        state: JobState::Cancelled,
        reason: Some("it was cancelled".to_owned()),
        ..Verdict::done(None)
    }
}

async fn make(calls: &Calls, claimed: &Claimed, request: &PublishRequest) -> Result<Made, Verdict> {
    if claimed.cancel_requested {
        return Err(Verdict::cancelled_before_it_began());
    }
    let context = &calls.context;
    let found = services::publication(&context.db, request.version, request.fresh).await;
    let found =
        found.map_err(|error| unavailable(&format!("the version cannot be read: {error}")))?;
    let (base, before) = match found {
        Publication::New => (None, None),
        Publication::Of(base, before) => (Some(base), Some(before)),
        Publication::Gone => {
            return Err(FilesError::refused(
                RefusalKind::NotFound,
                "there is no such version any more",
            )
            .into());
        }
    };
    let (before, copy) = match before {
        Some(before) => (before.definition, before.pinned),
        None => (Definition::default(), None),
    };
    let definition = before.changed(request.change.clone());
    check_example(&definition)?;
    let copy = match request.change.snapshot {
        Some(snapshot) => {
            let from = BlobKey::Snapshot(snapshot);
            pin(calls, from, request.content).await?;
            Some(request.content)
        }
        None => copy,
    };
    let made = Content {
        definition,
        pinned: copy,
    };
    let child = prepare(context, &calls.pool, &made).await?;
    Ok(Made {
        pinned: Pinned {
            base,
            definition: made.definition,
            copy,
        },
        child,
    })
}

/// An example names every input once, as a caller must.
fn check_example(definition: &Definition) -> Result<(), Verdict> {
    let Some(example) = &definition.example else {
        return Ok(());
    };
    let is_there = |input: &&InputParameter| {
        definition
            .inputs
            .iter()
            .any(|known| known.name == input.name)
    };
    let fits =
        example.len() == definition.inputs.len() && example.iter().all(|input| is_there(&input));
    if fits {
        return Ok(());
    }
    let named: Vec<&str> = definition
        .inputs
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    Err(FilesError::refused(
        RefusalKind::Invalid,
        format!("exampleInputs must have the inputs {named:?}, and no others"),
    )
    .into())
}

/// Copies the snapshot, so that the version does not need it any more.
async fn pin(calls: &Calls, from: BlobKey, content: ContentId) -> Result<(), Verdict> {
    let blobs = &calls.context.transfers.blobs;
    match blobs.copy(from, BlobKey::Service(content)).await {
        Ok(_bytes) => Ok(()),
        Err(BlobError::NotFound { .. }) => {
            Err(FilesError::refused(RefusalKind::NotFound, "the snapshot was deleted").into())
        }
        Err(error) => Err(unavailable(&format!(
            "the snapshot cannot be copied: {error}"
        ))),
    }
}

async fn settle(
    calls: &Calls,
    claimed: &Claimed,
    request: &PublishRequest,
    made: Result<Made, Verdict>,
) {
    let (verdict, pinned) = match made {
        Ok(Made { pinned, child }) => {
            // Before anybody can call it, so that the first call finds it.
            let content = Content {
                definition: pinned.definition.clone(),
                pinned: pinned.copy,
            };
            calls.parents.adopt(request.content, content, child).await;
            (Verdict::done(None), Some(pinned))
        }
        Err(verdict) => (verdict, None),
    };
    let pinned = pinned.as_ref();
    let completion = &Completion {
        job: claimed.job,
        attempt: claimed.attempt,
        state: verdict.state,
        result: verdict
            .result
            .and_then(|result| serde_json::to_vec(&result).ok()),
        console_tail: Vec::new(),
        reason: verdict.reason,
        cancel: verdict.cancel,
        snapshot: None,
    };
    let place = (request.version, request.content);
    let written = calls
        .context
        .writes
        .insist(
            |db, me| async move { services::complete(&db, me, place, completion, pinned).await },
        )
        .await
        .flatten();
    let Some(published) = written else {
        calls.parents.forget(request.content);
        return;
    };
    metrics().ended(JobKind::Publish, published.state);
    let ending = Ending {
        completion: Completion {
            state: published.state,
            ..completion.clone()
        },
        console_is_whole: true,
    };
    calls.context.writes.tell(ending, published.completed);
    if let Some(next) = published.next {
        let broker = calls.context.broker.clone();
        tokio::spawn(async move {
            // The sweeper repeats what gets lost.
            let notice = Notice::CallV1 { job: next };
            let _ = broker.publish(QueueName::Calls, &notice).await;
        });
    }
    if published.state != JobState::Succeeded {
        calls.parents.forget(request.content);
        forget_copy(calls, request).await;
    }
}

/// Removes the copy that nobody will need; what stays is found by the sweep of keys without a row.
async fn forget_copy(calls: &Calls, request: &PublishRequest) {
    if request.change.snapshot.is_some() {
        let key = BlobKey::Service(request.content);
        if let Err(error) = calls.context.transfers.blobs.delete(key).await {
            tracing::debug!(error = %error, "{key} stays in the store for now");
        }
    }
}
