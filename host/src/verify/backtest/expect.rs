//! What a backtest is expected to come to: rows as it writes them, of which each may say less.
//!
//! Of every kind of row that is expected, all rows must be there and no others; kinds that are not
//! expected are not looked at. A row may leave members out: they may be anything. So a file that
//! `--out` wrote expects exactly the same, and a short one only what it says.

use std::path::Path;

use anyhow::Context as _;

use super::matching::Matching;
use super::rows::KIND;
use crate::decisions::json::{Difference, Json, differences};
use crate::io::files;

const SUMMARY: &str = "summary";
const KINDS: [&str; 5] = ["message", "timer", "dead_letter", "instance", SUMMARY];
/// What a row is about: two rows with the same are compared member by member.
const NAMES: [&str; 4] = ["plugin", "key", "type", "name"];

/// A row that is expected, and where it stands.
#[derive(Clone, Debug)]
pub struct Expectation {
    place: String,
    pub(super) row: Json,
}

/// What is not as expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Mismatch {
    Missing { place: String, row: Json },
    Unexpected { row: Json },
    Differs { place: String, row: Json, differences: Vec<Difference> },
}

#[cfg(test)]
impl Expectation {
    pub(super) fn of_test(row: Json) -> Self {
        Self { place: String::new(), row }
    }
}

/// Reads a file with a row on each line.
///
/// # Errors
/// Names the line that is no row.
pub fn read_expectations(path: &Path) -> anyhow::Result<Vec<Expectation>> {
    let bytes = files::bytes(path, EXPECTED_BYTES_MAX)
        .with_context(|| format!("read what is expected, {}", path.display()))?;
    let bytes = bytes.strip_prefix(files::BYTE_ORDER_MARK).unwrap_or(&bytes);
    let lines = (1_u64..).zip(bytes.split(|byte| *byte == b'\n'));
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let rows = lines.map(|(number, line)| {
        let place = format!("{}:{number}", path.display());
        let row = expectation(line).map_err(|why| anyhow::anyhow!("{place}: {why}"))?;
        Ok(Expectation { place, row })
    });
    let rows: Vec<Expectation> = rows.collect::<anyhow::Result<_>>()?;
    // A gate that looks at nothing must not be open.
    anyhow::ensure!(!rows.is_empty(), "{} expects nothing", path.display());
    Ok(rows)
}

/// Some millions of rows.
const EXPECTED_BYTES_MAX: usize = 2 << 30;

fn expectation(line: &[u8]) -> Result<Json, String> {
    let row = Json::parse(line.trim_ascii()).map_err(|error| format!("is not JSON: {error}"))?;
    let kind = row.get(KIND).and_then(Json::as_str);
    match kind {
        Some(kind) if KINDS.contains(&kind) => Ok(row),
        _ => Err(format!("needs a `kind`, which is one of {}", KINDS.join(", "))),
    }
}

/// Everything that is not as expected: in the order of the file, then what no expectation covers.
#[must_use]
pub fn check(expected: &[Expectation], found: impl Iterator<Item = Json>) -> Vec<Mismatch> {
    let mut matching = Matching::of(expected, found);
    let unmet = matching.pair();
    let mut mismatches = Vec::new();
    for index in unmet {
        let Expectation { place, row } = &expected[index];
        mismatches.push(match matching.take_alike(index) {
            Some(other) => Mismatch::Differs {
                place: place.clone(),
                differences: differing(row, &other),
                row: other,
            },
            None => Mismatch::Missing { place: place.clone(), row: row.clone() },
        });
    }
    mismatches.extend(matching.rest().map(|row| Mismatch::Unexpected { row }));
    mismatches
}

pub(super) fn names(row: &Json) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| row.get(name).is_some()).collect()
}

pub(super) fn values(row: &Json, names: &[&str]) -> String {
    let values = [KIND].iter().chain(names).map(|name| row[*name].to_string());
    values.collect::<Vec<_>>().join(" ")
}

/// Where a row is another than expected; what is not expected of it may be anything.
pub(super) fn differing(expected: &Json, found: &Json) -> Vec<Difference> {
    let is_summary = expected[KIND] == SUMMARY;
    let mut all = Vec::new();
    compare("", expected, found, is_summary, &mut all);
    all
}

fn compare(place: &str, expected: &Json, found: &Json, is_deep: bool, all: &mut Vec<Difference>) {
    for (name, value) in expected.as_object().into_iter().flatten() {
        let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        match found.get(name) {
            Some(found) if is_deep && value.as_object().is_some() => {
                compare(&place, value, found, is_deep, all);
            }
            Some(found) => all.extend(differences(&place, value, found)),
            // A type of which there is none is not counted.
            None if is_deep && value.as_u64() == Some(0) => {}
            None => all.push(Difference { place, expected: Some(value.clone()), found: None }),
        }
    }
}

