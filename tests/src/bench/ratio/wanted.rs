//! The ratios that are wanted, and where they should be.

use super::super::figure::{Figure, Program, Quantity, Table, Way};
use super::Bound;
use super::Term::{self, Amount, Longest, P50, Rate, Unit};

/// 32 MiB in megabytes.
const MIB_32: f64 = 33.554_432;

/// Title, what is divided, by what, and where it should be.
pub(super) type Wanted = (&'static str, Term, Term, Bound);

/// In the order of the report.
pub(super) const WANTED: [Wanted; 42] = [
    (
        "rate of fork, 1+1, end / bare fork, all parents",
        Rate(Figure::Lives),
        Rate(Figure::BareLives),
        Bound::AtLeast(0.6),
    ),
    (
        "p50 of fork on demand + 1+1 / bare fork",
        P50(Figure::Fork),
        P50(Figure::BareFork),
        Bound::AtMost(2.0),
    ),
    (
        "p50 of the first 1+1 of a ready child, ms",
        P50(Figure::FirstAnswer),
        Unit,
        Bound::AtMost(0.5),
    ),
    (
        "p50 of a warm 1+1, ms",
        P50(Figure::WarmAnswer),
        Unit,
        Bound::AtMost(0.15),
    ),
    (
        "p50 of R to JSON, ms",
        P50(Figure::ToJson),
        Unit,
        Bound::AtMost(1000.0),
    ),
    (
        "p50 of JSON to R, ms",
        P50(Figure::FromJson),
        Unit,
        Bound::AtMost(1000.0),
    ),
    (
        "p50 of R to JSON / jsonlite",
        P50(Figure::ToJson),
        P50(Figure::JsonliteTo),
        Bound::AtMost(1.0),
    ),
    (
        "p50 of JSON to R / jsonlite",
        P50(Figure::FromJson),
        P50(Figure::JsonliteFrom),
        Bound::AtMost(1.0),
    ),
    (
        "console text, MB/s",
        Amount(Quantity::Console),
        Unit,
        Bound::AtLeast(50.0),
    ),
    (
        "memory of an idle session / plain R, 10 alive",
        Amount(Quantity::Idle(10)),
        Amount(Quantity::PlainR),
        Bound::AtMost(1.0 / 40.0),
    ),
    (
        "memory of an idle session / plain R, 100 alive",
        Amount(Quantity::Idle(100)),
        Amount(Quantity::PlainR),
        Bound::AtMost(1.0 / 40.0),
    ),
    (
        "memory after an lm / plain R, 10 alive",
        Amount(Quantity::Fitted(10)),
        Amount(Quantity::PlainR),
        Bound::AtMost(1.0 / 10.0),
    ),
    (
        "memory after an lm / plain R, 100 alive",
        Amount(Quantity::Fitted(100)),
        Amount(Quantity::PlainR),
        Bound::AtMost(1.0 / 10.0),
    ),
    (
        "p50 of open session / start R",
        P50(Figure::Open),
        P50(Figure::StartR),
        Bound::AtMost(1.0 / 50.0),
    ),
    (
        "p50 of open session + first 1+1 / start R",
        P50(Figure::OpenAndExecute),
        P50(Figure::StartR),
        Bound::AtMost(1.0 / 50.0),
    ),
    (
        "p50 of execute / floor row by row, 1 client",
        P50(Figure::Execute(1)),
        P50(Figure::FloorByRow(1)),
        Bound::AtMost(1.3),
    ),
    (
        "rate of execute / floor row by row, 16 clients",
        Rate(Figure::Execute(16)),
        Rate(Figure::FloorByRow(16)),
        Bound::AtLeast(0.75),
    ),
    (
        "rate of execute / floor grouped, 64 clients (next goal)",
        Rate(Figure::Execute(64)),
        Rate(Figure::FloorGrouped(64)),
        Bound::AtLeast(0.6),
    ),
    (
        "rate of call add / plumber, 16 clients",
        Rate(Figure::Add(16)),
        Rate(Figure::PlumberAdd(16)),
        Bound::AtLeast(2.5),
    ),
    (
        "rate of call add / plumber, 64 clients",
        Rate(Figure::Add(64)),
        Rate(Figure::PlumberAdd(64)),
        Bound::AtLeast(3.5),
    ),
    (
        "rate of call predict / plumber, 16 clients",
        Rate(Figure::Predict(16)),
        Rate(Figure::PlumberPredict(16)),
        Bound::AtLeast(1.25),
    ),
    (
        "p50 of call add / plumber, 1 client",
        P50(Figure::Add(1)),
        P50(Figure::PlumberAdd(1)),
        Bound::AtMost(0.9),
    ),
    (
        "p50 of call predict / plumber, 1 client",
        P50(Figure::Predict(1)),
        P50(Figure::PlumberPredict(1)),
        Bound::AtMost(0.9),
    ),
    (
        "p50 of a call with a model of 200 MB / call add, 1 client",
        P50(Figure::CallLarge),
        P50(Figure::Add(1)),
        Bound::AtMost(4.0),
    ),
    (
        "records of a batch / rate of call add, 16 clients",
        Amount(Quantity::Records),
        Rate(Figure::Add(16)),
        Bound::AtLeast(1.0),
    ),
    (
        "throughput of a file up / PUT to the store",
        Amount(Quantity::File(Way::Up)),
        Amount(Quantity::Store(Way::Up)),
        Bound::AtLeast(0.4),
    ),
    (
        "throughput of a file down / GET from the store",
        Amount(Quantity::File(Way::Down)),
        Amount(Quantity::Store(Way::Down)),
        Bound::AtLeast(0.4),
    ),
    (
        "growth of the API, file up, MB",
        Amount(Quantity::Growth(Program::Api, Way::Up)),
        Unit,
        Bound::AtMost(MIB_32),
    ),
    (
        "growth of the API, file down, MB",
        Amount(Quantity::Growth(Program::Api, Way::Down)),
        Unit,
        Bound::AtMost(MIB_32),
    ),
    (
        "growth of the worker, file up, MB",
        Amount(Quantity::Growth(Program::Worker, Way::Up)),
        Unit,
        Bound::AtMost(MIB_32),
    ),
    (
        "growth of the worker, file down, MB",
        Amount(Quantity::Growth(Program::Worker, Way::Down)),
        Unit,
        Bound::AtMost(MIB_32),
    ),
    (
        "p50 of execute, 1,000 sessions open / one",
        P50(Figure::ExecuteBeside(1000)),
        P50(Figure::ExecuteBeside(1)),
        Bound::AtMost(2.0),
    ),
    (
        "create and load snapshot / R's save and load + copies",
        P50(Figure::CreateAndLoadSnapshot),
        P50(Figure::SaveLoadAndCopy),
        Bound::AtMost(1.5),
    ),
    (
        "R's save.image() and zip / create snapshot",
        P50(Figure::SaveImageAndZip),
        P50(Figure::CreateSnapshot),
        Bound::AtLeast(5.0),
    ),
    (
        "p50 of execute, many finished jobs / empty table",
        P50(Figure::ExecuteAmong(Table::Full)),
        P50(Figure::ExecuteAmong(Table::Empty)),
        Bound::AtMost(1.2),
    ),
    (
        "p50 of the first page of GET /jobs, many finished jobs / empty table",
        P50(Figure::ListAmong(Table::Full)),
        P50(Figure::ListAmong(Table::Empty)),
        Bound::AtMost(1.2),
    ),
    (
        "p50 of the same of an owner of few, many finished jobs / empty table",
        P50(Figure::ListOfFew(Table::Full)),
        P50(Figure::ListOfFew(Table::Empty)),
        Bound::AtMost(1.2),
    ),
    (
        "p50 of authentication, 1 client, µs",
        Amount(Quantity::Authentication(1)),
        Unit,
        Bound::AtMost(50.0),
    ),
    (
        "p50 of authentication, 16 clients, µs",
        Amount(Quantity::Authentication(16)),
        Unit,
        Bound::AtMost(50.0),
    ),
    (
        "longest until a revoked token is refused at another node, ms",
        Longest(Figure::RefusedElsewhere),
        Unit,
        Bound::AtMost(1000.0),
    ),
    (
        "requests with it that the same node answers afterwards",
        Amount(Quantity::AcceptedHere),
        Unit,
        Bound::AtMost(0.0),
    ),
    (
        "p50 of a refused sign-in, unknown name / wrong password",
        P50(Figure::UnknownName),
        P50(Figure::WrongPassword),
        Bound::Between(0.8, 1.25),
    ),
];
