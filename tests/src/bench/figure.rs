//! What is measured.

use std::fmt;

use super::series::median;

/// How many clients call at the same moment, one figure each.
pub(super) const CLIENTS: [usize; 3] = [1, 16, 64];

/// How many clients call `add` at the same moment, one figure each.
pub(super) const ADDERS: [usize; 3] = CLIENTS;

/// How many call `predict`.
pub(super) const PREDICTORS: [usize; 2] = [1, 16];

/// How many sessions stay open beside the one that is used, one figure each.
pub(super) const OPEN: [usize; 2] = [1, 1000];

/// How many workers a fleet has, one figure each.
pub(super) const WORKERS: [usize; 3] = [1, 2, 4];

/// How many clients read a job at the same moment, one figure each.
pub(super) const JOB_READERS: [usize; 2] = [1, 16];

/// A table of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// With what the bench itself did.
    Empty,
    /// With a great many finished jobs.
    Full,
}

/// Something that takes time: a row of the table of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    /// A bare fork that answers `1+1`.
    BareFork,
    /// A fork on demand that answers `1+1`.
    Fork,
    /// Whole lives of bare forks, from all parents.
    BareLives,
    /// Whole lives of sessions that answer once, from all parents.
    Lives,
    /// The first `1+1` of a child that was ready.
    FirstAnswer,
    /// A later one.
    WarmAnswer,
    /// A data frame to JSON.
    ToJson,
    /// By jsonlite.
    JsonliteTo,
    /// JSON to a data frame.
    FromJson,
    /// By jsonlite.
    JsonliteFrom,
    /// Starting R and ending it.
    StartR,
    /// `POST /sessions`.
    Open,
    /// `POST /sessions`, and `1+1` in it.
    OpenAndExecute,
    /// `1+1` in open sessions, each client in its own.
    Execute(usize),
    /// The floor, a statement and a commit for every row.
    FloorByRow(usize),
    /// The floor, rows that wait at the same moment sharing both.
    FloorGrouped(usize),
    /// Calls of a published `add(x, y)`.
    Add(usize),
    /// The same function by plumber.
    PlumberAdd(usize),
    /// Calls of a published `predict`, ten rows for a logistic regression.
    Predict(usize),
    /// The same by plumber.
    PlumberPredict(usize),
    /// Calls of a service that holds a large model and reads one number of it.
    CallLarge,
    /// `1+1` at one client, with so many sessions open.
    ExecuteBeside(usize),
    /// Saving a session with a large data frame.
    CreateSnapshot,
    /// The same, and loading it into another session.
    CreateAndLoadSnapshot,
    /// R's own `save()` without compression, and the bytes to the store.
    SaveAndCopy,
    /// The same, and the bytes back and R's `load()`.
    SaveLoadAndCopy,
    /// R's own `save.image()` as it is, and zip.
    SaveImageAndZip,
    /// `1+1` at one client, with such a table.
    ExecuteAmong(Table),
    /// The first page of the caller's jobs, with such a table.
    ListAmong(Table),
    /// The first page of somebody whose few jobs are the oldest of such a table.
    ListOfFew(Table),
    /// `1+1` at many clients, with three nodes and so many workers.
    ExecuteWith(usize),
    /// `GET /jobs/{id}` of a finished job.
    ReadJob(usize),
    /// Revoking what a sign-in gave at one node, until another refuses its access token.
    RefusedElsewhere,
    /// A sign-in with a name that somebody has, and another password.
    WrongPassword,
    /// A sign-in with a name that nobody has.
    UnknownName,
}

