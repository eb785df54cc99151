//! Values from YAML files, with the digits that are written there.
//!
//! The YAML reader hands out fractions and large numbers as 64-bit floating point, and with
//! each value its place in the text. So the text of the file is kept while it is read, and
//! the digits are taken from it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    Error as ReadError, Location, MessageFormatter, NonFiniteFloatPolicy, Spanned,
    UserMessageFormatter,
};

use super::{Json, Number, Object};

thread_local! {
    /// The file that is being read on this thread.
    static SOURCE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Reads a YAML file, of which JSON is a part.
///
/// # Errors
/// Names line and column.
pub(crate) fn from_yaml<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    struct Reading;
    impl Drop for Reading {
        fn drop(&mut self) {
            SOURCE.with_borrow_mut(Option::take);
        }
    }
    SOURCE.set(Some(text.to_owned()));
    let _reading = Reading;
    // What is beyond 64 bits is a number all the same.
    let options = serde_saphyr::options! {
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let rendered = error.render_with_formatter(&Expected);
        YamlError(rendered.strip_prefix("error: ").unwrap_or(&rendered).to_owned())
    })
}

/// What is wrong with a YAML file, with line and column.
#[derive(Debug)]
pub(crate) struct YamlError(String);

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for YamlError {}

/// Says what an author must write there. The reader's own words are for programmers in Rust.
struct Expected;

impl MessageFormatter for Expected {
    fn format_message<'a>(&self, error: &'a ReadError) -> Cow<'a, str> {
        let expected = match error {
            ReadError::NullIntoString { .. } => "a text, found null",
            ReadError::Unexpected { expected: "mapping start", .. } => {
                "an object, such as `{name: value}`"
            }
            ReadError::Unexpected { expected: "sequence start", .. } => {
                "a list, whose items begin with `- `"
            }
            ReadError::InvalidScalar { ty, .. } if ty.starts_with('u') => {
                "an integer that is not negative"
            }
            ReadError::InvalidScalar { ty, .. } if ty.starts_with('i') => "an integer",
            ReadError::InvalidScalar { ty, .. } if ty.starts_with('f') => "a number",
            ReadError::InvalidScalar { ty: "bool" | "boolean", .. }
            | ReadError::InvalidBooleanStrict { .. } => "true or false",
            _ => return UserMessageFormatter.format_message(error),
        };
        Cow::Owned(format!("expected {expected}"))
    }
}

pub(super) fn is_being_read() -> bool {
    SOURCE.with_borrow(Option::is_some)
}

/// The value that comes next.
pub(super) fn node<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
    let Spanned { value, defined, .. } = Spanned::<Node>::deserialize(deserializer)?;
    match value {
        Node::Done(json) => Ok(json),
        Node::Fraction(number) => digits(number, &defined)
            .map(Json::Number)
            .ok_or_else(|| D::Error::custom(format!("JSON cannot represent the number {number}"))),
    }
}

/// As the file has them; if they are written as only YAML does, those of the nearest number.
fn digits(number: f64, place: &Location) -> Option<Number> {
    let span = place.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start + usize::try_from(span.byte_len()?).ok()?;
    let written = SOURCE.with_borrow(|source| {
        let text = source.as_ref()?.get(start..end)?.trim();
        let is_meant = text.parse::<f64>().is_ok_and(|parsed| parsed.to_bits() == number.to_bits());
        Number::parse(text).filter(|_| is_meant)
    });
    let nearest = || serde_json::Number::from_f64(number);
    written.or_else(|| Number::parse(&nearest()?.to_string()))
}

enum Node {
    Done(Json),
    Fraction(f64),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can have")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Done(Json::Null))
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Node, E> {
        Ok(Node::Done(yes.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Done(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Done(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Fraction(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Done(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element::<Json>()? {
            all.push(item);
        }
        Ok(Node::Done(all.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            members.push((name, map.next_value::<Json>()?));
        }
        Ok(Node::Done(Json::Object(members.into_iter().collect::<Object>())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(yaml: &str, expected: &str) {
        let value: Json = from_yaml(yaml).unwrap();
        assert_eq!(value.to_string(), expected);
    }

    #[test]
    fn numbers_keep_their_digits() {
        check("9007199254740993", "9007199254740993");
        check("[1, -2, 0.50, 10.00]", "[1,-2,0.50,10.00]");
        check(
            "{a: 12345678901234567890123, b: -1e400}",
            r#"{"a":12345678901234567890123,"b":-1e400}"#,
        );
        check("price: 117.63331139400017", r#"{"price":117.63331139400017}"#);
        check(
            "- 0.1000000000000000055511151231257827\n- 18446744073709551616",
            "[0.1000000000000000055511151231257827,18446744073709551616]",
        );
        check("x: &p 1.50\ny: *p", r#"{"x":1.50,"y":1.50}"#);
        check("ä: 1.50\nb: [\"ö\", 2.50]", r#"{"ä":1.50,"b":["ö",2.50]}"#);
        check("{\"a\": 1.0E+2, \"b\": \"1.50\"}", r#"{"a":1.0E+2,"b":"1.50"}"#);
    }

    #[test]
    fn what_only_yaml_writes_so_is_the_nearest_number() {
        check("[.5, +1.5, 1_000, 0x10]", "[0.5,1.5,1000,16]");
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_yaml() {
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        struct Written {
            text: String,
            list: Vec<u32>,
            object: std::collections::BTreeMap<String, i64>,
            is: bool,
            share: f64,
        }
        #[track_caller]
        fn check(yaml: &str, expected: &str) {
            let said = from_yaml::<Written>(yaml).map(|read| {
                let Written { text, list, object, is, share } = read;
                format!("{text}{list:?}{object:?}{is}{share}")
            });
            let said = said.unwrap_err().to_string();
            assert!(said.starts_with(expected), "{said}");
        }
        check("text: null", "line 1 column 7: expected a text, found null");
        check("text:", "line 1 column 5: expected a text, found null");
        check("list: 7", "line 1 column 7: expected a list, whose items begin with `- `");
        check("list: [-1]", "line 1 column 8: expected an integer that is not negative");
        check("object: [1]", "line 1 column 9: expected an object, such as `{name: value}`");
        check("object: {a: x}", "line 1 column 13: expected an integer");
        check("is: maybe", "line 1 column 5: expected true or false");
        check("share: x", "line 1 column 8: expected a number");
        check(
            "text: a\ntext: b",
            "line 2 column 1: duplicate mapping key `text` is not allowed here",
        );
    }

    #[test]
    fn other_values_are_what_they_are() {
        check(
            "{a: null, b: ~, c: true, d: text, e: \"7\", f: []}",
            r#"{"a":null,"b":null,"c":true,"d":"text","e":"7","f":[]}"#,
        );
        assert!(from_yaml::<Json>("[.inf]").is_err());
        assert!(from_yaml::<Json>("a: [1").is_err());
        assert!(!is_being_read(), "also after an error");
    }
}
