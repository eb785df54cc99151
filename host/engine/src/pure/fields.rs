//! Pure: the values of an instance's fields, read from its state.
//!
//! A field has a value if its pointer finds a string, a number or a boolean whose text in JSON has
//! at most [`VALUE_BYTES_MAX`] bytes. Otherwise the instance does not have the field: also if the
//! pointer finds `null`, an array or an object, or if the state is not JSON.

use super::pointer::Pointers;
use crate::model::{Field, State, json};

/// Values are rows of an index of the store, and are compared with others. A value of this size is
/// a name or an amount; a larger one is a text, which is not selected by.
pub const VALUE_BYTES_MAX: usize = 1_024;

/// The fields that one version of a plugin declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The names as JSON texts.
    names: Vec<String>,
    pointers: Pointers,
}

impl Fields {
    /// None if a plugin declares none.
    #[must_use]
    pub fn new(declared: &[Field]) -> Option<Self> {
        if declared.is_empty() {
            return None;
        }
        let quoted = |field: &Field| {
            let mut name = String::new();
            json::write(&mut name, &field.name);
            name
        };
        Some(Self {
            names: declared.iter().map(quoted).collect(),
            pointers: Pointers::new(declared.iter().map(|field| field.pointer.as_str())),
        })
    }

    /// The values that a state has, as a JSON object. Each value is written as the state has it.
    #[must_use]
    pub fn values(&self, state: Option<&State>) -> String {
        let mut object = String::from("{");
        let found = state.and_then(|state| self.pointers.find(&state.data).ok());
        for (name, value) in self.names.iter().zip(found.into_iter().flatten()) {
            let Some(value) = value.filter(|value| is_value(value)) else { continue };
            if object.len() > 1 {
                object.push(',');
            }
            object.push_str(name);
            object.push(':');
            object.push_str(value);
        }
        object.push('}');
        object
    }
}

fn is_value(text: &str) -> bool {
    text.len() <= VALUE_BYTES_MAX && !text.starts_with(['{', '[']) && text != "null"
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[track_caller]
    fn check(state: &'static str, expected: &str) {
        let field = |name: &str, pointer: &str| Field {
            name: name.to_owned(),
            pointer: pointer.to_owned(),
        };
        let fields = [field("id", "/id"), field("total", "/sum/total"), field("first", "/list/0")];
        let state = State { version: 1, data: Bytes::from_static(state.as_bytes()) };
        assert_eq!(Fields::new(&fields).unwrap().values(Some(&state)), expected);
    }

    #[test]
    fn values_are_written_as_the_state_has_them() {
        check(
            r#"{"list":[true], "id": "a\u00e4", "sum": {"total": 1.50e2}}"#,
            r#"{"id":"a\u00e4","total":1.50e2,"first":true}"#,
        );
    }

    #[test]
    fn what_is_no_single_value_is_left_out() {
        check(r#"{"id":null,"sum":{"total":[1]},"list":[{}]}"#, "{}");
        check(r#"{"sum":{"total":0},"list":[]}"#, r#"{"total":0}"#);
        for state in ["", "[]", "7", "{", r#"{"id":1,"sum":}"#] {
            check(state, "{}");
        }
        let long = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 1));
        let id = Field { name: "id".to_owned(), pointer: String::new() };
        let fields = Fields::new(&[id]).unwrap();
        let state = |text: &str| State { version: 1, data: Bytes::from(text.to_owned()) };
        assert_eq!(fields.values(Some(&state(&long))), "{}");
        let fits = long.replacen("xx", "x", 1);
        assert_eq!(fields.values(Some(&state(&fits))), format!("{{\"id\":{fits}}}"));
        assert_eq!(fields.values(None), "{}");
        assert_eq!(Fields::new(&[]), None);
    }
}
