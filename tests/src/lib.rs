//! The harness that the tests, the local stack and the bench share.

pub mod s3;