impl Mismatch {
    /// For people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Missing { place, row } => vec![format!("{place}: expected, not found: {row}")],
            Self::Unexpected { row } => vec![format!("found, not expected: {row}")],
            Self::Differs { place, row, differences } => {
                let about: Vec<String> =
                    names(row).iter().map(|name| row[*name].to_string()).collect();
                let kind = row[KIND].as_str().unwrap_or_default().replace('_', " ");
                let about = [&[kind], &about[..]].concat().join(" ");
                let mut lines = vec![format!("{place}: {about} differs")];
                lines.extend(differences.iter().map(|difference| format!("  {difference}")));
                lines
            }
        }
    }

    /// As a row.
    #[must_use]
    pub fn row(&self) -> Json {
        let mut members = vec![(KIND, Json::from("mismatch"))];
        match self {
            Self::Missing { place, row } => {
                members.extend([("place", place.as_str().into()), ("missing", row.clone())]);
            }
            Self::Unexpected { row } => members.push(("unexpected", row.clone())),
            Self::Differs { place, row, differences } => {
                let differences = differences.iter().map(|one| {
                    let value = |value: &Option<Json>| value.clone().unwrap_or_default();
                    Json::object([
                        ("place", one.place.as_str().into()),
                        ("expected", value(&one.expected)),
                        ("found", value(&one.found)),
                    ])
                });
                let differences = differences.collect();
                members.extend([("place", place.as_str().into()), ("found", row.clone())]);
                members.push(("differences", differences));
            }
        }
        Json::object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::json::json;

    #[track_caller]
    fn mismatches(expected: &[Json], found: &[Json], lines: &[&str]) {
        let expected: Vec<Expectation> = (1..)
            .zip(expected)
            .map(|(number, row)| Expectation {
                place: format!("f:{number}"),
                row: expectation(row.to_string().as_bytes()).unwrap(),
            })
            .collect();
        let mismatches = check(&expected, found.iter().cloned());
        let reported: Vec<String> = mismatches.iter().flat_map(Mismatch::lines).collect();
        assert_eq!(reported, lines);
    }

    fn message(key: &str, at: &str, sum: u64) -> Json {
        json!({"kind": "message", "at": at, "plugin": "p", "key": key, "type": "Pay", "data": {"sum": sum}})
    }

    #[test]
    fn what_is_found_is_expected_whatever_its_order() {
        let found = [message("a", "1", 1), message("b", "2", 2)];
        mismatches(&[found[1].clone(), found[0].clone()], &found, &[]);
        // Each says less.
        let type_only = json!({"kind": "message", "type": "Pay"});
        mismatches(&[type_only.clone(), type_only.clone()], &found, &[]);
        mismatches(&[type_only.clone(), json!({"kind": "message", "key": "a"})], &found, &[]);
        let rest = format!("found, not expected: {}", found[1]);
        mismatches(&[type_only], &found, &[&rest]);
    }

    #[test]
    fn rows_that_say_as_much_as_others_exchange_what_they_took() {
        let found = [message("a", "1", 1), message("b", "1", 2), message("c", "2", 2)];
        let at = |at: &str| json!({"kind": "message", "at": at});
        let key = |key: &str| json!({"kind": "message", "key": key});
        // The first of these fits two rows, and takes the only one that the second fits.
        mismatches(&[at("1"), key("a"), key("c")], &found, &[]);
        mismatches(&[at("1"), at("1"), at("2")], &found, &[]);
        mismatches(
            &[at("1"), key("a"), key("b")],
            &found,
            &[
                "f:2: expected, not found: {\"kind\":\"message\",\"key\":\"a\"}",
                &format!("found, not expected: {}", found[2]),
            ],
        );
    }

    #[test]
    fn kinds_that_are_not_expected_are_not_looked_at() {
        let end = |end: &str| json!({"kind": "instance", "plugin": "p", "key": "a", "end": end});
        let found = [message("a", "1", 1), end("open")];
        mismatches(&[json!({"kind": "instance", "key": "a", "end": "open"})], &found, &[]);
        mismatches(
            &[end("completed")],
            &found,
            &["f:1: instance \"p\" \"a\" differs", "  end: expected \"completed\", found \"open\""],
        );
    }

    #[test]
    fn rows_about_the_same_are_compared_and_others_are_missing_or_unexpected() {
        let found = [message("a", "1", 1), message("c", "1", 1)];
        let expected = [message("a", "2", 3), message("b", "1", 1)];
        let missing = format!("f:2: expected, not found: {}", expected[1]);
        let unexpected = format!("found, not expected: {}", found[1]);
        mismatches(
            &expected,
            &found,
            &[
                "f:1: message \"p\" \"a\" \"Pay\" differs",
                "  at: expected \"2\", found \"1\"",
                "  data.sum: expected 3, found 1",
                &missing,
                &unexpected,
            ],
        );
    }

    #[test]
    fn a_summary_is_expected_as_far_as_it_is_said() {
        let found = json!({"kind": "summary", "events": {"arrived": 3, "late": 0}, "n": [1]});
        mismatches(
            &[json!({"kind": "summary", "events": {"arrived": 3}})],
            std::slice::from_ref(&found),
            &[],
        );
        mismatches(
            &[json!({"kind": "summary", "events": {"arrived": 4, "lost": 1, "none": 0}})],
            &[found],
            &[
                "f:1: summary differs",
                "  events.arrived: expected 4, found 3",
                "  events.lost: expected 1, found nothing",
            ],
        );
    }

    #[test]
    fn a_line_that_is_no_row_is_named() {
        for (line, why) in [
            ("{", "is not JSON"),
            ("{}", "needs a `kind`, which is one of message, timer"),
            (r#"{"kind":"messages"}"#, "needs a `kind`"),
        ] {
            let error = expectation(line.as_bytes()).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
