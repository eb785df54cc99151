//! How commands print: tables for people, JSON for programs.

use std::io::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use sagabox_engine::model::Timestamp;
use serde::Serialize;

pub use crate::figures::grouped;
use crate::json::Json;

/// Pretty JSON; what is text within it stays as it is. A reader that closed the pipe has
/// seen enough.
pub fn json(value: &impl Serialize) {
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A table of these members of each row. Numbers stand to the right.
pub fn table(columns: &[&str], rows: &[Json]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|column| column.replace('_', " ")));
    for row in rows {
        table.add_row(columns.iter().map(|column| cell(column, row.get(*column))));
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(formatted) = table.column_mut(index) {
            formatted.set_padding((0, 2));
            if rows.iter().any(|row| row.get(*column).is_some_and(Json::is_number)) {
                formatted.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

/// A member's value for people.
pub fn cell(name: &str, value: Option<&Json>) -> String {
    match value {
        None | Some(Json::Null) => "-".to_owned(),
        Some(Json::String(text)) => text.clone(),
        Some(Json::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(Json::Number(number)) => match number.as_u64() {
            Some(millis) if is_time(name) => Timestamp(millis).to_rfc3339(),
            // Names of things are not amounts.
            Some(id) if matches!(name, "id" | "position") => id.to_string(),
            Some(count) => grouped(count),
            None => number.to_string(),
        },
        // An event; a person wants to know which.
        Some(Json::Text(event)) if name == "event" => {
            let event = Json::parse(event.as_bytes()).unwrap_or_default();
            cell("type", event.get("type"))
        }
        Some(Json::Array(items)) => {
            items.iter().map(|item| cell(name, Some(item))).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

fn is_time(name: &str) -> bool {
    name == "at" || name.ends_with("_at")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = [crate::json::json!({"name": "a", "n": 1}), crate::json::json!({"name": "bcd"})];
        let lines: Vec<_> = table(&["name", "n"], &rows).lines().map(str::to_owned).collect();
        assert_eq!(lines, ["name  n", "a     1", "bcd   -"]);
    }
}
