//! From JSON to a plan of the R value, without R: every refusal happens here.

use std::collections::HashMap;

use warren_rhost::session::RType;

use super::json::Json;

/// R's `NA_real_`: a NaN whose low word is 1954.
pub(crate) const NA_REAL: f64 = f64::from_bits(0x7FF0_0000_0000_07A2);
/// R's `NA_integer_` and `NA`.
pub(crate) const NA_INT: i32 = i32::MIN;

/// A string or `NA`.
type Text = Option<String>;

/// An R value yet to be made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plan {
    Null,
    Logical(Vec<i32>),
    Integer(Vec<i32>),
    Double(Vec<f64>),
    Character(Vec<Text>),
    List {
        items: Vec<Plan>,
        names: Option<Vec<String>>,
    },
    /// Data in column order.
    Matrix {
        data: Box<Plan>,
        rows: usize,
        columns: usize,
    },
    Frame {
        columns: Vec<(String, Plan)>,
        rows: usize,
    },
}

/// Plans an input. Without a declared type the JSON's own shape decides.
pub(crate) fn plan(json: Json, declared: Option<RType>) -> Result<Plan, String> {
    match (declared, json) {
        (None, json) => natural(json),
        (Some(_), Json::Null) => Ok(Plan::Null),
        (Some(RType::DataFrame), json) => frame(json),
        (Some(RType::Matrix), json) => matrix(json),
        (Some(RType::Vector), Json::Array(items)) => {
            if items.iter().all(Json::is_scalar) {
                Ok(vector(&items))
            } else {
                natural(Json::Array(items))
            }
        }
        (Some(RType::Vector), json) if json.is_scalar() => Ok(vector(&[json])),
        (Some(RType::Vector), json) => Err(format!("expected an array, not {}", json.kind())),
        (Some(scalar), Json::Array(items)) => typed(scalar, &items),
        (Some(scalar), json) => typed(scalar, &[json]),
    }
}

/// The value that the JSON looks like.
fn natural(json: Json) -> Result<Plan, String> {
    match json {
        Json::Null => Ok(Plan::Null),
        Json::Array(items) => array(items),
        Json::Object(members) => object(members),
        scalar => Ok(vector(&[scalar])),
    }
}

fn array(items: Vec<Json>) -> Result<Plan, String> {
    if items.is_empty() {
        return Ok(Plan::List {
            items: Vec::new(),
            names: None,
        });
    }
    if items.iter().all(Json::is_scalar) {
        return Ok(vector(&items));
    }
    if is_records(&items) {
        return records(&items);
    }
    let items = items
        .into_iter()
        .map(natural)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(rows_to_matrix(&items).unwrap_or(Plan::List { items, names: None }))
}

/// Equal-length columns are a data frame, anything else a named list.
fn object(members: Vec<(String, Json)>) -> Result<Plan, String> {
    if let Some(rows) = common_length(&members) {
        return columns(members, rows);
    }
    let (names, values): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    let items = values
        .into_iter()
        .map(natural)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Plan::List {
        items,
        names: Some(names),
    })
}

fn common_length(members: &[(String, Json)]) -> Option<usize> {
    let mut common = None;
    for (_, value) in members {
        match value {
            Json::Array(items) if items.iter().all(Json::is_scalar) => match common {
                None => common = Some(items.len()),
                Some(rows) if rows == items.len() => {}
                Some(_) => return None,
            },
            _ => return None,
        }
    }
    common
}

fn frame(json: Json) -> Result<Plan, String> {
    match json {
        Json::Object(members) => {
            let members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| (name, as_column(value)))
                .collect();
            for (name, value) in &members {
                let Json::Array(items) = value else { continue };
                if let Some(item) = items.iter().find(|item| !item.is_scalar()) {
                    return Err(format!("column `{name}` holds {}", item.kind()));
                }
            }
            let rows = even_length(&members)?;
            columns(members, rows)
        }
        Json::Array(items) if items.is_empty() => Ok(Plan::Frame {
            columns: Vec::new(),
            rows: 0,
        }),
        Json::Array(items) if is_records(&items) => records(&items),
        Json::Array(_) => {
            Err("expected an object of columns or an array of flat objects".to_owned())
        }
        other => Err(format!(
            "expected an object of columns, not {}",
            other.kind()
        )),
    }
}

fn as_column(value: Json) -> Json {
    match value {
        Json::Array(items) => Json::Array(items),
        single => Json::Array(vec![single]),
    }
}

