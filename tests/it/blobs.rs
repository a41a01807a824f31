//! The object store's client, against a real S3 server.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use tokio_util::bytes::Bytes;
use warren_common::blobs::{BlobError, BlobKey, Blobs, Download};
use warren_common::config::{BlobConfig, Secret};
use warren_common::id::{SnapshotId, TransferId};
use warren_common::model::Content;
use warren_tests::s3::{REGION, S3Config, S3Server};
use warren_tests::wait;

const MIB: usize = 1024 * 1024;

async fn server(dir: &Path) -> (S3Server, Blobs) {
    let server = S3Server::start(S3Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        dir: dir.to_owned(),
        access_key: "warren".to_owned(),
        secret_key: "secret".to_owned(),
        buckets: vec!["warren".to_owned()],
    })
    .await
    .unwrap();
    let blobs = Blobs::new(&BlobConfig {
        endpoint: server.endpoint(),
        region: REGION.to_owned(),
        bucket: "warren".to_owned(),
        access_key: Secret::new("warren"),
        secret_key: Secret::new("secret"),
        transfer_seconds: 60,
    });
    (server, blobs)
}

/// Bytes of which no two stretches are alike.
fn pattern(size: usize) -> Bytes {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..size.div_ceil(4)).flat_map(next).collect();
    bytes.truncate(size);
    bytes.into()
}

async fn store(blobs: &Blobs, key: BlobKey, bytes: &Bytes, piece: usize) {
    let mut upload = blobs.upload(key, bytes.len() as u64);
    for piece in bytes.chunks(piece) {
        upload.write(bytes.slice_ref(piece)).await.unwrap();
    }
    assert_eq!(upload.finish().await.unwrap(), bytes.len() as u64);
}

async fn collect(mut download: Download) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = download.next().await.unwrap() {
        all.extend_from_slice(&piece);
    }
    all
}

/// Everything below the server's folder that holds a byte of a blob or of a part.
fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let names = entries.flat_map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            files(&entry.path())
        } else {
            vec![name]
        }
    });
    // The server keeps what it knew of an object that is gone.
    names.filter(|name| !name.starts_with(".bucket-")).collect()
}

