//! What Prometheus can read. No label names a user or a session.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::model::{JobKind, JobState};
use crate::queue::{PublishError, Sent};

type Labels = Vec<(&'static str, String)>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

type GaugeF64 = Gauge<f64, std::sync::atomic::AtomicU64>;

/// The metrics of this process.
pub struct Metrics {
    registry: Mutex<Registry>,
    queued: Family<Kind, Gauge>,
    oldest_seconds: Family<Kind, GaugeF64>,
    claims: Family<Kind, Counter>,
    outcomes: Family<Labels, Counter>,
    slots_used: Gauge,
    slots_free: Gauge,
    lease_age_seconds: GaugeF64,
    notices: Family<Labels, Counter>,
    sent_again: Counter,
    offers: Family<Labels, Counter>,
    service_parents: Family<Labels, Gauge>,
    event_streams: Gauge,
    console_pages: Counter,
    removed: Family<Labels, Counter>,
    pool_wait_seconds: Histogram,
    authentication_seconds: Histogram,
    requests_seconds: Family<Labels, Histogram, fn() -> Histogram>,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

fn seconds() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
    ])
}

/// For what takes microseconds as long as nothing has to be read, and whose median is to be told.
fn microseconds() -> Histogram {
    Histogram::new([
        1e-6, 2e-6, 3e-6, 5e-6, 7e-6, 1e-5, 1.5e-5, 2e-5, 3e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2,
        0.1, 1.0,
    ])
}

