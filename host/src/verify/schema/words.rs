//! Pure: what a schema allows, in words.

use serde_json::Value;

use super::shape::{Alternative, Kind};

/// More names or values than this are counted, not listed.
const LISTED_MAX: usize = 6;
/// A longer value is cut.
const VALUE_CHARACTERS_MAX: usize = 60;

/// `a string`, `"a" or "b"`, `an integer or null`.
pub(super) fn all(alternatives: &[&Alternative<'_>]) -> String {
    let types: std::collections::BTreeSet<&str> = alternatives
        .iter()
        .filter(|alternative| !matches!(alternative.kind, Kind::Literal(_)))
        .map(|alternative| alternative.kind.json_type())
        .collect();
    if types.len() == 6 {
        return "any value".to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    for alternative in alternatives {
        let word = kind(&alternative.kind);
        if !words.contains(&word) {
            words.push(word);
        }
    }
    list(&words, "or")
}

pub(super) fn kind(kind: &Kind<'_>) -> String {
    match kind {
        Kind::Null => "null".to_owned(),
        Kind::Bool => "a boolean".to_owned(),
        Kind::Literal(literal) => value(literal),
        Kind::Number(range) if range.is_integer => "an integer".to_owned(),
        Kind::Number(_) => "a number".to_owned(),
        Kind::Text(_) => "a string".to_owned(),
        Kind::List(_) => "an array".to_owned(),
        Kind::Members(_) => "an object".to_owned(),
    }
}

fn value(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARACTERS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// `a, b or c`.
pub(super) fn list(words: &[String], last: &str) -> String {
    if words.len() > LISTED_MAX {
        let (shown, left) = words.split_at(LISTED_MAX);
        return format!("{} {last} {} more", shown.join(", "), left.len());
    }
    match words {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}