#[tokio::test]
async fn a_blob_of_any_size_comes_back_as_it_was() {
    let dir = TempDir::new().unwrap();
    let (_server, blobs) = server(dir.path()).await;
    for (size, piece) in [
        (0, 1),
        (1, 1),
        (8 * MIB - 1, 777_777),
        (8 * MIB, 3 * MIB),
        (8 * MIB + 1, 16 * MIB),
        (35 * MIB + 13, 100_001),
    ] {
        let bytes = pattern(size);
        let key = BlobKey::Snapshot(SnapshotId::new());
        store(&blobs, key, &bytes, piece).await;
        let download = blobs.download(key, None).await.unwrap();
        assert_eq!(download.size(), size as u64);
        assert!(collect(download).await == bytes, "{size} bytes");
        blobs.delete(key).await.unwrap();
        blobs.delete(key).await.unwrap();
        let gone = blobs.download(key, None).await;
        assert!(matches!(gone, Err(BlobError::NotFound { .. })));
        if size == 0 {
            continue;
        }
        let id = TransferId::new();
        store(&blobs, BlobKey::Transfer(id), &bytes, piece).await;
        let size = size as u64;
        let content = Content::Transfer { id, size };
        let download = blobs.open(content.clone(), None).await.unwrap();
        assert_eq!(download.size(), size);
        assert!(
            collect(download).await == bytes,
            "a transfer of {size} bytes"
        );
        let other = TransferId::new();
        store(&blobs, BlobKey::Transfer(other), &bytes.slice(..1), 1).await;
        blobs.delete(BlobKey::Transfer(id)).await.unwrap();
        let left = blobs.list(None).await.unwrap().blobs;
        assert_eq!(left.len(), 1);
        blobs.delete(BlobKey::Transfer(other)).await.unwrap();
        let gone = blobs.open(content, None).await;
        assert!(matches!(gone, Err(BlobError::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_range_is_read_alone_from_row_and_store() {
    let dir = TempDir::new().unwrap();
    let (_server, blobs) = server(dir.path()).await;
    let bytes = pattern(9 * MIB);
    let id = TransferId::new();
    store(&blobs, BlobKey::Transfer(id), &bytes, MIB).await;
    let few = bytes.slice(..1000).to_vec();
    for (content, range) in [
        (
            Content::Transfer { id, size: 9 << 20 },
            8_388_600..8_388_620,
        ),
        (Content::Transfer { id, size: 9 << 20 }, 0..1),
        (Content::Row { bytes: few.clone() }, 999..1000),
        (Content::Row { bytes: few }, 0..1000),
    ] {
        let expected = bytes.slice(range.start..range.end);
        let asked = range.start as u64..range.end as u64;
        let download = blobs.open(content, Some(asked)).await.unwrap();
        assert_eq!(download.size(), expected.len() as u64);
        assert!(collect(download).await == expected, "{range:?}");
    }
}

#[tokio::test]
async fn what_is_not_finished_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let (_server, blobs) = server(dir.path()).await;
    let before = files(dir.path());
    let bytes = pattern(20 * MIB);
    for key in [
        BlobKey::Transfer(TransferId::new()),
        BlobKey::Snapshot(SnapshotId::new()),
    ] {
        let mut dropped = blobs.upload(key, u64::MAX);
        dropped.write(bytes.clone()).await.unwrap();
        drop(dropped);

        let mut too_large = blobs.upload(key, 20 * MIB as u64 - 1);
        too_large.write(bytes.slice(1..)).await.unwrap();
        let error = too_large.write(bytes.slice(..1)).await.unwrap_err();
        assert!(matches!(error, BlobError::TooLarge { .. }), "{error}");
        drop(too_large);
    }
    wait::until("what came of them is gone", async || {
        (files(dir.path()) == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_is_told_from_a_blob_that_is_not_there() {
    let dir = TempDir::new().unwrap();
    let (server, blobs) = server(dir.path()).await;
    let id = TransferId::new();
    let key = BlobKey::Transfer(id);
    store(&blobs, key, &pattern(10), 10).await;
    server.stop().await;
    for error in [
        blobs.download(key, None).await.err().unwrap(),
        blobs
            .open(Content::Transfer { id, size: 10 }, None)
            .await
            .err()
            .unwrap(),
    ] {
        assert!(matches!(error, BlobError::Away { .. }), "{error}");
    }
    let mut upload = blobs.upload(key, 10);
    upload.write(pattern(10)).await.unwrap();
    let error = upload.finish().await.unwrap_err();
    assert!(matches!(error, BlobError::Away { .. }), "{error}");
    assert!(matches!(
        blobs.delete(key).await,
        Err(BlobError::Away { .. })
    ));
}

#[tokio::test]
async fn the_list_has_pages_and_leaves_out_what_is_not_ours() {
    let dir = TempDir::new().unwrap();
    let (_server, blobs) = server(dir.path()).await;
    let started = seconds_now();
    let mut keys: Vec<String> = Vec::new();
    for _ in 0..501 {
        let key = BlobKey::Transfer(TransferId::new());
        store(&blobs, key, &pattern(1), 1).await;
        keys.push(key.to_string());
    }
    std::fs::write(dir.path().join("warren/transfers/other"), "x").unwrap();
    let (mut found, mut from, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = blobs.list(from).await.unwrap();
        pages += 1;
        for listed in page.blobs {
            assert!(listed.since.timestamp() >= started, "{listed:?}");
            found.push(listed.key.to_string());
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(pages, 2);
    keys.sort();
    assert_eq!(found, keys);
}

/// Seconds since the epoch, less the second that a file system may round away.
fn seconds_now() -> i64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap() - 1
}

#[tokio::test]
async fn a_transfer_that_the_store_changed_is_not_taken_for_what_it_was() {
    let dir = TempDir::new().unwrap();
    let (_server, blobs) = server(dir.path()).await;
    let id = TransferId::new();
    let bytes = pattern(3 * MIB);
    store(&blobs, BlobKey::Transfer(id), &bytes, MIB).await;
    let second = dir.path().join(format!("warren/transfers/{id}.1"));
    let mut changed = std::fs::read(&second).unwrap();
    changed[5] ^= 1;
    std::fs::write(&second, changed).unwrap();
    let size = bytes.len() as u64;
    let mut download = blobs
        .open(Content::Transfer { id, size }, None)
        .await
        .unwrap();
    let error = loop {
        match download.next().await {
            Ok(piece) => assert!(piece.is_some(), "it ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, BlobError::Damaged { .. }), "{error}");
}
