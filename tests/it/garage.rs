//! What goes through the object store, with the one of `compose.yaml`, its version and its settings.

use reqwest::Method;
use serde_json::json;
use tokio_util::bytes::Bytes;
use warren_common::blobs::{BlobKey, Blobs};
use warren_common::id::{SnapshotId, TransferId};
use warren_common::model::Content;
use warren_tests::client::Session;
use warren_tests::garage::Garage;
use warren_tests::services::service;
use warren_tests::{Builder, House, wait};

/// More than one part of a multipart upload, and all of it noise: 24 MB.
const NOISE: &str = "set.seed(1); x <- runif(3e6)";

/// A house that stores in Garage.
struct Stored {
    house: House,
    garage: Garage,
}

impl Stored {
    async fn new() -> Self {
        let garage = Garage::start().await;
        let house = Builder::new().storing_in(&garage.config()).build().await;
        Self { house, garage }
    }

    async fn session(&self) -> Session {
        self.house.admin().await.open_session().await
    }

    /// Waits until the store holds none of these.
    async fn holds_no(&self, which: fn(BlobKey) -> bool) {
        let blobs = Blobs::new(&self.garage.config());
        wait::until("they are gone from the store", async || {
            let listed = blobs.list(None).await.ok()?.blobs;
            let mut left = listed.into_iter().filter(|blob| which(blob.key));
            left.next().is_none().then_some(())
        })
        .await;
    }
}

/// Bytes of which no two stretches are alike.
fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    rand::fill(&mut bytes[..]);
    bytes
}

#[tokio::test]
async fn snapshots_of_several_parts_come_back_as_they_were() {
    let stored = Stored::new().await;
    let session = stored.session().await;
    let sum = session
        .prints(&format!("{NOISE}; cat(digits = 17, sum(x))"))
        .await;
    let file = noise(9_000_000);
    session.put_file("noise", &file).await;
    let snapshot = session.save().await;
    session.close().await;

    let fresh = session.client.open_with(&snapshot).await;
    assert_eq!(fresh.prints("cat(digits = 17, sum(x))").await, sum);
    assert!(fresh.get_file("noise").await.expect(200) == file);
    let other = stored.session().await;
    other.load(&snapshot).await.expect(200);
    assert_eq!(other.prints("cat(digits = 17, sum(x))").await, sum);

    let path = format!("/snapshots/{snapshot}");
    let request = session.client.request(Method::GET, &path);
    let zip = session.client.fetch(request).await.expect(200);
    let range = session.client.request(Method::GET, &path);
    let range = range.header("Range", "bytes=8388600-8388650");
    let part = session.client.fetch(range).await.expect(206);
    assert!(zip[8_388_600..=8_388_650] == part);
    session.client.delete(&path).await.expect(200);
    stored
        .holds_no(|key| matches!(key, BlobKey::Snapshot(_)))
        .await;
}

#[tokio::test]
async fn a_service_is_published_from_a_snapshot_of_several_parts() {
    let stored = Stored::new().await;
    let session = stored.session().await;
    session.prints(NOISE).await;
    let mut request = service("z <- length(x)", &[], &[("z", "integer")]);
    request["snapshotId"] = json!(session.save().await);
    session.client.published("long", &request).await;
    let outputs = session.client.outputs("long", &json!({})).await;
    assert_eq!(outputs["z"], 3_000_000);
}

#[tokio::test]
async fn files_and_objects_go_both_ways_and_leave_nothing() {
    let stored = Stored::new().await;
    let session = stored.session().await;
    // Of several objects, and not a whole number of them.
    let bytes = noise(5_000_001);
    session.put_file("noise", &bytes).await;
    assert_eq!(session.prints("cat(file.size('noise'))").await, "5000001");
    stored.holds_no(|_any| true).await;
    let later = session.download("noise").header("Prefer", "respond-async");
    let accepted = session.client.send(later).await.expect(202);
    let job = accepted["jobId"].as_str().unwrap();
    session.client.job_end(job).await;
    let request = session
        .client
        .request(Method::GET, &format!("/jobs/{job}/content"));
    assert!(session.client.fetch(request).await.expect(200) == bytes);
    let range = session.download("noise");
    let range = range.header("Range", "bytes=2097150-4194310");
    let part = session.client.fetch(range).await.expect(206);
    assert!(part == bytes[2_097_150..=4_194_310]);

    session.prints(NOISE).await;
    let object = session.get_object("x").await.expect(200);
    session.put_object("y", &object).await.expect(200);
    assert_eq!(session.prints("cat(identical(x, y))").await, "TRUE");
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let garage = Garage::start().await;
    let blobs = Blobs::new(&garage.config());
    for key in [
        BlobKey::Snapshot(SnapshotId::new()),
        BlobKey::Transfer(TransferId::new()),
    ] {
        let mut upload = blobs.upload(key, u64::MAX);
        for _ in 0..3 {
            upload.write(Bytes::from(noise(9_000_000))).await.unwrap();
        }
        drop(upload);
        wait::until("nothing is left", async || {
            let page = blobs.list(None).await.ok()?;
            page.blobs.is_empty().then_some(())
        })
        .await;
    }
    let id = TransferId::new();
    let gone = Content::Transfer { id, size: 9 };
    assert!(blobs.open(gone, None).await.is_err());
}