impl Figure {
    /// Its name for machines.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::BareFork => "bare_fork",
            Self::Fork => "fork",
            Self::BareLives => "bare_lives",
            Self::Lives => "lives",
            Self::FirstAnswer => "first_answer",
            Self::WarmAnswer => "warm_answer",
            Self::ToJson => "to_json",
            Self::JsonliteTo => "jsonlite_to",
            Self::FromJson => "from_json",
            Self::JsonliteFrom => "jsonlite_from",
            Self::StartR => "start_r",
            Self::Open => "open",
            Self::OpenAndExecute => "open_and_execute",
            Self::Execute(_) => "execute",
            Self::FloorByRow(_) => "floor_by_row",
            Self::FloorGrouped(_) => "floor_grouped",
            Self::Add(_) => "call_add",
            Self::PlumberAdd(_) => "plumber_add",
            Self::Predict(_) => "call_predict",
            Self::PlumberPredict(_) => "plumber_predict",
            Self::CallLarge => "call_large",
            Self::ExecuteBeside(1) => "execute_beside_none",
            Self::ExecuteBeside(_) => "execute_beside_many",
            Self::CreateSnapshot => "create_snapshot",
            Self::CreateAndLoadSnapshot => "create_and_load_snapshot",
            Self::SaveAndCopy => "save_and_copy",
            Self::SaveLoadAndCopy => "save_load_and_copy",
            Self::SaveImageAndZip => "save_image_and_zip",
            Self::ExecuteAmong(Table::Empty) => "execute_empty_table",
            Self::ExecuteAmong(Table::Full) => "execute_full_table",
            Self::ListAmong(Table::Empty) => "list_empty_table",
            Self::ListAmong(Table::Full) => "list_full_table",
            Self::ListOfFew(Table::Empty) => "list_of_few_empty_table",
            Self::ListOfFew(Table::Full) => "list_of_few_full_table",
            Self::ExecuteWith(1) => "execute_one_worker",
            Self::ExecuteWith(2) => "execute_two_workers",
            Self::ExecuteWith(_) => "execute_four_workers",
            Self::ReadJob(_) => "read_job",
            Self::RefusedElsewhere => "refused_elsewhere",
            Self::WrongPassword => "sign_in_wrong_password",
            Self::UnknownName => "sign_in_unknown_name",
        }
    }

    /// Its name for people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::BareFork => "bare fork, 1+1",
            Self::Fork => "fork on demand, 1+1",
            Self::BareLives => "bare fork, 1+1 and end",
            Self::Lives => "fork, 1+1 and end",
            Self::FirstAnswer => "first 1+1 of a ready child",
            Self::WarmAnswer => "warm 1+1",
            Self::ToJson => "data frame, R to JSON",
            Self::JsonliteTo => "the same by jsonlite",
            Self::FromJson => "data frame, JSON to R",
            Self::JsonliteFrom => "the same by jsonlite, a list",
            Self::StartR => "start R --vanilla",
            Self::Open => "open session",
            Self::OpenAndExecute => "open session + first 1+1",
            Self::Execute(_) => "execute 1+1",
            Self::FloorByRow(_) => "floor, row by row",
            Self::FloorGrouped(_) => "floor, grouped",
            Self::Add(_) => "call add(x, y)",
            Self::PlumberAdd(_) => "the same by plumber",
            Self::Predict(_) => "call predict, 10 rows",
            Self::PlumberPredict(_) => "the same by plumber, 10 rows",
            Self::CallLarge => "call, with a model of 200 MB",
            Self::ExecuteBeside(1) => "execute 1+1, one session open",
            Self::ExecuteBeside(_) => "execute 1+1, 1,000 sessions open",
            Self::CreateSnapshot => "create snapshot",
            Self::CreateAndLoadSnapshot => "create and load snapshot",
            Self::SaveAndCopy => "R's save, copy to the store",
            Self::SaveLoadAndCopy => "R's save and load, copy both ways",
            Self::SaveImageAndZip => "R's save.image() and zip",
            Self::ExecuteAmong(Table::Empty) => "execute 1+1, empty table",
            Self::ExecuteAmong(Table::Full) => "execute 1+1, many finished jobs",
            Self::ListAmong(Table::Empty) => "first page of GET /jobs, empty table",
            Self::ListAmong(Table::Full) => "first page of GET /jobs, many finished jobs",
            Self::ListOfFew(Table::Empty) => "the same of an owner of few, empty table",
            Self::ListOfFew(Table::Full) => "the same of an owner of few, many finished jobs",
            Self::ExecuteWith(1) => "execute 1+1, 3 nodes, 1 worker",
            Self::ExecuteWith(2) => "execute 1+1, 3 nodes, 2 workers",
            Self::ExecuteWith(_) => "execute 1+1, 3 nodes, 4 workers",
            Self::ReadJob(_) => "GET /jobs/{id}",
            Self::RefusedElsewhere => "revoke, until refused at another node",
            Self::WrongPassword => "sign-in, wrong password",
            Self::UnknownName => "sign-in, unknown name",
        }
    }

    /// Clients at the same moment; where parents are at work, all of them count as one.
    pub(super) const fn clients(self) -> usize {
        match self {
            Self::Execute(clients)
            | Self::FloorByRow(clients)
            | Self::FloorGrouped(clients)
            | Self::Add(clients)
            | Self::PlumberAdd(clients)
            | Self::Predict(clients)
            | Self::PlumberPredict(clients)
            | Self::ReadJob(clients) => clients,
            Self::ExecuteWith(_) => 48,
            _ => 1,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} at once", self.title(), self.clients())
    }
}

