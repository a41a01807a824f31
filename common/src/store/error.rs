//! What can go wrong with a statement, told apart by what the caller may conclude.

use std::error::Error as _;
use std::sync::Arc;

use tokio_postgres::error::SqlState;

/// A statement or a connection failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DbError {
    /// The setting cannot be read. Its text is not repeated: it holds a password.
    #[error(
        "WARREN_DATABASE_URL is no PostgreSQL address (expected postgres://user:password@host:port/database)"
    )]
    Url(#[source] Arc<tokio_postgres::Error>),
    /// The pool cannot be built.
    #[error("the connection pool could not be set up")]
    Pool(#[source] Arc<deadpool_postgres::BuildError>),
    /// No connection could be had; nothing was sent.
    #[error("PostgreSQL cannot be reached")]
    Unavailable(#[source] Arc<deadpool_postgres::PoolError>),
    /// The connection broke or fell silent while a statement was under way: nobody knows whether it committed.
    #[error("the connection to PostgreSQL was lost during {op}")]
    Interrupted {
        /// The statement's name.
        op: &'static str,
        /// What the connection said, if it said anything.
        #[source]
        source: Option<Arc<tokio_postgres::Error>>,
    },
    /// Postgres refused the statement; nothing changed. Its own text is not kept: it may repeat values of the row.
    #[error("PostgreSQL refused {op} (SQLSTATE {code}{constraint})")]
    Refused {
        /// The statement's name.
        op: &'static str,
        /// Five characters, see the appendix on error codes of the PostgreSQL manual.
        code: String,
        /// Which constraint, if it was one, with a comma in front.
        constraint: String,
    },
    /// A row holds what no version of this code writes.
    #[error("a row read by {op} makes no sense: {problem}")]
    BadRow {
        /// The statement's name.
        op: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl DbError {
    pub(super) fn url(source: tokio_postgres::Error) -> Self {
        Self::Url(Arc::new(source))
    }

    pub(super) fn pool(source: deadpool_postgres::BuildError) -> Self {
        Self::Pool(Arc::new(source))
    }

    pub(super) fn no_connection(source: deadpool_postgres::PoolError) -> Self {
        Self::Unavailable(Arc::new(source))
    }

    pub(super) const fn interrupted(op: &'static str) -> Self {
        Self::Interrupted { op, source: None }
    }

    pub(super) fn bad_row(op: &'static str, problem: impl std::fmt::Display) -> Self {
        Self::BadRow {
            op,
            problem: problem.to_string(),
        }
    }

    pub(super) fn statement(op: &'static str, source: tokio_postgres::Error) -> Self {
        let going_down = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::QUERY_CANCELED,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ];
        let lost = match source.code() {
            Some(code) => going_down.contains(code) || code.code().starts_with("08"),
            None => {
                source.is_closed()
                    || source
                        .source()
                        .is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
            }
        };
        if lost {
            return Self::Interrupted {
                op,
                source: Some(Arc::new(source)),
            };
        }
        let constraint = source.as_db_error().and_then(|error| error.constraint());
        Self::Refused {
            op,
            code: source
                .code()
                .map_or("none: the client could not send it", SqlState::code)
                .to_owned(),
            constraint: constraint
                .map(|name| format!(", {name}"))
                .unwrap_or_default(),
        }
    }

    /// True when the statement may or may not have committed.
    pub const fn is_interrupted(&self) -> bool {
        matches!(self, Self::Interrupted { .. })
    }

    /// True when waiting and trying again may help: Postgres is away, out of something, or a standby at the moment.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Interrupted { .. } => true,
            Self::Refused { code, .. } => {
                ["53", "57", "58"]
                    .iter()
                    .any(|class| code.starts_with(class))
                    || self.code_is(&SqlState::READ_ONLY_SQL_TRANSACTION)
                    || self.code_is(&SqlState::LOCK_NOT_AVAILABLE)
                    || self.may_retry()
            }
            _ => false,
        }
    }

    /// True when Postgres says that the same statement may succeed if tried again.
    pub fn may_retry(&self) -> bool {
        self.code_is(&SqlState::T_R_SERIALIZATION_FAILURE)
            || self.code_is(&SqlState::T_R_DEADLOCK_DETECTED)
    }

    /// True when a unique index refused the row.
    pub fn is_unique_violation(&self) -> bool {
        self.code_is(&SqlState::UNIQUE_VIOLATION)
    }

    fn code_is(&self, code: &SqlState) -> bool {
        matches!(self, Self::Refused { code: found, .. } if found == code.code())
    }
}
