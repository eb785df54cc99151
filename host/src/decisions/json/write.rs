//! From values into text.

use std::fmt;

use serde::ser::{Error as _, SerializeMap as _};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Json, Object};

impl Json {
    fn write(&self, json: &mut String) {
        match self {
            Self::Null => json.push_str("null"),
            Self::Bool(true) => json.push_str("true"),
            Self::Bool(false) => json.push_str("false"),
            Self::Number(number) => json.push_str(number.as_str()),
            Self::String(text) => sagabox_engine::model::json::write(json, text),
            Self::Text(text) => json.push_str(text),
            Self::Array(items) => {
                json.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    item.write(json);
                }
                json.push(']');
            }
            Self::Object(members) => members.write(json),
        }
    }
}

impl Object {
    fn write(&self, json: &mut String) {
        json.push('{');
        for (index, (name, value)) in self.into_iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            sagabox_engine::model::json::write(json, name);
            json.push(':');
            value.write(json);
        }
        json.push('}');
    }
}

/// JSON on one line.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut json = String::new();
        self.write(&mut json);
        f.write_str(&json)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut json = String::new();
        self.write(&mut json);
        f.write_str(&json)
    }
}

/// Only into text: `serde_json::to_value` would have to read the numbers, and cannot read all.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = |text: String| RawValue::from_string(text).map_err(S::Error::custom);
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(yes) => serializer.serialize_bool(*yes),
            Self::String(text) => serializer.serialize_str(text),
            Self::Number(number) => raw(number.to_string())?.serialize(serializer),
            Self::Text(text) => raw(text.to_string())?.serialize(serializer),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(members) => members.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
