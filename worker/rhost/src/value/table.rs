//! Data frames and matrices among the plans: what has rows.

use std::borrow::Cow;
use std::collections::HashMap;

use super::json::Json;
use super::plan::{NA_INT, NA_REAL, Plan, columns, vector};

pub(super) fn frame(json: Json<'_>) -> Result<Plan<'_>, String> {
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
        Json::Array(items) if is_records(&items) => records(items),
        Json::Array(_) => {
            Err("expected an object of columns or an array of flat objects".to_owned())
        }
        other => Err(format!(
            "expected an object of columns, not {}",
            other.kind()
        )),
    }
}

fn as_column(value: Json<'_>) -> Json<'_> {
    match value {
        Json::Array(items) => Json::Array(items),
        single => Json::Array(vec![single]),
    }
}

fn even_length(members: &[(Cow<'_, str>, Json<'_>)]) -> Result<usize, String> {
    let length = |value: &Json<'_>| {
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

/// One flat object a row: `[{"hp":120,"wt":2.8}]`.
pub(super) fn is_records(items: &[Json<'_>]) -> bool {
    !items.is_empty()
        && items.iter().all(|item| match item {
            Json::Object(members) => {
                !members.is_empty() && members.iter().all(|(_, value)| value.is_scalar())
            }
            _ => false,
        })
}

/// Columns in the order of their first mention; what a row does not mention is `NA`.
pub(super) fn records(items: Vec<Json<'_>>) -> Result<Plan<'_>, String> {
    let rows = items.len();
    let mut index: HashMap<Cow<'_, str>, usize> = HashMap::new();
    let mut columns: Vec<(Cow<'_, str>, Vec<Json<'_>>)> = Vec::new();
    for (row, item) in items.into_iter().enumerate() {
        let Json::Object(members) = item else {
            return Err(format!("row {} is {}", row + 1, item.kind()));
        };
        for (name, value) in members {
            let at = *index.entry(name).or_insert_with_key(|name| {
                columns.push((name.clone(), Vec::with_capacity(rows)));
                columns.len() - 1
            });
            let (name, column) = &mut columns[at];
            if column.len() > row {
                return Err(format!("row {} names column `{name}` twice", row + 1));
            }
            column.resize(row, Json::Null);
            column.push(value);
        }
    }
    let columns = columns
        .into_iter()
        .map(|(name, mut values)| {
            values.resize(rows, Json::Null);
            (name, vector(values))
        })
        .collect();
    Ok(Plan::Frame { columns, rows })
}

pub(super) fn matrix(json: Json<'_>) -> Result<Plan<'_>, String> {
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
    let flat: Vec<Json<'_>> = (0..columns)
        .flat_map(|column| rows.iter().map(move |row| row[column].clone()))
        .collect();
    let data = if flat.is_empty() {
        Plan::Logical(Vec::new())
    } else {
        vector(flat)
    };
    Ok(Plan::Matrix {
        data: Box::new(data),
        rows: count,
        columns,
    })
}

/// Rows of one type and one length are a matrix.
pub(super) fn rows_to_matrix<'a>(items: &[Plan<'a>]) -> Option<Plan<'a>> {
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

fn is_all_na(item: &Plan<'_>) -> bool {
    matches!(item, Plan::Logical(values) if values.iter().all(|value| *value == NA_INT))
}

fn raise_na_rows(items: &mut [Plan<'_>]) {
    for item in items {
        if is_all_na(item)
            && let Plan::Logical(values) = item
        {
            *item = Plan::Double(vec![NA_REAL; values.len()]);
        }
    }
}
