//! How long things are kept, and how many streams a node serves.

use std::time::Duration;

use clap::Args;

use super::{BadSetting, seconds};

/// How long what is over is kept.
#[derive(Debug, Clone, Args)]
pub struct RetentionConfig {
    /// How long jobs are kept after their end, in seconds; those of a session that lives are
    #[arg(
        id = "job_retention_seconds",
        long = "job-retention-seconds",
        env = "WARREN_JOB_RETENTION_SECONDS",
        default_value = "604800",
        value_parser = seconds
    )]
    pub jobs: Duration,
    /// How long calls of services are kept after their end, in seconds; never longer than other jobs
    #[arg(
        id = "call_retention_seconds",
        long = "call-retention-seconds",
        env = "WARREN_CALL_RETENTION_SECONDS",
        default_value = "86400",
        value_parser = seconds
    )]
    pub calls: Duration,
    /// How long the console text of ended jobs is kept, in seconds; never longer than the jobs
    #[arg(
        id = "console_retention_seconds",
        long = "console-retention-seconds",
        env = "WARREN_CONSOLE_RETENTION_SECONDS",
        default_value = "604800",
        value_parser = seconds
    )]
    pub console: Duration,
    /// How long a session that has ended answers 410, in seconds; 404 after that
    #[arg(
        id = "session_retention_seconds",
        long = "session-retention-seconds",
        env = "WARREN_SESSION_RETENTION_SECONDS",
        default_value = "86400",
        value_parser = seconds
    )]
    pub sessions: Duration,
    /// How long batches are kept after their last item has ended, in seconds
    #[arg(
        id = "batch_retention_seconds",
        long = "batch-retention-seconds",
        env = "WARREN_BATCH_RETENTION_SECONDS",
        default_value = "604800",
        value_parser = seconds
    )]
    pub batches: Duration,
    /// How long workers that left or died are kept, in seconds
    #[arg(
        id = "worker_retention_seconds",
        long = "worker-retention-seconds",
        env = "WARREN_WORKER_RETENTION_SECONDS",
        default_value = "604800",
        value_parser = seconds
    )]
    pub workers: Duration,
    /// How long refresh tokens and sign-ins are kept after they expired, in seconds
    #[arg(
        id = "token_retention_seconds",
        long = "token-retention-seconds",
        env = "WARREN_TOKEN_RETENTION_SECONDS",
        default_value = "86400",
        value_parser = seconds
    )]
    pub tokens: Duration,
    /// How long records of who did what are kept, in seconds
    #[arg(
        id = "audit_retention_seconds",
        long = "audit-retention-seconds",
        env = "WARREN_AUDIT_RETENTION_SECONDS",
        default_value = "31536000",
        value_parser = seconds
    )]
    pub audit: Duration,
    /// How old a blob without a row must be to be removed, in seconds; longer than any upload takes
    #[arg(
        id = "blob_retention_seconds",
        long = "blob-retention-seconds",
        env = "WARREN_BLOB_RETENTION_SECONDS",
        default_value = "86400",
        value_parser = seconds
    )]
    pub blobs: Duration,
}

impl RetentionConfig {
    /// How long calls are kept: not longer than other jobs.
    pub fn calls(&self) -> Duration {
        self.calls.min(self.jobs)
    }

    /// How long console text is kept: not longer than its job.
    pub fn console(&self) -> Duration {
        self.console.min(self.jobs)
    }
}

/// What event streams may take.
#[derive(Debug, Clone, Args)]
pub struct StreamConfig {
    /// Event streams that this node serves at once
    #[arg(
        id = "event_streams",
        long = "event-streams",
        env = "WARREN_EVENT_STREAMS",
        default_value_t = 500
    )]
    pub limit: u32,
    /// Event streams that one caller may read at this node at once
    #[arg(
        id = "event_streams_per_user",
        long = "event-streams-per-user",
        env = "WARREN_EVENT_STREAMS_PER_USER",
        default_value_t = 50
    )]
    pub limit_of_caller: u32,
    /// How long one event stream lasts at most, in seconds; its reader then connects again
    #[arg(
        id = "event_stream_seconds",
        long = "event-stream-seconds",
        env = "WARREN_EVENT_STREAM_SECONDS",
        default_value = "3600",
        value_parser = seconds
    )]
    pub longest: Duration,
    /// How long a caller may take nothing of an answer before its connection is closed, in seconds
    #[arg(
        id = "stalled_reader_seconds",
        long = "stalled-reader-seconds",
        env = "WARREN_STALLED_READER_SECONDS",
        default_value = "120",
        value_parser = seconds
    )]
    pub stalled: Duration,
}

impl StreamConfig {
    /// Refuses what clap cannot judge.
    pub(super) fn validate(&self) -> Result<(), BadSetting> {
        for (variable, is_wrong) in [
            ("WARREN_EVENT_STREAMS", self.limit == 0),
            ("WARREN_EVENT_STREAMS_PER_USER", self.limit_of_caller == 0),
            ("WARREN_EVENT_STREAM_SECONDS", self.longest.is_zero()),
            ("WARREN_STALLED_READER_SECONDS", self.stalled.is_zero()),
        ] {
            if is_wrong {
                return Err(BadSetting::new(variable, "must not be 0"));
            }
        }
        Ok(())
    }
}
