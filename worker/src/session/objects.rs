//! Objects of the workspace: named, given out, taken in, removed.

use std::fs::File;
use std::path::Path;

use warren_common::blobs::{Download, Gather};
use warren_common::model::{
    Content, DeleteRequest, GetObjectRequest, GotObject, Names, ObjectFormat, PutObjectRequest,
    RefusalKind,
};
use warren_common::store::jobs::Claimed;
use warren_rhost::session::{Ask, Form};

use crate::conversation::{Conversation, FromR, Left, Moved, Verdict, request_of};
use crate::disk::{Scratch, blocking, write_all};
use crate::files::FilesError;
use crate::tree::{TMP, Tree};

/// What an object may be called in a file's name.
const LONGEST_NAME: usize = 200;

/// Names the objects as R's `ls()` does.
pub(super) async fn list(talk: &mut Conversation<'_>) -> Result<Verdict, Verdict> {
    let done = talk.ask(Ask::List).await?;
    let longest = talk.context.config.result_max_bytes;
    let listed = done.outputs.first().map_or("[]", |output| output.get());
    if listed.len() as u64 > longest {
        let message = format!("the names of the objects are more than {longest} bytes");
        return Err(FilesError::refused(RefusalKind::TooLarge, message).into());
    }
    let names = serde_json::from_str(listed)
        .map_err(|_error| Verdict::without_r("R named no objects".to_owned()))?;
    Ok(Verdict::done(Some(Left::Names(Names { names }))))
}

/// Gives out one object: into the job's row when it is small, else into the store while R writes it.
pub(super) async fn get(
    talk: &mut Conversation<'_>,
    claimed: &Claimed,
) -> Result<Verdict, Verdict> {
    let GetObjectRequest { name, format } = request_of(claimed)?;
    let (form, ending) = match format {
        ObjectFormat::Rdata => (Form::Save, "RData"),
        ObjectFormat::Rds => (Form::Serialize, "rds"),
        ObjectFormat::Serialize => (Form::Serialize, "bin"),
    };
    let limit = talk.context.config.object_max_bytes;
    let file = file_name(&name, ending);
    let gather = Gather::new(&talk.context.transfers.blobs, limit);
    let (db, owner) = (talk.context.db.clone(), claimed.owner);
    let content = talk
        .bytes_out(Ask::Save { name, form }, |from_r| {
            // Large while it is under way, and no session should be so large for ever.
            Box::pin(async move {
                let gather = gather_all(gather, from_r)
                    .await
                    .map_err(|error| named(error, "WARREN_OBJECT_MAX_BYTES"))?;
                Ok(gather.finish(&db, owner).await?)
            })
        })
        .await?;
    Ok(Verdict::done(Some(Left::Object(GotObject {
        file,
        content,
    }))))
}

async fn gather_all(mut gather: Gather, mut from_r: FromR) -> Moved<Gather> {
    while let Some(piece) = from_r.next().await? {
        gather.write(piece).await?;
    }
    Ok(gather)
}

/// Says which setting a limit is.
fn named(error: FilesError, setting: &str) -> FilesError {
    match error {
        FilesError::Refused(mut refusal) if refusal.refusal == RefusalKind::TooLarge => {
            refusal.message = format!("it is {}, which is what {setting} allows", refusal.message);
            FilesError::Refused(refusal)
        }
        other => other,
    }
}

/// What a file of an object is called: anything that would be strange in a name is left out.
fn file_name(object: &str, ending: &str) -> String {
    let plain = |letter: &char| !letter.is_control() && !matches!(letter, '/' | '\\');
    let mut name = String::new();
    for letter in object.chars().filter(plain) {
        if name.len() + letter.len_utf8() > LONGEST_NAME {
            break;
        }
        name.push(letter);
    }
    format!("{name}.{ending}")
}

/// Takes an object in. R itself reads it, from a file in the session's own directory: whatever the bytes do to R, they do it
/// behind the session's walls.
pub(super) async fn put(
    talk: &mut Conversation<'_>,
    claimed: &Claimed,
) -> Result<Verdict, Verdict> {
    let PutObjectRequest { name, content } = request_of(claimed)?;
    let sent = match &content {
        Content::Transfer { id, .. } => vec![*id],
        Content::Row { .. } => Vec::new(),
    };
    let put = put_in(talk, claimed, name, content).await;
    // Nobody waits for this; what cannot be removed now expires.
    let (blobs, db) = (
        talk.context.transfers.blobs.clone(),
        talk.context.db.clone(),
    );
    tokio::spawn(async move {
        if let Err(error) = blobs.discard(&db, &sent).await {
            tracing::debug!(error = %error, "What was sent stays in the store until it expires");
        }
    });
    put
}

async fn put_in(
    talk: &mut Conversation<'_>,
    claimed: &Claimed,
    name: String,
    content: Content,
) -> Result<Verdict, Verdict> {
    let blobs = talk.context.transfers.blobs.clone();
    let dir = talk.dir().to_owned();
    let file_name = format!(".object-{}", claimed.job);
    let arrived = {
        let (dir, file_name) = (dir.clone(), file_name.clone());
        let arriving =
            async move { arrive(&dir, file_name, blobs.open(content, None).await?).await };
        talk.aside(Box::pin(arriving)).await?
    };
    let file = dir.join(TMP).join(&file_name);
    let read = talk.ask(Ask::Read { name, file }).await;
    // The session's code cannot hold on to it either: what it does to the name is its own affair.
    let _ = blocking(move || arrived.remove(&file_name)).await;
    read.map(|_done| Verdict::done(None))
}

/// Makes a file of the session's temporary directory, owned by its user.
async fn arrive(dir: &Path, name: String, mut download: Download) -> Moved<Tree> {
    let session = dir.to_owned();
    let (scratch, mut file) = blocking(move || {
        let scratch = Scratch::new(&session)?;
        let file = scratch.create("object")?;
        std::io::Result::Ok((scratch, file))
    })
    .await?;
    while let Some(piece) = download.next().await? {
        file = write_all(file, piece).await?;
    }
    let dir = dir.to_owned();
    Ok(blocking(move || bring_in(&dir, &scratch, &file, &name)).await?)
}

fn bring_in(dir: &Path, scratch: &Scratch, file: &File, name: &str) -> std::io::Result<Tree> {
    let tmp = Tree::open(dir, TMP)?;
    tmp.give(file)?;
    tmp.bring_in(&scratch.path("object"), name)?;
    Ok(tmp)
}

/// Removes an object.
pub(super) async fn delete(
    talk: &mut Conversation<'_>,
    claimed: &Claimed,
) -> Result<Verdict, Verdict> {
    let DeleteRequest { name } = request_of(claimed)?;
    talk.ask(Ask::Remove { name }).await?;
    Ok(Verdict::done(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_like_its_object_as_far_as_that_is_a_name() {
        assert_eq!(file_name("größe 1", "rds"), "größe 1.rds");
        assert_eq!(file_name("../a\nb\\c", "RData"), "..abc.RData");
        assert_eq!(file_name(&"é".repeat(150), "bin").len(), 204);
    }
}