fn even_length(members: &[(String, Json)]) -> Result<usize, String> {
    let length = |value: &Json| {
        if let Json::Array(items) = value {
            items.len()
        } else {
            1
        }
    };
    let Some((first, value)) = members.first() else {
        return Ok(0);
    };
    let rows = length(value);
    for (name, value) in members {
        let found = length(value);
        if found != rows {
            return Err(format!(
                "column `{name}` has {found} rows, but `{first}` has {rows}"
            ));
        }
    }
    Ok(rows)
}

fn columns(members: Vec<(String, Json)>, rows: usize) -> Result<Plan, String> {
    let mut columns = Vec::with_capacity(members.len());
    for (name, value) in members {
        let Json::Array(items) = value else {
            return Err(format!("column `{name}` is {}", value.kind()));
        };
        columns.push((name, vector(&items)));
    }
    Ok(Plan::Frame { columns, rows })
}

/// One flat object a row: `[{"hp":120,"wt":2.8}]`.
fn is_records(items: &[Json]) -> bool {
    !items.is_empty()
        && items.iter().all(|item| match item {
            Json::Object(members) => {
                !members.is_empty() && members.iter().all(|(_, value)| value.is_scalar())
            }
            _ => false,
        })
}

/// Columns in the order of their first mention; what a row does not mention is `NA`.
fn records(items: &[Json]) -> Result<Plan, String> {
    let mut index: HashMap<&str, usize> = HashMap::new();
    let mut columns: Vec<(String, Vec<Json>)> = Vec::new();
    for (row, item) in items.iter().enumerate() {
        let Json::Object(members) = item else {
            return Err(format!("row {} is {}", row + 1, item.kind()));
        };
        for (name, value) in members {
            let at = *index.entry(name).or_insert_with(|| {
                columns.push((name.clone(), Vec::with_capacity(items.len())));
                columns.len() - 1
            });
            let column = &mut columns[at].1;
            if column.len() > row {
                return Err(format!("row {} names column `{name}` twice", row + 1));
            }
            column.resize(row, Json::Null);
            column.push(value.clone());
        }
    }
    let rows = items.len();
    let columns = columns
        .into_iter()
        .map(|(name, mut values)| {
            values.resize(rows, Json::Null);
            (name, vector(&values))
        })
        .collect();
    Ok(Plan::Frame { columns, rows })
}

fn matrix(json: Json) -> Result<Plan, String> {
    let Json::Array(items) = json else {
        return Err(format!("expected an array of rows, not {}", json.kind()));
    };
    let mut rows = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let Json::Array(row) = item else {
            return Err(format!("row {} is {}, not an array", at + 1, item.kind()));
        };
        if let Some(bad) = row.iter().find(|value| !value.is_scalar()) {
            return Err(format!("row {} holds {}", at + 1, bad.kind()));
        }
        rows.push(row);
    }
    let columns = rows.first().map_or(0, Vec::len);
    if let Some(at) = rows.iter().position(|row| row.len() != columns) {
        let found = rows[at].len();
        return Err(format!(
            "row {} has {found} values, but row 1 has {columns}",
            at + 1
        ));
    }
    let count = rows.len();
    let flat: Vec<Json> = (0..columns)
        .flat_map(|column| rows.iter().map(move |row| row[column].clone()))
        .collect();
    let data = if flat.is_empty() {
        Plan::Logical(Vec::new())
    } else {
        vector(&flat)
    };
    Ok(Plan::Matrix {
        data: Box::new(data),
        rows: count,
        columns,
    })
}

/// Rows of one type and one length are a matrix.
fn rows_to_matrix(items: &[Plan]) -> Option<Plan> {
    fn flatten<T: Clone>(rows: &[&Vec<T>]) -> Vec<T> {
        let columns = rows.first().map_or(0, |row| row.len());
        (0..columns)
            .flat_map(|column| rows.iter().map(move |row| row[column].clone()))
            .collect()
    }
    macro_rules! all_rows {
        ($kind:ident) => {{
            let rows: Vec<&Vec<_>> = items
                .iter()
                .map(|item| {
                    if let Plan::$kind(row) = item {
                        Some(row)
                    } else {
                        None
                    }
                })
                .collect::<Option<_>>()?;
            let columns = rows[0].len();
            if rows.iter().any(|row| row.len() != columns) {
                return None;
            }
            Some(Plan::Matrix {
                rows: rows.len(),
                columns,
                data: Box::new(Plan::$kind(flatten(&rows))),
            })
        }};
    }
    // A row of nulls is logical by itself and must not keep `[[1,2],[null,null]]` from being a matrix.
    let mut raised;
    let items = match items.iter().find(|item| !is_all_na(item)) {
        Some(Plan::Double(_)) => {
            raised = items.to_vec();
            raise_na_rows(&mut raised);
            &raised
        }
        _ => items,
    };
    match items.first()? {
        Plan::Double(_) => all_rows!(Double),
        Plan::Logical(_) => all_rows!(Logical),
        Plan::Character(_) => all_rows!(Character),
        _ => None,
    }
}