impl Metrics {
    fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("warren")),
            queued: Family::default(),
            oldest_seconds: Family::default(),
            claims: Family::default(),
            outcomes: Family::default(),
            slots_used: Gauge::default(),
            slots_free: Gauge::default(),
            lease_age_seconds: GaugeF64::default(),
            notices: Family::default(),
            sent_again: Counter::default(),
            offers: Family::default(),
            service_parents: Family::default(),
            event_streams: Gauge::default(),
            console_pages: Counter::default(),
            removed: Family::default(),
            pool_wait_seconds: seconds(),
            authentication_seconds: microseconds(),
            requests_seconds: Family::new_with_constructor(seconds),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(
            "jobs_queued",
            "Jobs that wait to be claimed, by kind",
            self.queued.clone(),
        );
        registry.register(
            "jobs_queued_oldest_seconds",
            "Age of the oldest job that waits to be claimed, by kind",
            self.oldest_seconds.clone(),
        );
        registry.register(
            "jobs_claimed",
            "Jobs that this worker claimed, by kind",
            self.claims.clone(),
        );
        registry.register(
            "jobs_ended",
            "Jobs that this process ended, by kind and state",
            self.outcomes.clone(),
        );
        registry.register(
            "session_slots_used",
            "Sessions that this worker holds",
            self.slots_used.clone(),
        );
        registry.register(
            "session_slots_free",
            "Sessions that it still has room for",
            self.slots_free.clone(),
        );
        registry.register(
            "lease_age_seconds",
            "Time since this worker sent its last successful renewal",
            self.lease_age_seconds.clone(),
        );
        registry.register(
            "notices",
            "Notices sent, by message and what became of them",
            self.notices.clone(),
        );
        registry.register(
            "notices_sent_again",
            "Notices that the sweeper of this node repeated",
            self.sent_again.clone(),
        );
        registry.register(
            "offers",
            "Files that this worker held ready for API nodes, by what became of them: taken, or expired",
            self.offers.clone(),
        );
        registry.register(
            "service_parents",
            "Services that this worker has in memory, by how their calls get a process: fork, or whole",
            self.service_parents.clone(),
        );
        registry.register(
            "event_streams",
            "Event streams that this node serves",
            self.event_streams.clone(),
        );
        registry.register(
            "console_pages",
            "Pieces of console text that this node read for streams and pollers",
            self.console_pages.clone(),
        );
        registry.register(
            "removed",
            "What this node removed for its age, by what it was",
            self.removed.clone(),
        );
        registry.register(
            "database_pool_wait_seconds",
            "Time until a connection of the pool was free",
            self.pool_wait_seconds.clone(),
        );
        registry.register(
            "authentication_seconds",
            "Time to check a token and what its owner may do, whatever came of it",
            self.authentication_seconds.clone(),
        );
        registry.register(
            "http_request_seconds",
            "Time to answer, by method, route and status",
            self.requests_seconds.clone(),
        );
    }

    /// In the exposition format of `OpenMetrics`.
    pub fn encode(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => text,
            Err(std::fmt::Error) => String::new(),
        }
    }

    /// What waits, as counted just now; kinds that are absent wait for nothing.
    pub fn queued(&self, counted: &[(JobKind, i64, f64)]) {
        for kind in JobKind::ALL {
            let found = counted.iter().find(|(counted, ..)| counted == kind);
            let label = Kind { kind: kind.word() };
            self.queued
                .get_or_create(&label)
                .set(found.map_or(0, |(_, jobs, _)| *jobs));
            self.oldest_seconds
                .get_or_create(&label)
                .set(found.map_or(0.0, |(.., oldest)| *oldest));
        }
    }

    /// A worker claimed a job.
    pub fn claimed(&self, kind: JobKind) {
        self.claims.get_or_create(&Kind { kind: kind.word() }).inc();
    }

    /// A job became final.
    pub fn ended(&self, kind: JobKind, state: JobState) {
        let labels = vec![
            ("kind", kind.word().to_owned()),
            ("state", state.word().to_owned()),
        ];
        self.outcomes.get_or_create(&labels).inc();
    }

    /// Sessions held, and room for more.
    pub fn slots(&self, used: usize, free: usize) {
        self.slots_used.set(i64::try_from(used).unwrap_or(i64::MAX));
        self.slots_free.set(i64::try_from(free).unwrap_or(i64::MAX));
    }

    /// Time since the last renewal that counted.
    pub fn lease_age(&self, age: Duration) {
        self.lease_age_seconds.set(age.as_secs_f64());
    }

    /// What became of a notice.
    pub fn notice_sent(&self, name: &str, outcome: &Result<Sent, PublishError>) {
        let word = match outcome {
            Ok(Sent::Queued) => "sent",
            Ok(Sent::Returned) => "returned",
            Err(_) => "failed",
        };
        self.notices
            .get_or_create(&vec![
                ("message", name.to_owned()),
                ("outcome", word.to_owned()),
            ])
            .inc();
    }

    /// The sweeper repeated notices.
    pub fn notices_sent_again(&self, count: usize) {
        self.sent_again
            .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// What became of a file that was held ready.
    pub fn offer(&self, outcome: &'static str) {
        let labels = vec![("outcome", outcome.to_owned())];
        self.offers.get_or_create(&labels).inc();
    }

    /// Services in memory whose calls are forked, and those whose calls get whole processes.
    pub fn service_parents(&self, forked: usize, whole: usize) {
        for (process, count) in [("fork", forked), ("whole", whole)] {
            let labels = vec![("process", process.to_owned())];
            self.service_parents
                .get_or_create(&labels)
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Event streams that are open.
    pub fn event_streams(&self, open: u32) {
        self.event_streams.set(open.into());
    }

    /// Console text was read for somebody.
    pub fn console_page(&self) {
        self.console_pages.inc();
    }

    /// Something was removed for its age.
    pub fn removed(&self, what: &'static str, count: u64) {
        self.removed
            .get_or_create(&vec![("what", what.to_owned())])
            .inc_by(count);
    }

    /// A connection was asked of the pool.
    pub fn pool_wait(&self, waited: Duration) {
        self.pool_wait_seconds.observe(waited.as_secs_f64());
    }

    /// It was found out who calls and whether that is permitted, or that it is not.
    pub fn authenticated(&self, took: Duration) {
        self.authentication_seconds.observe(took.as_secs_f64());
    }

    /// A request was answered.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = vec![
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.to_string()),
        ];
        self.requests_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }
}
