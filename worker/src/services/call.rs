//! One call: a fresh process, the inputs in, the outputs and files out.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::mpsc;
use warren_common::id::JobId;
use warren_common::model::{CallRequest, JobKind, JobState, OutputFile, RefusalKind};
use warren_common::store::jobs::{self, Claimed, Completion};
use warren_common::telemetry::metrics;
use warren_rhost::session::ToChild;

use super::calls::Calls;
use super::prepare::{inputs, names, run};
use crate::conversation::{Conversation, Left, Mail, Verdict, request_of};
use crate::disk::blocking;
use crate::files::FilesError;
use crate::lease::doubted;
use crate::tree::{Entry, Tree};
use crate::writes::Ending;

/// How often a call or a publication may be tried.
pub(super) const TRIES: i32 = 3;
/// The pause before the second attempt; before the third it is twice as long.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs a call that was claimed, and writes how it ended.
pub(super) async fn call(calls: &Calls, claimed: Claimed, mut mail: mpsc::Receiver<Mail>) {
    let ran = tokio::select! {
        ran = attempt(calls, &claimed, &mut mail) => Some(ran),
        // Somebody else may be about to run it: dropping what runs kills it.
        () = doubted(calls.context.lease.clone()) => None,
    };
    match ran {
        Some(ran) if !ran.tries_again(&claimed) => return write(calls, &claimed, ran).await,
        Some(_) => pause(calls, &claimed).await,
        None => {}
    }
    give_back(calls, claimed.job, claimed.attempt).await;
}

/// What an attempt came to.
struct Ran {
    verdict: Verdict,
    console: Vec<u8>,
    console_is_whole: bool,
}

impl Ran {
    fn at_once(verdict: Verdict) -> Self {
        Self {
            verdict,
            console: Vec::new(),
            console_is_whole: true,
        }
    }

    /// It came to nothing through no fault of its own, and has not been tried as often as may be.
    fn tries_again(&self, claimed: &Claimed) -> bool {
        self.verdict.may_work_later() && claimed.attempt < TRIES
    }
}

async fn attempt(calls: &Calls, claimed: &Claimed, mail: &mut mpsc::Receiver<Mail>) -> Ran {
    if claimed.cancel_requested {
        return Ran::at_once(Verdict::cancelled_before_it_began());
    }
    let request: CallRequest = match request_of(claimed) {
        Ok(request) => request,
        Err(verdict) => return Ran::at_once(verdict),
    };
    let found = tokio::select! {
        found = calls.parents.child(request.content) => found,
        // A parent may take long to start.
        Some(Mail::Cancel(_)) = mail.recv() => Err(Verdict::cancelled_before_it_began()),
    };
    let (mut child, parent) = match found {
        Ok(found) => found,
        Err(verdict) => return Ran::at_once(verdict),
    };
    let definition = &parent.content.definition;
    let longest = calls.context.config.result_max_bytes;
    let mut message = run(definition, longest);
    message.inputs = inputs(definition, request.inputs.into_iter());
    let names = names(definition);
    let work = child.work();
    let mut talk = Conversation::new(&calls.context, &mut child, mail, claimed);
    let verdict = talk.run(&ToChild::Run(message), &names).await;
    calls.parents.refill(&parent);
    let verdict = with_files(of_a_call(verdict), work, &definition.output_files, longest).await;
    let (console, console_is_whole, _) = talk.finish().await;
    Ran {
        verdict,
        console,
        console_is_whole,
    }
}

/// What a session is told that a call has no use for; and an input that R cannot take is the caller's to mend.
fn of_a_call(mut verdict: Verdict) -> Verdict {
    let gone = verdict.gone.take();
    let Some(Left::Run(run)) = verdict.result.as_deref_mut() else {
        return verdict;
    };
    if let (JobState::Failed, Some(gone)) = (verdict.state, gone) {
        run.error_message.clone_from(&gone);
        verdict.reason = Some(gone);
    }
    if verdict.is_about_input {
        return FilesError::refused(RefusalKind::Invalid, run.error_message.clone()).into();
    }
    verdict
}

/// Adds the files that the service declares.
async fn with_files(
    mut verdict: Verdict,
    work: (PathBuf, PathBuf),
    declared: &[String],
    longest: u64,
) -> Verdict {
    if declared.is_empty() || verdict.state != JobState::Succeeded {
        return verdict;
    }
    let declared = declared.to_vec();
    let read = blocking(move || read_files(&work.0, &work.1, &declared, longest)).await;
    match (read, verdict.result.as_deref_mut()) {
        (Ok(files), Some(Left::Run(run))) => run.output_files = files,
        (Err(error), _) => return error.into(),
        _ => {}
    }
    verdict
}

/// What was declared and written; nothing that the code planted under a name is followed.
fn read_files(
    base: &Path,
    way: &Path,
    declared: &[String],
    longest: u64,
) -> Result<Vec<OutputFile>, FilesError> {
    let work = Tree::open(base, &way.to_string_lossy())?;
    let mut left = longest;
    let mut files = Vec::with_capacity(declared.len());
    for name in declared {
        let content = match work.entry(name)? {
            Some(Entry::File(file, _)) => {
                let mut bytes = Vec::new();
                file.take(left + 1).read_to_end(&mut bytes)?;
                left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
                    FilesError::refused(
                        RefusalKind::TooLarge,
                        format!(
                            "with {name:?} the output files are more than WARREN_RESULT_MAX_BYTES allows ({longest})"
                        ),
                    )
                })?;
                Some(STANDARD.encode(bytes))
            }
            Some(Entry::Directory(_)) | None => None,
        };
        files.push(OutputFile {
            name: name.clone(),
            content,
        });
    }
    Ok(files)
}

async fn write(calls: &Calls, claimed: &Claimed, ran: Ran) {
    let Verdict {
        state,
        result,
        reason,
        cancel,
        ..
    } = ran.verdict;
    let completion = Completion {
        job: claimed.job,
        attempt: claimed.attempt,
        state,
        result: result.and_then(|result| serde_json::to_vec(&result).ok()),
        console_tail: ran.console,
        reason,
        cancel,
        snapshot: None,
    };
    let ending = Ending {
        completion,
        console_is_whole: ran.console_is_whole,
    };
    let writes = &calls.context.writes;
    let written = match &claimed.kind {
        Ok(JobKind::BatchItem) => writes.complete_item(ending).await.unwrap_or(false),
        _ => writes
            .complete(ending)
            .await
            .is_ok_and(|done| done.is_some()),
    };
    if let Ok(kind) = claimed.kind
        && written
    {
        metrics().ended(kind, state);
    }
}

/// Before another attempt: what was away may be back by then.
pub(super) async fn pause(calls: &Calls, claimed: &Claimed) {
    let long = PAUSE * claimed.attempt.unsigned_abs();
    let stop = &calls.context.stop.hard;
    stop.run_until_cancelled(tokio::time::sleep(long)).await;
}

/// Lets another attempt be made, here or elsewhere.
pub(super) async fn give_back(calls: &Calls, job: JobId, attempt: i32) {
    let given_back = calls
        .context
        .writes
        .insist(|db, me| async move { jobs::give_back(&db, me, job, attempt).await })
        .await;
    tracing::debug!("{job} was given back: {given_back:?}");
}