fn is_all_na(item: &Plan) -> bool {
    matches!(item, Plan::Logical(values) if values.iter().all(|value| *value == NA_INT))
}

fn raise_na_rows(items: &mut [Plan]) {
    for item in items {
        if is_all_na(item)
            && let Plan::Logical(values) = item
        {
            *item = Plan::Double(vec![NA_REAL; values.len()]);
        }
    }
}

/// An atomic vector of scalars: one type if they share it, text if they do not.
fn vector(items: &[Json]) -> Plan {
    let mut booleans = false;
    let mut numbers = false;
    let mut words = false;
    let mut specials = false;
    for item in items {
        match item {
            Json::Bool(_) => booleans = true,
            Json::Number(_) => numbers = true,
            Json::String(text) if special(text).is_some() => specials = true,
            Json::String(_) => words = true,
            _ => {}
        }
    }
    match (booleans, numbers, words) {
        // Only beside a number is "NaN" a number: a lone "NA" is a word.
        (false, true, false) => Plan::Double(items.iter().map(as_double).collect()),
        (_, false, false) if !specials => Plan::Logical(items.iter().map(as_logical).collect()),
        (true, false, false) if specials && items.iter().all(is_logical) => {
            Plan::Logical(items.iter().map(as_logical).collect())
        }
        _ => Plan::Character(items.iter().map(as_text).collect()),
    }
}

fn is_logical(item: &Json) -> bool {
    match item {
        Json::Bool(_) | Json::Null => true,
        Json::String(text) => text == "NA",
        _ => false,
    }
}

fn as_logical(item: &Json) -> i32 {
    match item {
        Json::Bool(value) => i32::from(*value),
        _ => NA_INT,
    }
}

fn as_double(item: &Json) -> f64 {
    match item {
        Json::Number(value) => *value,
        Json::String(text) => special(text).unwrap_or(NA_REAL),
        _ => NA_REAL,
    }
}

fn as_text(item: &Json) -> Option<String> {
    match item {
        Json::Bool(true) => Some("TRUE".to_owned()),
        Json::Bool(false) => Some("FALSE".to_owned()),
        Json::Number(value) => Some(value.to_string()),
        Json::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// Every spelling of a number that JSON cannot write (contract 8.3).
fn special(text: &str) -> Option<f64> {
    match text {
        "NA" => Some(NA_REAL),
        "NaN" => Some(f64::NAN),
        "Inf" | "+Inf" | "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Inf" | "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn typed(declared: RType, items: &[Json]) -> Result<Plan, String> {
    match declared {
        RType::Logical => all(items, "logical", logical_of).map(Plan::Logical),
        RType::Integer => all(items, "integer", integer_of).map(Plan::Integer),
        RType::Numeric => all(items, "numeric", double_of).map(Plan::Double),
        _ => all(items, "character", character_of).map(Plan::Character),
    }
}

fn all<T>(items: &[Json], wanted: &str, read: fn(&Json) -> Option<T>) -> Result<Vec<T>, String> {
    items
        .iter()
        .map(|item| {
            read(item).ok_or_else(|| match item {
                Json::Number(value) => format!("expected {wanted}, not the number {value}"),
                Json::String(text) => format!("expected {wanted}, not the string {text:?}"),
                other => format!("expected {wanted}, not {}", other.kind()),
            })
        })
        .collect()
}

fn logical_of(item: &Json) -> Option<i32> {
    is_logical(item).then(|| as_logical(item))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked first"
)]
fn integer_of(item: &Json) -> Option<i32> {
    match item {
        Json::Null => Some(NA_INT),
        Json::String(text) if text == "NA" => Some(NA_INT),
        Json::Number(value) if value.fract() == 0.0 && value.abs() <= f64::from(i32::MAX) => {
            Some(*value as i32)
        }
        _ => None,
    }
}

fn double_of(item: &Json) -> Option<f64> {
    match item {
        Json::Null => Some(NA_REAL),
        Json::Number(value) => Some(*value),
        Json::String(text) => special(text),
        _ => None,
    }
}

fn character_of(item: &Json) -> Option<Text> {
    match item {
        Json::Null => Some(None),
        Json::String(text) => Some(Some(text.clone())),
        _ => None,
    }
}
