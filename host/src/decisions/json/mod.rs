//! Payloads as values, for what compares them, shows them and writes them anew: scenarios,
//! simulations, replay, shadows, and the command line.
//!
//! Nothing in a payload gets lost or changes its meaning on the way into a [`Json`]: numbers
//! keep their digits, members their order and their repetitions, and what a Rust string or
//! a tree of this depth cannot hold stays text. Bytes that are only passed on are never read
//! into one: see `sagabox_engine::model::json`.

mod access;
mod compare;
mod number;
mod parse;
mod write;
mod yaml;

pub(crate) use compare::{Difference, differences};
pub(crate) use number::Number;
pub(crate) use yaml::from_yaml;

/// A JSON value. Two are equal if they mean the same: see [`differences`].
#[derive(Clone, Debug, Default)]
pub enum Json {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(Object),
    /// JSON that is not taken apart: a string or an object's name with half of a surrogate
    /// pair, what lies deeper than a person wants to look, and what the caller wants untouched.
    Text(Box<str>),
}

/// Members in their order; a name can be there more than once.
#[derive(Clone, Debug, Default)]
pub struct Object(Vec<(String, Json)>);

/// The value that a literal of `serde_json` has.
#[cfg(test)]
macro_rules! json {
    ($($token:tt)+) => { $crate::decisions::json::Json::from(serde_json::json!($($token)+)) };
}
#[cfg(test)]
pub(crate) use json;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_read_is_written_with_the_same_meaning_and_the_same_digits() {
        for text in [
            "null",
            "true",
            "[]",
            "{}",
            "\"ä\\n\"",
            "10.00",
            "12345678901234567890123",
            "1e400",
            "-0",
            r#"{"b":1,"a":[1.50,{"c":null}],"b":2}"#,
            r#""\ud83d""#,
            r#"{"x":{"\udead":1}}"#,
        ] {
            assert_eq!(read(text).to_string(), text);
            assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
            let again: Json = serde_json::from_str(text).unwrap();
            assert_eq!(again.to_string(), text);
        }
        assert_eq!(read(" { \"a\" : [ 1 , 2 ] } ").to_string(), r#"{"a":[1,2]}"#);
        assert_eq!(read(r#""\u0061\/""#), Json::from("a/"));
    }

    #[test]
    fn depth_takes_no_stack() {
        let deep = format!("{}{}", "[ ".repeat(300_000), "]".repeat(300_000));
        let value = read(&deep);
        assert_eq!(value.to_string(), deep.replace(' ', ""));
        assert_eq!(value, read(&deep.replace(' ', "")));
        let other = format!("{}1{}", "[".repeat(300_000), "]".repeat(300_000));
        assert_ne!(value, read(&other));
    }

    #[test]
    fn what_is_to_be_untouched_is() {
        let text = r#"[{"id":1,"event":{ "n" : 1.0, "s":"\u00e4" },"other":{"event": null}}]"#;
        let value = Json::parse_around(text.as_bytes(), &["event"]).unwrap();
        assert_eq!(
            value.to_string(),
            r#"[{"id":1,"event":{ "n" : 1.0, "s":"\u00e4" },"other":{"event":null}}]"#
        );
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        assert!(pretty.contains(r#""event": { "n" : 1.0, "s":"\u00e4" }"#), "{pretty}");
    }

    #[test]
    fn members_are_found_by_name_and_by_pointer() {
        let mut value = read(r#"{"a":{"b/c":[1,2]},"n":7,"n":8}"#);
        assert_eq!(value["a"]["b/c"][1], Json::from(2_u64));
        assert!(value["none"]["at all"].is_null());
        assert_eq!(value.pointer("/a/b~1c/0").and_then(Json::as_u64), Some(1));
        assert_eq!(value.pointer("/a/x"), None);
        assert_eq!(value["n"].as_u64(), Some(8), "the last counts, as for the host's keys");
        value["a"] = Json::Null;
        value["z"] = "new".into();
        assert_eq!(value.to_string(), r#"{"a":null,"n":7,"n":8,"z":"new"}"#);
    }

    #[test]
    fn it_can_stand_within_what_serde_writes() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Outer {
            inner: Option<Json>,
        }
        let text = r#"{"inner":{"n":9007199254740993.0,"n":1e400}}"#;
        let outer: Outer = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&outer).unwrap(), text);
        let none: Outer = serde_json::from_str(r#"{"inner":null}"#).unwrap();
        assert_eq!(none.inner, None);
    }
}
