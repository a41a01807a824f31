//! What a house has recorded of who did what.

use serde_json::Value;

use crate::{House, wait};

/// The fields of a record, as texts: event, outcome, status, name and target.
pub type Record = [String; 5];

/// The records in the order they were made, once there are `count`.
///
/// # Panics
///
/// When there are never that many.
pub async fn records(house: &House, count: usize) -> Vec<Record> {
    asked(house, "true", count).await
}

/// Event and target of the records with that name, once there are `count`.
///
/// # Panics
///
/// When there are never that many.
pub async fn records_by(house: &House, name: &str, count: usize) -> Vec<String> {
    let records = asked(house, &format!("name = '{name}'"), count).await;
    let records = records.into_iter();
    let said = records.map(|[event, _outcome, _status, _name, target]| format!("{event} {target}"));
    said.collect()
}

async fn asked(house: &House, which: &str, count: usize) -> Vec<Record> {
    const FIELDS: [&str; 5] = ["event", "outcome", "status", "name", "target"];
    let query =
        format!("SELECT coalesce(json_agg(a ORDER BY id), '[]') FROM audit a WHERE {which}");
    let rows = wait::until("the records are there", async || {
        let rows = house.sql_value(&query).await;
        let rows: Vec<Value> = serde_json::from_str(&rows).expect("it is JSON");
        (rows.len() >= count).then_some(rows)
    })
    .await;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let record = |row: &Value| FIELDS.map(|field| text(&row[field]));
    rows.iter().map(record).collect()
}
