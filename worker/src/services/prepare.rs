//! Starting what calls are forked from: a process that has snapshot, init code and packages of a service in memory.

use tokio::sync::mpsc;
use warren_common::blobs::BlobKey;
use warren_common::model::{Definition, JobState, ParameterType, RefusalKind};
use warren_common::store::services::Content;
use warren_rhost::session::{Ask, Input, Output, RType, Run, ToChild};

use crate::context::Context;
use crate::conversation::{Conversation, Left, Verdict};
use crate::files::FilesError;
use crate::host::{Child, Pool};
use crate::snapshots::bring;

/// Makes a process in which a call could run: everything is loaded, and the code ran once where there is an example.
///
/// What the process prints is for nobody but a publisher whose code fails.
pub(super) async fn prepare(
    context: &Context,
    pool: &Pool,
    service: &Content,
) -> Result<Child, Verdict> {
    let mut child = pool
        .service_child()
        .await
        .map_err(|error| unavailable(&format!("no R process can be had: {error}")))?;
    // Nobody tells this task anything: those who wait for it go away, and it is done for the next.
    let (_nobody, mut mail) = mpsc::channel(1);
    let mut talk = Conversation::of_no_job(context, &mut child, &mut mail);
    talk.limit_to(context.config.services.start_limit);
    let loaded = load(&mut talk, service).await;
    let (printed, ..) = talk.finish().await;
    match loaded {
        Ok(()) => Ok(child),
        Err(verdict) => Err(with_output(verdict, &printed)),
    }
}

async fn load(talk: &mut Conversation<'_>, content: &Content) -> Result<(), Verdict> {
    let definition = &content.definition;
    check("code", talk, &definition.code).await?;
    if let Some(init) = &definition.init_code {
        check("initCode", talk, init).await?;
    }
    if let Some(copy) = content.pinned {
        bring(talk, BlobKey::Service(copy)).await?;
    }
    if let Some(init) = &definition.init_code {
        let run = Run {
            code: init.clone(),
            outputs: Vec::new(),
            ..run(definition, 0)
        };
        let verdict = talk.run(&ToChild::Run(run), &[]).await;
        ran("initCode", verdict)?;
    }
    if let Some(example) = &definition.example {
        let mut rehearsal = run(definition, talk.context.config.result_max_bytes);
        rehearsal.inputs = inputs(definition, example.iter().cloned());
        rehearsal.rehearsal = true;
        let names = names(definition);
        let verdict = talk.run(&ToChild::Run(rehearsal), &names).await;
        ran("the call with exampleInputs", verdict)?;
    }
    Ok(())
}

/// Lets R parse code that it does not run yet.
async fn check(what: &str, talk: &mut Conversation<'_>, code: &str) -> Result<(), Verdict> {
    let code = code.to_owned();
    match talk.ask(Ask::Parse { code }).await {
        Ok(_done) => Ok(()),
        Err(mut verdict) => {
            if let Some(Left::Refusal(refusal)) = verdict.result.as_deref_mut() {
                refusal.message = format!("{what}: {}", refusal.message);
            }
            Err(verdict)
        }
    }
}

/// A verdict that is the publisher's to mend says so; another one stands as it is.
fn ran(what: &str, verdict: Verdict) -> Result<(), Verdict> {
    match (verdict.state, verdict.result.as_deref()) {
        (JobState::Succeeded, _) => Ok(()),
        (JobState::Failed, Some(Left::Run(run))) => {
            // A publisher has no session to be told of.
            let message = verdict.gone.as_ref().unwrap_or(&run.error_message);
            Err(FilesError::refused(RefusalKind::Invalid, format!("{what}: {message}")).into())
        }
        (JobState::TimedOut, _) => Err(FilesError::refused(
            RefusalKind::Invalid,
            format!(
                "{what}: {}",
                verdict.reason.as_deref().unwrap_or("it took too long")
            ),
        )
        .into()),
        _ => Err(verdict),
    }
}

/// Adds the end of what was printed, which often says what an error does not.
fn with_output(mut verdict: Verdict, printed: &[u8]) -> Verdict {
    const SHOWN: usize = 2_000;
    let text = String::from_utf8_lossy(printed);
    let text = text.trim();
    if let Some(Left::Refusal(refusal)) = verdict.result.as_deref_mut()
        && !text.is_empty()
        && !refusal.message.contains(error_in(text))
    {
        let mut from = text.len().saturating_sub(SHOWN);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        refusal.message = format!("{}\nIt printed:\n{}", refusal.message, &text[from..]);
    }
    verdict
}

/// Console text that is the report of an error and nothing else, as an error's message begins.
fn error_in(text: &str) -> &str {
    let rest = text.strip_prefix("Error").unwrap_or(text);
    rest.trim_start_matches([':', ' '])
}

/// Something of ours is away; the job may work later.
pub(super) fn unavailable(message: &str) -> Verdict {
    FilesError::refused(RefusalKind::Unavailable, message).into()
}

/// One run of a service's code, its inputs still to come.
pub(super) fn run(definition: &Definition, max_output_bytes: u64) -> Run {
    let outputs = definition.outputs.iter().map(|output| Output {
        name: output.name.clone(),
        r#type: Some(r_type(output.r#type)),
    });
    Run {
        run: 0,
        code: definition.code.clone(),
        inputs: Vec::new(),
        outputs: outputs.collect(),
        max_output_bytes,
        rehearsal: false,
    }
}

/// Inputs with their declared types.
pub(super) fn inputs(
    definition: &Definition,
    sent: impl Iterator<Item = warren_common::model::InputParameter>,
) -> Vec<Input> {
    let declared = |name: &str| {
        let found = definition.inputs.iter().find(|known| known.name == name);
        found.map(|known| r_type(known.r#type))
    };
    sent.map(|input| Input {
        r#type: declared(&input.name),
        name: input.name,
        value: input.value,
    })
    .collect()
}

/// The names of the outputs.
pub(super) fn names(definition: &Definition) -> Vec<String> {
    let outputs = definition.outputs.iter();
    outputs.map(|output| output.name.clone()).collect()
}

fn r_type(declared: ParameterType) -> RType {
    match declared {
        ParameterType::Logical => RType::Logical,
        ParameterType::Numeric => RType::Numeric,
        ParameterType::Integer => RType::Integer,
        ParameterType::Character => RType::Character,
        ParameterType::Vector => RType::Vector,
        ParameterType::Matrix => RType::Matrix,
        ParameterType::DataFrame => RType::DataFrame,
    }
}
