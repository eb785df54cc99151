//! From text into values.

use sagabox_engine::model::json::{Scanner, SyntaxError, check, decode};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Json, Number, Object, yaml};

/// Values within values beyond this stay text: nothing here may use up the stack.
const LEVELS_MAX: usize = 64;

impl Json {
    /// # Errors
    /// Says where the bytes stop being JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, SyntaxError> {
        Self::parse_around(bytes, &[])
    }

    /// Leaves the values of members of these names as they are written, blanks included.
    ///
    /// # Errors
    /// As [`Json::parse`].
    pub fn parse_around(bytes: &[u8], untouched: &[&str]) -> Result<Self, SyntaxError> {
        let text = check(bytes)?;
        value(&mut Scanner::new(text), LEVELS_MAX, untouched)
    }
}

fn value(scanner: &mut Scanner, levels: usize, untouched: &[&str]) -> Result<Json, SyntaxError> {
    let kind = scanner.peek();
    match kind {
        Some(b'[') if levels > 0 => array(scanner, levels - 1, untouched),
        Some(b'{') if levels > 0 => object(scanner, levels - 1, untouched),
        _ => scanner.value().map(leaf),
    }
}

fn array(scanner: &mut Scanner, levels: usize, untouched: &[&str]) -> Result<Json, SyntaxError> {
    scanner.enter_array();
    let mut items = Vec::new();
    while scanner.element()? {
        items.push(value(scanner, levels, untouched)?);
    }
    Ok(Json::Array(items))
}

fn object(scanner: &mut Scanner, levels: usize, untouched: &[&str]) -> Result<Json, SyntaxError> {
    let mut whole = scanner.clone();
    scanner.enter_object();
    let mut members = Vec::new();
    while let Some(name) = scanner.member()? {
        let Some(name) = decode(name) else {
            // The object stays text, and is passed over from its beginning.
            let text = whole.value()?;
            *scanner = whole;
            return Ok(Json::Text(compact(text)));
        };
        let value = match untouched.contains(&&*name) {
            true => Json::Text(scanner.value()?.into()),
            false => value(scanner, levels, untouched)?,
        };
        members.push((name.into_owned(), value));
    }
    Ok(Json::Object(Object(members)))
}

/// What is not taken further apart.
fn leaf(text: &str) -> Json {
    match text.as_bytes().first() {
        Some(b'n') => Json::Null,
        Some(b't') => Json::Bool(true),
        Some(b'f') => Json::Bool(false),
        Some(b'"') => match decode(text) {
            Some(string) => Json::String(string.into_owned()),
            None => Json::Text(text.into()),
        },
        Some(b'[' | b'{') => Json::Text(compact(text)),
        _ => Number::parse(text).map_or_else(|| Json::Text(text.into()), Json::Number),
    }
}

/// Without the blanks between tokens.
fn compact(text: &str) -> Box<str> {
    let mut compact = String::with_capacity(text.len());
    let (mut is_in_string, mut is_escaped) = (false, false);
    for character in text.chars() {
        if is_in_string || !matches!(character, ' ' | '\t' | '\n' | '\r') {
            compact.push(character);
        }
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = is_in_string,
            '"' => is_in_string = !is_in_string,
            _ => {}
        }
    }
    compact.into()
}

/// From JSON as `serde_json` reads it, or from a YAML file: see `from_yaml`.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if yaml::is_being_read() {
            return yaml::node(deserializer);
        }
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get().as_bytes()).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::Object(members) => Ok(members),
            other => Err(D::Error::custom(format!("expected names and values, found {other}"))),
        }
    }
}