/// Where a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// Into a session.
    Up,
    /// Out of it.
    Down,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// A program whose memory is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Program {
    /// `warren-api`.
    Api,
    /// `warren-worker`.
    Worker,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Api => "API",
            Self::Worker => "worker",
        })
    }
}

/// Something that is no time: a row of the table of amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Quantity {
    /// Console text from R to the worker's door.
    Console,
    /// A file straight into the object store, or out of it.
    Store(Way),
    /// A file through Warren.
    File(Way),
    /// How much more memory a program has at most while a file goes through Warren.
    Growth(Program, Way),
    /// Memory of a call while it runs.
    Call,
    /// Records of a batch.
    Records,
    /// Memory of an R of its own.
    PlainR,
    /// Memory of a session that has answered once, so many alive.
    Idle(usize),
    /// Memory of a session that has fitted a model, so many alive.
    Fitted(usize),
    /// Median time that a node needs to authenticate a request, with so many clients.
    Authentication(usize),
    /// Requests with a revoked token that the node answers which revoked it.
    AcceptedHere,
}

impl Quantity {
    /// What it is counted in.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Console | Self::Store(_) | Self::File(_) => "MB/s",
            Self::Records => "/s",
            Self::Authentication(_) => "µs",
            Self::AcceptedHere => "requests",
            _ => "MB",
        }
    }

    /// What counts of all rounds: the median, or the worst of what must never be. None without a round.
    pub(super) fn over(self, rounds: &[f64]) -> Option<f64> {
        match self {
            Self::AcceptedHere => rounds.iter().copied().reduce(f64::max),
            _ => median(rounds),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Console => f.write_str("console text from R"),
            Self::Store(way) => write!(f, "file {way}, straight to the store"),
            Self::File(way) => write!(f, "file {way}"),
            Self::Growth(program, way) => write!(f, "growth of the {program}, file {way}"),
            Self::Call => f.write_str("call under way"),
            Self::Records => f.write_str("records of a batch of add"),
            Self::PlainR => f.write_str("R --vanilla, waiting"),
            Self::Idle(alive) => write!(f, "session after 1+1, {alive} alive"),
            Self::Fitted(alive) => write!(f, "session after an lm, {alive} alive"),
            Self::Authentication(1) => f.write_str("p50 of authentication, 1 client"),
            Self::Authentication(clients) => write!(f, "p50 of authentication, {clients} clients"),
            Self::AcceptedHere => f.write_str("answered at the same node after it (worst round)"),
        }
    }
}
