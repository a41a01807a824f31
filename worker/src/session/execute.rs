//! Running code.

use warren_common::model::ExecuteRequest;
use warren_common::store::jobs::Claimed;
use warren_rhost::session::{Input, Output, Run, ToChild};

use crate::conversation::{Conversation, Verdict, request_of};

/// Runs the code of a job as R's console would.
pub(super) async fn execute(
    talk: &mut Conversation<'_>,
    claimed: &Claimed,
) -> Result<Verdict, Verdict> {
    let request: ExecuteRequest = request_of(claimed)?;
    if let Some(seconds) = request.timeout_seconds {
        talk.limit_to(seconds);
    }
    let names = request.outputs.clone();
    let message = message(request, talk.context.config.result_max_bytes);
    Ok(talk.run(&message, &names).await)
}

fn message(request: ExecuteRequest, max_output_bytes: u64) -> ToChild {
    let inputs = request.inputs.into_iter().map(|input| Input {
        name: input.name,
        r#type: None,
        value: input.value,
    });
    let outputs = request
        .outputs
        .into_iter()
        .map(|name| Output { name, r#type: None });
    ToChild::Run(Run {
        run: 0,
        code: request.code,
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        max_output_bytes,
        rehearsal: false,
    })
}
