//! Signing in against a directory.
#[tokio::test]
async fn a_directory_starts() {
    let dir = tempfile::tempdir().unwrap();
    let _s = warren_tests::slapd::Slapd::start(dir.path()).await;
}
