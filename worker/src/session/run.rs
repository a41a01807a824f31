//! One job, from its claim to its completion.

use tokio::sync::mpsc;
use warren_common::model::JobKind;
use warren_common::store::jobs::{Claimed, Completion};

use super::{execute, objects, snapshots};
use crate::context::Context;
use crate::conversation::Conversation;
use crate::conversation::Mail;
use crate::conversation::{Left, Verdict};
use crate::host::Child;
use crate::writes::Ending;

/// What a run left.
pub(super) struct RunEnd {
    pub(super) ending: Ending,
    /// The process is gone, and why.
    pub(super) gone: Option<String>,
    /// The session is to be closed.
    pub(super) close: bool,
}

/// Does a claimed job in `child`.
pub(super) async fn run(
    context: &Context,
    child: &mut Child,
    mail: &mut mpsc::Receiver<Mail>,
    claimed: &Claimed,
) -> RunEnd {
    let mut talk = Conversation::new(context, child, mail, claimed);
    let verdict = if claimed.cancel_requested {
        Verdict::cancelled_before_it_began()
    } else {
        // A verdict is one whether it came at the end or on the way.
        perform(&mut talk, claimed)
            .await
            .unwrap_or_else(|verdict| verdict)
    };
    let (console_tail, console_is_whole, close) = talk.finish().await;
    let Verdict {
        state,
        result,
        snapshot,
        reason,
        cancel,
        gone,
        is_about_input: _,
    } = verdict;
    // What R would have said of a run is no answer to anything else.
    let is_run = claimed.kind == Ok(JobKind::Execute);
    let result = result.filter(|left| is_run || !matches!(**left, Left::Run(_)));
    let completion = Completion {
        job: claimed.job,
        attempt: claimed.attempt,
        state,
        result: result.and_then(|result| serde_json::to_vec(&result).ok()),
        console_tail,
        reason,
        cancel,
        snapshot: snapshot.map(|snapshot| *snapshot),
    };
    RunEnd {
        ending: Ending {
            completion,
            console_is_whole,
        },
        gone,
        close,
    }
}

async fn perform(talk: &mut Conversation<'_>, claimed: &Claimed) -> Result<Verdict, Verdict> {
    match &claimed.kind {
        Ok(JobKind::Execute) => execute::execute(talk, claimed).await,
        Ok(JobKind::ListObjects) => objects::list(talk).await,
        Ok(JobKind::GetObject) => objects::get(talk, claimed).await,
        Ok(JobKind::PutObject) => objects::put(talk, claimed).await,
        Ok(JobKind::DeleteObject) => objects::delete(talk, claimed).await,
        Ok(JobKind::CreateSnapshot) => snapshots::create(talk, claimed).await,
        Ok(JobKind::LoadSnapshot) => snapshots::load(talk, claimed).await,
        Ok(JobKind::OpenSession) => snapshots::begin_with(talk, claimed).await,
        Ok(
            other @ (JobKind::ListFiles
            | JobKind::GetFile
            | JobKind::PutFiles
            | JobKind::DeleteFile),
        ) => Err(Verdict::without_r(format!(
            "a job of the kind {} does not take its turn",
            other.word()
        ))),
        Ok(other @ (JobKind::Publish | JobKind::Call | JobKind::BatchItem)) => {
            Err(Verdict::without_r(format!(
                "a job of the kind {} belongs to no session",
                other.word()
            )))
        }
        Err(unknown) => Err(Verdict::without_r(format!(
            "this worker is older than the job: {unknown}"
        ))),
    }
}
