//! How commands print: tables for people, JSON for programs, and never a control sequence for
//! the terminal.

use std::fmt;
use std::io::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use sagabox_engine::model::Timestamp;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::log;
pub(crate) use crate::io::figures::{counted, grouped};
pub(crate) use crate::io::indent::indented;
use crate::io::printable::{printable, printable_json, printable_lines};

/// The members of a JSON object, in their order and as they are written. They are not parsed,
/// because an event's data may have numbers that no type can hold.
#[derive(Debug, Default)]
pub(crate) struct Row(Vec<(String, Box<RawValue>)>);

impl Row {
    /// # Panics
    /// If the value is not an object.
    pub(crate) fn of(object: &impl Serialize) -> Self {
        let json = serde_json::to_string(object).expect("rows have only string keys");
        serde_json::from_str(&json).expect("a row is an object")
    }

    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), &**value))
    }

    /// The list of objects with this name; empty if there is none.
    pub(crate) fn rows(&self, name: &str) -> Vec<Self> {
        self.get(name).and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default()
    }

    /// The object with this name; none if it is absent or null.
    pub(crate) fn object(&self, name: &str) -> Option<Self> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The list of values with this name; empty if there is none.
    pub(crate) fn items(&self, name: &str) -> Vec<Box<RawValue>> {
        self.get(name).and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default()
    }

    /// Makes members of those of its `fields` that a table shows. They are shown as conditions
    /// write them: `true` and `12345` stay as they are.
    pub(crate) fn lift_fields(&mut self, shown: &[&str]) {
        let Some(fields) = self.object("fields") else { return };
        for (name, value) in fields.0 {
            if shown.contains(&name.as_str()) && self.get(&name).is_none() {
                let is_bare = !matches!(value.get().as_bytes().first(), Some(b'"' | b'n'));
                let text = is_bare.then(|| serde_json::value::to_raw_value(value.get()).ok());
                self.0.push((name, text.flatten().unwrap_or(value)));
            }
        }
    }

    /// A member's value for people.
    pub(crate) fn cell(&self, name: &str) -> String {
        cell(name, self.get(name))
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Row(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Prints indented JSON. If the reader has closed the pipe, that is not an error.
pub(crate) fn json(value: &impl Serialize) {
    json_text(&serde_json::to_string(value).unwrap_or_default());
}

/// Prints a JSON text, indented and otherwise unchanged.
pub(crate) fn json_text(json: &str) {
    raw(&printable_json(&indented(json)));
}

/// Prints JSON on one line, as it is.
pub(crate) fn json_line(json: &str) {
    raw(&printable_json(json));
}

/// The indented text of a JSON value.
pub(crate) fn json_of(part: &RawValue) -> String {
    printable_json(&indented(part.get())).into_owned()
}

/// Prints a text of one or more lines.
pub(crate) fn line(text: &str) {
    raw(&printable_lines(text));
}

/// Prints one line with text from outside, escaped.
pub(crate) fn data(text: &str) {
    raw(&printable(text));
}

pub(crate) fn raw(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a note on standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

pub(crate) fn warning(text: &str) {
    match log::is_json() {
        true => tracing::warn!("{text}"),
        false => note(&format!("warning: {text}")),
    }
}

/// Prints an error. Its further lines are indented, so that none looks like a line of the
/// command.
pub(crate) fn error(text: &str) {
    match log::is_json() {
        true => tracing::error!("{text}"),
        false => {
            let lines = printable_lines(text).replace('\n', "\n  ");
            let _ = writeln!(std::io::stderr(), "error: {lines}");
        }
    }
}

/// A table of these members of each row. Numbers are aligned to the right.
pub(crate) fn table(columns: &[&str], rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|column| column.replace('_', " ")));
    for row in rows {
        table.add_row(columns.iter().map(|column| row.cell(column)));
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(formatted) = table.column_mut(index) {
            formatted.set_padding((0, 2));
            let is_number =
                |value: &RawValue| value.get().starts_with(|c: char| c.is_ascii_digit());
            if rows.iter().any(|row| row.get(column).is_some_and(is_number)) {
                formatted.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

/// A member's value for people, on one line.
pub(crate) fn cell(name: &str, value: Option<&RawValue>) -> String {
    let Some(json) = value.map(RawValue::get) else { return "-".to_owned() };
    match json.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<String>(json) {
            Ok(text) => printable(&text).into_owned(),
            // The string has half of a surrogate pair.
            Err(_) => printable(json).into_owned(),
        },
        Some(b't') => "yes".to_owned(),
        Some(b'f') => "no".to_owned(),
        Some(b'n') => "-".to_owned(),
        Some(b'[') => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(json).unwrap_or_default();
            items.iter().map(|item| cell(name, Some(item))).collect::<Vec<_>>().join(", ")
        }
        Some(b'{') if name == "event" => serde_json::from_str(json)
            .map_or_else(|_| "-".to_owned(), |event: Row| event.cell("type")),
        // An object of counts, by name.
        Some(b'{') if name.ends_with("_because") => {
            let counts: Row = serde_json::from_str(json).unwrap_or_default();
            let shown: Vec<_> =
                counts.members().map(|(name, _)| format!("{name} {}", counts.cell(name))).collect();
            if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
        }
        Some(b'{') => printable(json).into_owned(),
        _ => match json.parse() {
            Ok(millis) if is_time(name) => Timestamp(millis).to_rfc3339(),
            // Ids and positions are not grouped, because they are not amounts.
            Ok(id) if matches!(name, "id" | "item" | "position" | "batch") => id.to_string(),
            Ok(count) => grouped(count),
            Err(_) => json.to_owned(),
        },
    }
}

fn is_time(name: &str) -> bool {
    name == "at" || name.ends_with("_at")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn row(json: &str) -> Row {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = [row(r#"{"name": "a", "n": 1}"#), row(r#"{"name": "bcd"}"#)];
        let lines: Vec<_> = table(&["name", "n"], &rows).lines().map(str::to_owned).collect();
        assert_eq!(lines, ["name  n", "a     1", "bcd   -"]);
    }

    #[test]
    fn fields_are_columns_as_conditions_write_them() {
        let json = r#"{"key": "k", "fields": {"key": "own", "n": 12345, "is": true, "x": null, "t": "a", "u": 1}}"#;
        let mut row = row(json);
        let columns = ["key", "n", "is", "x", "t", "missing"];
        row.lift_fields(&columns);
        assert_eq!(columns.map(|name| row.cell(name)), ["k", "12345", "true", "-", "a", "-"]);
        assert!(row.get("u").is_none());
    }

    #[test]
    fn a_cell_is_one_line_whatever_is_in_it() {
        #[track_caller]
        fn check(name: &str, json: &str, expected: &str) {
            assert_eq!(row(&format!(r#"{{"{name}": {json}}}"#)).cell(name), expected);
        }
        check("key", r#""a\nb \u001b[2J \u202e""#, "a\\nb \\u{1b}[2J \\u{202e}");
        check("key", r#""\ud800""#, r#""\ud800""#);
        check("keys", r#"["a", "b\u0007"]"#, "a, b\\u{7}");
        check("event", r#"{"id": 1e400, "type": "Pl\raced"}"#, "Pl\\raced");
        check("data", r#"{"n": 1e400, "c": "\u009b"}"#, r#"{"n": 1e400, "c": "\u009b"}"#);
        check("ignored_because", r#"{"absent": 1200, "missed": 1}"#, "absent 1,200, missed 1");
        check("ignored_because", "{}", "-");
        check("at", "0", "1970-01-01T00:00:00.000Z");
        check("count", "12345", "12,345");
        check("id", "12345", "12345");
        check("n", "1e400", "1e400");
    }

    #[test]
    fn json_is_indented_and_otherwise_as_it_is() {
        let json = r#"{"a":[1e400,0.10,{}],"a":"x\"{,}\\","b":[ ]}"#;
        let expected = "{\n  \"a\": [\n    1e400,\n    0.10,\n    {}\n  ],\n  \"a\": \"x\\\"{,}\\\\\",\n  \"b\": []\n}";
        assert_eq!(indented(json), expected);
    }

    proptest! {
        #[test]
        fn indented_json_is_the_same_json(
            texts in proptest::collection::vec(any::<String>(), 0..4), number in any::<u64>(),
        ) {
            let value = serde_json::json!({"texts": texts, "more": {"number": number, "none": []}});
            let indented = indented(&value.to_string());
            prop_assert_eq!(&serde_json::from_str::<Value>(&indented).unwrap(), &value);
            prop_assert_eq!(&indented, &serde_json::to_string_pretty(&value).unwrap());
        }
    }
}
