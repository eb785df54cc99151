//! Pure: what a JSON Pointer (RFC 6901) finds in a text, without building a tree of
//! the rest. Every event of every plugin is looked at so.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The value at a pointer, or none. As with a tree: of members with the same name the
/// last counts, and all of the text must be JSON.
pub fn find(json: &[u8], pointer: &str) -> Result<Option<Value>, serde_json::Error> {
    let tokens: Vec<String> = match pointer.strip_prefix('/') {
        Some(rest) => rest.split('/').map(unescape).collect(),
        None if pointer.is_empty() => Vec::new(),
        None => return Ok(None),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let found = Step { tokens: &tokens }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(found)
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// Looks for the rest of a path in one value.
struct Step<'a> {
    tokens: &'a [String],
}

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.tokens {
            [] => serde::Deserialize::deserialize(deserializer).map(Some),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let [first, rest @ ..] = self.tokens else { return Ok(None) };
        let mut found = None;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if name == first.as_str() {
                found = map.next_value_seed(Step { tokens: rest })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let [first, rest @ ..] = self.tokens else { return Ok(None) };
        // RFC 6901: digits without leading zeros.
        let is_index = first == "0" || !first.starts_with(['0', '+']);
        let wanted = first.parse::<usize>().ok().filter(|_| is_index);
        let mut found = None;
        for index in 0.. {
            let item = match wanted == Some(index) {
                true => items.next_element_seed(Step { tokens: rest })?.map(|item| found = item),
                false => items.next_element::<IgnoredAny>()?.map(|_| ()),
            };
            if item.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c~/]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let names = "[a-c0~/]{0,2}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names, inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_tree_has(tree in tree(), pointer in "(/([a-c]|~0|~1|0|1|01|-)?){0,4}") {
            let text = serde_json::to_vec(&tree).unwrap();
            prop_assert_eq!(find(&text, &pointer).unwrap(), tree.pointer(&pointer).cloned());
        }
    }

    #[test]
    fn the_last_of_the_same_name_counts_and_the_rest_must_be_json() {
        assert_eq!(find(br#"{"a":1,"a":2}"#, "/a").unwrap(), Some(Value::from(2)));
        assert!(find(br#"{"a":1,"b":}"#, "/a").is_err());
        assert!(find(br#"{"a":1} x"#, "/a").is_err());
    }
}
