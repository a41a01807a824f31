//! From JSON to a plan of the R value, without R: every refusal happens here.

use std::borrow::Cow;

use warren_rhost::session::RType;

use super::json::Json;
use super::table::{frame, is_records, matrix, records, rows_to_matrix};

/// R's `NA_real_`: a NaN whose low word is 1954.
pub(crate) const NA_REAL: f64 = f64::from_bits(0x7FF0_0000_0000_07A2);
/// R's `NA_integer_` and `NA`.
pub(crate) const NA_INT: i32 = i32::MIN;

/// A string or `NA`.
type Text<'a> = Option<Cow<'a, str>>;

/// An R value yet to be made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plan<'a> {
    Null,
    Logical(Vec<i32>),
    Integer(Vec<i32>),
    Double(Vec<f64>),
    Character(Vec<Text<'a>>),
    List {
        items: Vec<Plan<'a>>,
        names: Option<Vec<Cow<'a, str>>>,
    },
    /// Data in column order.
    Matrix {
        data: Box<Plan<'a>>,
        rows: usize,
        columns: usize,
    },
    Frame {
        columns: Vec<(Cow<'a, str>, Plan<'a>)>,
        rows: usize,
    },
}

/// Plans an input. Without a declared type the JSON's own shape decides.
pub(crate) fn plan(json: Json<'_>, declared: Option<RType>) -> Result<Plan<'_>, String> {
    match (declared, json) {
        (None, json) => natural(json),
        (Some(_), Json::Null) => Ok(Plan::Null),
        (Some(RType::DataFrame), json) => frame(json),
        (Some(RType::Matrix), json) => matrix(json),
        (Some(RType::Vector), Json::Array(items)) => {
            if items.iter().all(Json::is_scalar) {
                Ok(vector(items))
            } else {
                natural(Json::Array(items))
            }
        }
        (Some(RType::Vector), json) if json.is_scalar() => Ok(vector(vec![json])),
        (Some(RType::Vector), json) => Err(format!("expected an array, not {}", json.kind())),
        (Some(scalar), Json::Array(items)) => typed(scalar, items),
        (Some(scalar), json) => typed(scalar, vec![json]),
    }
}

/// The value that the JSON looks like.
fn natural(json: Json<'_>) -> Result<Plan<'_>, String> {
    match json {
        Json::Null => Ok(Plan::Null),
        Json::Array(items) => array(items),
        Json::Object(members) => object(members),
        scalar => Ok(vector(vec![scalar])),
    }
}

fn array(items: Vec<Json<'_>>) -> Result<Plan<'_>, String> {
    if items.is_empty() {
        return Ok(Plan::List {
            items: Vec::new(),
            names: None,
        });
    }
    if items.iter().all(Json::is_scalar) {
        return Ok(vector(items));
    }
    if is_records(&items) {
        return records(items);
    }
    let items = items
        .into_iter()
        .map(natural)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(rows_to_matrix(&items).unwrap_or(Plan::List { items, names: None }))
}

/// Equal-length columns are a data frame, anything else a named list.
fn object<'a>(members: Vec<(Cow<'a, str>, Json<'a>)>) -> Result<Plan<'a>, String> {
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

fn common_length(members: &[(Cow<'_, str>, Json<'_>)]) -> Option<usize> {
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

pub(super) fn columns<'a>(
    members: Vec<(Cow<'a, str>, Json<'a>)>,
    rows: usize,
) -> Result<Plan<'a>, String> {
    let mut columns = Vec::with_capacity(members.len());
    for (name, value) in members {
        let Json::Array(items) = value else {
            return Err(format!("column `{name}` is {}", value.kind()));
        };
        columns.push((name, vector(items)));
    }
    Ok(Plan::Frame { columns, rows })
}

/// An atomic vector of scalars: one type if they share it, text if they do not.
pub(super) fn vector(items: Vec<Json<'_>>) -> Plan<'_> {
    let mut booleans = false;
    let mut numbers = false;
    let mut words = false;
    let mut specials = false;
    for item in &items {
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
        _ => Plan::Character(items.into_iter().map(as_text).collect()),
    }
}

fn is_logical(item: &Json<'_>) -> bool {
    match item {
        Json::Bool(_) | Json::Null => true,
        Json::String(text) => text == "NA",
        _ => false,
    }
}

fn as_logical(item: &Json<'_>) -> i32 {
    match item {
        Json::Bool(value) => i32::from(*value),
        _ => NA_INT,
    }
}

fn as_double(item: &Json<'_>) -> f64 {
    match item {
        Json::Number(value) => *value,
        Json::String(text) => special(text).unwrap_or(NA_REAL),
        _ => NA_REAL,
    }
}

fn as_text(item: Json<'_>) -> Text<'_> {
    match item {
        Json::Bool(true) => Some(Cow::Borrowed("TRUE")),
        Json::Bool(false) => Some(Cow::Borrowed("FALSE")),
        Json::Number(value) => Some(Cow::Owned(value.to_string())),
        Json::String(text) => Some(text),
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

fn typed(declared: RType, items: Vec<Json<'_>>) -> Result<Plan<'_>, String> {
    match declared {
        RType::Logical => all(&items, "logical", logical_of).map(Plan::Logical),
        RType::Integer => all(&items, "integer", integer_of).map(Plan::Integer),
        RType::Numeric => all(&items, "numeric", double_of).map(Plan::Double),
        _ => {
            all(&items, "character", |item| is_character(item).then_some(()))?;
            Ok(Plan::Character(items.into_iter().map(as_text).collect()))
        }
    }
}

fn all<T>(
    items: &[Json<'_>],
    wanted: &str,
    read: fn(&Json<'_>) -> Option<T>,
) -> Result<Vec<T>, String> {
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

fn logical_of(item: &Json<'_>) -> Option<i32> {
    is_logical(item).then(|| as_logical(item))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked first"
)]
fn integer_of(item: &Json<'_>) -> Option<i32> {
    match item {
        Json::Null => Some(NA_INT),
        Json::String(text) if text == "NA" => Some(NA_INT),
        Json::Number(value) if value.fract() == 0.0 && value.abs() <= f64::from(i32::MAX) => {
            Some(*value as i32)
        }
        _ => None,
    }
}

fn double_of(item: &Json<'_>) -> Option<f64> {
    match item {
        Json::Null => Some(NA_REAL),
        Json::Number(value) => Some(*value),
        Json::String(text) => special(text),
        _ => None,
    }
}

fn is_character(item: &Json<'_>) -> bool {
    matches!(item, Json::Null | Json::String(_))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn planned(text: &str, declared: Option<RType>) -> Result<Plan<'_>, String> {
        plan(Json::parse(text)?, declared)
    }

    #[test]
    fn columns_keep_their_order_and_missing_fields_are_na() {
        let expected = Plan::Frame {
            columns: vec![
                ("b".into(), Plan::Character(vec![Some("x".into()), None])),
                ("a".into(), Plan::Logical(vec![NA_INT, 1])),
            ],
            rows: 2,
        };
        assert_eq!(planned(r#"[{"b":"x"},{"a":true}]"#, None), Ok(expected));
    }

    #[test]
    fn ragged_columns_are_refused_by_name() {
        let message = planned(r#"{"a":[1],"b":[1,2]}"#, Some(RType::DataFrame)).unwrap_err();
        assert_eq!(message, "column `b` has 2 rows, but `a` has 1");
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert!(planned(&deep, None).is_err());
    }

    fn any_json() -> impl Strategy<Value = Json<'static>> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<f64>().prop_map(Json::Number),
            "NA|NaN|-?Inf|.{0,3}".prop_map(|text| Json::String(text.into())),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
                prop::collection::vec(("[ab]{0,2}".prop_map(Cow::Owned), inner), 0..5)
                    .prop_map(Json::Object),
            ]
        })
    }

    fn any_type() -> impl Strategy<Value = Option<RType>> {
        prop::sample::select(vec![
            None,
            Some(RType::Logical),
            Some(RType::Numeric),
            Some(RType::Integer),
            Some(RType::Character),
            Some(RType::Vector),
            Some(RType::Matrix),
            Some(RType::DataFrame),
        ])
    }

    fn length(plan: &Plan<'_>) -> usize {
        match plan {
            Plan::Null => 0,
            Plan::Logical(values) | Plan::Integer(values) => values.len(),
            Plan::Double(values) => values.len(),
            Plan::Character(values) => values.len(),
            Plan::List { items, .. } => items.len(),
            Plan::Matrix { rows, columns, .. } => rows * columns,
            Plan::Frame { rows, .. } => *rows,
        }
    }

    /// What `build` relies on.
    fn is_sound(plan: &Plan<'_>) -> bool {
        match plan {
            Plan::List { items, names } => {
                items.iter().all(is_sound)
                    && names
                        .as_ref()
                        .is_none_or(|names| names.len() == items.len())
            }
            Plan::Matrix {
                data,
                rows,
                columns,
            } => length(data) == rows * columns,
            Plan::Frame { columns, rows } => {
                columns.iter().all(|(_, column)| length(column) == *rows)
            }
            _ => true,
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_planned_soundly_or_refused(json in any_json(), declared in any_type()) {
            if let Ok(plan) = plan(json, declared) {
                prop_assert!(is_sound(&plan), "{plan:?}");
            }
        }

        #[test]
        fn text_that_is_no_json_is_refused_without_harm(text in ".{0,64}", declared in any_type()) {
            let _ = planned(&text, declared);
        }
    }
}
